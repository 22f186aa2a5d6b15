"""Flux's event JSON in both directions."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.kinds.event import MESSAGE_LIMIT, Event
from service.kinds.meta import ObjectKey
from service.kinds.schema import Invalid

# what kustomize-controller posts, in the order of Go's struct
POSTED = {
    "involvedObject": {
        "kind": "Kustomization",
        "namespace": "flux-system",
        "name": "apps",
        "uid": "6d9f6f3e-9b6f-4b8e-8f55-1e6f0d1a2b3c",
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "resourceVersion": "4711",
    },
    "severity": "info",
    "timestamp": "2026-08-07T13:12:44Z",
    "message": "Deployment/apps/frontend configured",
    "reason": "Progressing",
    "metadata": {"kustomize.toolkit.fluxcd.io/revision": "main@sha1:5394cb7f48332b2de7c17dd8b8384bbc84b7e738"},
    "reportingController": "kustomize-controller",
    "reportingInstance": "kustomize-controller-7d8f",
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def test_posted_event_reads_and_writes_back_the_same() -> None:
    event = Event.from_json(POSTED)
    assert event.involved == ObjectKey(group="kustomize.toolkit.fluxcd.io", kind="Kustomization", namespace="flux-system", name="apps")
    assert event.timestamp == datetime(2026, 8, 7, 13, 12, 44, tzinfo=UTC)
    assert event.to_json() == POSTED


def test_trace_travels_with_the_event() -> None:
    event = Event.from_json({**POSTED, "metadata": {"event.toolkit.fluxcd.io/trace": "4bf92f"}})
    assert (event.trace, event.metadata) == ("4bf92f", {})
    assert Event.from_json(json.loads(json.dumps(event.to_json()))) == event


def test_object_of_the_core_group_has_no_group() -> None:
    event = Event.from_json({**POSTED, "involvedObject": {"kind": "Namespace", "name": "apps", "apiVersion": "v1"}, "metadata": None})
    assert event.involved == ObjectKey(group="", kind="Namespace", namespace="", name="apps")


def test_long_message_is_cut() -> None:
    event = Event.from_json({**POSTED, "message": "x" * (MESSAGE_LIMIT + 1)})
    assert event.to_json()["message"] == "x" * (MESSAGE_LIMIT - 3) + "..."


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"involvedObject": None}, "involvedObject"),
        ({"involvedObject": {"kind": "Kustomization"}}, "involvedObject.name"),
        ({"involvedObject": {"kind": 1, "name": "a"}}, "involvedObject.kind"),
        ({"severity": "trace"}, "severity"),
        ({"severity": None}, "severity"),
        ({"reason": ""}, "reason"),
        ({"message": 5}, "message"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"metadata": ["a"]}, "metadata"),
        ({"timestamp": "today"}, "timestamp"),
    ],
)
def test_broken_event_names_its_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as error:
        Event.from_json({**POSTED, **change})
    assert error.value.field == field


@given(JSON)
def test_any_json_is_read_or_invalid(body: Any) -> None:
    with pytest.raises(Invalid):
        Event.from_json(body)


@given(st.sampled_from(sorted(POSTED)), JSON)
def test_event_with_any_field_is_read_or_invalid(name: str, value: Any) -> None:
    try:
        event = Event.from_json({**POSTED, name: value})
    except Invalid:
        return
    assert Event.from_json(event.to_json()).reason == event.reason
