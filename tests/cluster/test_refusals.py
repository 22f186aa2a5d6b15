import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from service.cluster.changes import ChangeSet
from service.cluster.client import ApiAway, ApiError, Cause
from service.cluster.discovery import NoSuchKind
from service.cluster.inventory import ObjectId
from service.cluster.refusals import ApplyFailed, apply_failed, dry_run_failed, is_immutable, joined, masked

SITE = ObjectId("apps", "site", "apps", "Deployment", "v1")
SECRET = ObjectId("apps", "key", "", "Secret", "v1")


def invalid(*messages: str) -> ApiError:
    causes = tuple(Cause(field="spec.x", reason="FieldValueInvalid", message=message) for message in messages)
    return ApiError(422, "Invalid", " and ".join(messages), causes)


def test_messages_are_fluxs() -> None:
    assert dry_run_failed(SITE, invalid("spec.x: Required value")) == (
        "Deployment/apps/site dry-run failed (Invalid): spec.x: Required value"
    )
    missing = ApiError(404, "NotFound", 'namespaces "apps" not found')
    assert dry_run_failed(SITE, missing, namespaced=True) == 'Deployment/apps/site not found: namespaces "apps" not found'
    nowhere = ObjectId("", "site", "apps", "Deployment", "v1")
    assert dry_run_failed(nowhere, missing, namespaced=True).startswith("Deployment/site namespace not specified: ")
    assert dry_run_failed(SITE, NoSuchKind("x.io/v1", "Gadget")) == (
        'Deployment/apps/site dry-run failed: no matches for kind "Gadget" in version "x.io/v1"'
    )
    assert apply_failed(SITE, ApiAway("gone")) == "Deployment/apps/site apply failed: gone"


def test_not_more_than_ten_are_shown() -> None:
    assert joined(["one"]) == "one"
    assert joined([str(number) for number in range(12)]).splitlines()[-2:] == ["9", "... and 2 more"]


@pytest.mark.parametrize(
    ("message", "immutable"),
    [
        ('spec.selector: Invalid value: v1.LabelSelector{MatchLabels:{"app":"b"}}: field is immutable', True),
        ("data: Forbidden: field is immutable when `immutable` is set", True),
        ('spec.clusterIPs[0]: Invalid value: []string{"10.0.0.2"}: may not change once set', True),
        ("spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals' are forbidden", True),
        ('roleRef: Invalid value: rbac.RoleRef{Name:"b"}: cannot change roleRef', True),
        ("value: Forbidden: may not be changed in an update.", True),
        ("spec.replicas: Invalid value: -1: must be greater than or equal to 0", False),
        ("spec.x: Required value", False),
    ],
)
def test_what_counts_as_immutable(message: str, immutable: bool) -> None:
    assert is_immutable(invalid(message)) is immutable


def test_one_other_complaint_keeps_the_live_object() -> None:
    assert not is_immutable(invalid("field is immutable", "spec.x: Required value"))
    assert not is_immutable(ApiError(403, "Forbidden", "field is immutable"))
    assert not is_immutable(ApiAway("field is immutable"))


@pytest.mark.parametrize(
    "message",
    [
        'Secret "key" is invalid: type: Invalid value: "hunter2": field is immutable',
        "failed to create typed patch object (apps/key; /v1): .data.x: expected string, got &value.valueUnstructured{Value:hunter2}",
    ],
)
def test_values_of_secrets_are_not_repeated(message: str) -> None:
    assert "hunter2" not in masked(SECRET, message)
    assert "hunter2" in masked(SITE, message)
    assert "***" in dry_run_failed(SECRET, ApiError(422, "Invalid", message))


FORMS = """\
Secret "key" is invalid: data.x: Invalid value: {}: must not be so
Secret "key" is invalid: [data.x: Invalid value: {}: no, type: Required value]
failed to create typed patch object (apps/key; /v1, Kind=Secret): .data.x: expected string, got &value.valueUnstructured{{Value:{}}}"""


@given(value=st.text(st.characters(codec="utf-8"), min_size=8))
def test_no_form_of_a_value_is_repeated(value: str) -> None:
    assume(value not in FORMS)
    quoted = json.dumps(value, ensure_ascii=False)
    for form in FORMS.splitlines():
        for shown in (quoted, f"[]interface {{}}{{{quoted}}}", f"map[string]string{{{quoted}:{quoted}}}"):
            told = masked(SECRET, form.format(shown))
            assert quoted[1:-1] not in told
            assert "data.x" in told, "the field is still named"


def test_failure_knows_whether_the_server_was_away() -> None:
    assert ApplyFailed("x", ChangeSet(), ApiAway("gone")).away
    assert ApplyFailed("x", ChangeSet(), ApiError(503, "ServiceUnavailable", "starting")).away
    assert not ApplyFailed("x", ChangeSet(), invalid("y")).away
