"""Which fields a rule names, and what is sent of them: pure."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.cluster.ignoring import BadRule, IgnoreRule, appliers_beside, as_live, named_by, parse_pointer, payload
from service.kustomize.selectors import Selector

WEB: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "shop", "labels": {"tier": "front"}, "annotations": {"a/b": "1"}},
    "spec": {"replicas": 1, "containers": [{"name": "side", "image": "s:1"}, {"name": "web", "image": "w:1"}]},
}


def pointers(*texts: str) -> tuple[tuple[str, ...], ...]:
    return tuple(map(parse_pointer, texts))


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ({}, True),
        ({"kind": "Deploy"}, False),
        ({"kind": "Deploy.*", "group": "apps", "version": "v1"}, True),
        ({"name": "we|web"}, True),
        ({"namespace": "sho"}, False),
        ({"labels": "tier in (front, back)"}, True),
        ({"labels": "!tier"}, False),
        ({"annotations": "a/b=1"}, True),
        ({"annotations": "a/b=2"}, False),
    ],
)
def test_a_rule_is_for_the_objects_that_its_target_describes(target: dict[str, str], names: bool) -> None:
    rule = IgnoreRule(pointers=pointers("/spec/replicas"), target=Selector(**target))
    assert bool(named_by([rule], WEB)) == names


@pytest.mark.parametrize("target", [{"name": "("}, {"kind": "(?=x)"}, {"labels": "a in"}, {"annotations": "="}])
def test_a_target_that_cannot_be_read_is_said(target: dict[str, str]) -> None:
    with pytest.raises(BadRule, match=r"invalid (name|kind) regex|invalid (label|annotation) selector"):
        IgnoreRule(pointers=(), target=Selector(**target))


@pytest.mark.parametrize("text", ["", "spec/replicas", "$.spec"])
def test_what_points_at_no_field_is_said(text: str) -> None:
    with pytest.raises(BadRule, match="begins with a slash"):
        parse_pointer(text)


def test_pointers_are_unescaped_in_the_right_order() -> None:
    assert parse_pointer("/metadata/annotations/a~1b/~01") == ("metadata", "annotations", "a/b", "~1")


def test_named_fields_are_as_they_are_live_and_nothing_else() -> None:
    live = {"spec": {"replicas": 5, "paused": True, "containers": [{"name": "side", "image": "s:2"}, {"name": "web", "image": "w:2"}]}}
    seen = as_live(WEB, live, pointers("/spec/replicas", "/spec/paused", "/spec/containers/1/image", "/spec/containers/7/image"))
    assert seen["spec"] == {
        "replicas": 5,
        "paused": True,
        "containers": [{"name": "side", "image": "s:1"}, {"name": "web", "image": "w:2"}],
    }
    assert "spec" in as_live({}, live, pointers("/spec/replicas")), "dropped from Git as a whole, yet left to others"
    assert as_live(WEB, {}, pointers("/spec/replicas"))["spec"].keys() == {"containers"}
    assert WEB["spec"]["replicas"] == 1


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"f:spec": {"f:replicas": {}}}, {"containers": "w:2"}),
        ({"f:spec": {"f:containers": {'k:{"name":"web"}': {".": {}, "f:image": {}}}}}, {"replicas": 5}),
        ({"f:spec": {"f:containers": {'k:{"name":"side"}': {"f:image": {}}}}}, {"replicas": 5, "containers": "w:2"}),
        ({}, {"replicas": 5, "containers": "w:2"}),
    ],
)
def test_what_another_applier_owns_is_not_sent_and_the_rest_as_it_is_live(fields: dict[str, Any], sent: dict[str, Any]) -> None:
    live = {**WEB, "spec": {"replicas": 5, "containers": [{"name": "side", "image": "s:1"}, {"name": "web", "image": "w:2"}]}}
    named = pointers("/spec/replicas", "/spec/containers/1/image")
    body = json.loads(payload(json.dumps(WEB).encode(), live, WEB, pointers=named, theirs=[fields]))
    spec = body["spec"]
    found = {key: spec[key] for key in ("replicas",) if key in spec}
    images = [each["image"] for each in spec["containers"] if each["name"] == "web" and "image" in each]
    found |= {"containers": images[0]} if images else {}
    assert found == sent


def test_what_nobody_has_changed_is_sent_as_built_whoever_else_owns_it() -> None:
    body = json.dumps(WEB).encode()
    sent = payload(body, WEB, WEB, pointers=pointers("/spec/replicas"), theirs=[{"f:spec": {"f:replicas": {}}}])
    assert json.loads(sent) == WEB


def test_others_are_those_who_apply_the_object_itself() -> None:
    entries: list[dict[str, Any]] = [
        {"manager": "kustomize-controller", "operation": "Apply", "fieldsV1": {"f:a": {}}},
        {"manager": "vpa", "operation": "Apply", "fieldsV1": {"f:b": {}}},
        {"manager": "hpa", "operation": "Update", "fieldsV1": {"f:c": {}}},
        {"manager": "kubelet", "operation": "Apply", "subresource": "status", "fieldsV1": {"f:d": {}}},
    ]
    assert appliers_beside(entries, "kustomize-controller") == [{"f:b": {}}]


_keys = st.sampled_from(["a", "b", "0", "1", "", "~", "/"])
_trees = st.recursive(st.none() | st.booleans() | st.integers(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner))
_objects = st.dictionaries(_keys, _trees)


@given(obj=_objects, live=_objects, named=st.lists(st.lists(_keys, min_size=1, max_size=4).map(tuple), max_size=4))
def test_any_pointers_into_any_objects_leave_them_whole(obj: dict[str, Any], live: dict[str, Any], named: list[tuple[str, ...]]) -> None:
    before = json.dumps([obj, live])
    once = as_live(obj, live, named)
    assert json.dumps([obj, live]) == before
    assert as_live(live, live, named) == live, "an object that is as it is live stays so"
    payload(json.dumps(obj).encode(), live, once, pointers=named, theirs=[{"f:a": {}}])
