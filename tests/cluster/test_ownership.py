from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.cluster.ownership import merged, takeover, union

US = "kustomize-controller"
SETS = st.recursive(st.just({}), lambda inner: st.dictionaries(st.sampled_from(["f:a", "f:b", ".", 'k:{"n":1}']), inner), max_leaves=8)


def entry(manager: str, operation: str, fields: dict[str, Any], **more: str) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields, **more}


def live(*entries: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": "7", "managedFields": list(entries), **metadata}}


@pytest.mark.parametrize(
    ("manager", "operation", "taken"),
    [
        ("kubectl-client-side-apply", "Update", True),
        ("kubectl-edit", "Update", True),
        ("kubectl", "Apply", True),
        ("before-first-apply", "Update", True),
        ("kustomize-controller", "Update", True),
        ("before-first-apply", "Apply", False),
        ("flux-client-side-apply", "Update", False),
        ("helm", "Update", False),
        ("argocd-controller", "Apply", False),
    ],
)
def test_whose_fields_are_taken(manager: str, operation: str, taken: bool) -> None:
    result = merged([entry(manager, operation, {"f:data": {"f:x": {}}})], manager=US)
    assert (result is not None) is taken
    if result is not None:
        assert [(e["manager"], e["operation"]) for e in result] == [(US, "Apply")]


def test_fields_join_our_own_entry() -> None:
    ours = entry(US, "Apply", {"f:data": {"f:a": {}}})
    other = entry("hpa", "Update", {"f:spec": {}}, subresource="scale")
    theirs = entry("kubectl-edit", "Update", {"f:data": {"f:b": {}}})
    status = entry("kubectl-edit", "Update", {"f:status": {}}, subresource="status")
    assert merged([other, theirs, ours, status], manager=US) == [
        other,
        status,
        entry(US, "Apply", {"f:data": {"f:a": {}, "f:b": {}}}),
    ]


def test_two_foreign_entries_become_one_of_ours() -> None:
    one, two = entry("kubectl-edit", "Update", {"f:a": {}}), entry("kubectl", "Apply", {"f:b": {}})
    assert merged([one, two], manager=US) == [entry(US, "Apply", {"f:a": {}, "f:b": {}})]


def test_more_managers_may_be_named() -> None:
    assert merged([entry("helm", "Update", {"f:a": {}})], manager=US, also=["helm"]) == [entry(US, "Apply", {"f:a": {}})]
    assert merged([entry("helm-controller", "Apply", {"f:a": {}})], manager=US, also=["helm"]) == [entry(US, "Apply", {"f:a": {}})]
    assert merged([entry("helm", "Update", {"f:a": {}}, subresource="status")], manager=US, also=["helm"]) is None


def test_last_applied_annotation_goes() -> None:
    patch = takeover(live(annotations={"kubectl.kubernetes.io/last-applied-configuration": "{}", "keep": "me"}), {}, manager=US)
    assert patch == [
        {"op": "remove", "path": "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration"},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
    ]


def test_nothing_to_take_is_no_patch() -> None:
    assert takeover(live(entry(US, "Apply", {"f:a": {}})), {}, manager=US) == []


def test_merge_leaves_others_their_fields() -> None:
    marks = {"annotations": {"kustomize.toolkit.fluxcd.io/ssa": "merge"}}
    assert takeover(live(entry("kubectl-edit", "Update", {"f:a": {}})), marks, manager=US) == []


def test_merge_on_the_live_object_counts_too() -> None:
    marks = {"kustomize.toolkit.fluxcd.io/ssa": "Merge"}
    assert takeover(live(entry("kubectl-edit", "Update", {"f:a": {}}), labels=marks), {}, manager=US) == []


@given(SETS, SETS)
def test_union_has_both_and_is_the_same_either_way(one: dict[str, Any], two: dict[str, Any]) -> None:
    assert union(one, two) == union(two, one)
    assert union(union(one, two), one) == union(one, two)
    assert union(one, {}) == one
