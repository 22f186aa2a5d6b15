"""Which Alerts an event goes to, and with which metadata."""

from typing import Any

import pytest

from providers import PROVIDERS
from service.alerts import metadata
from service.alerts.matching import Matcher
from service.alerts.message import event_of
from service.kinds.codec import decode
from service.kinds.event import Event
from service.kinds.notification import Alert, AlertSpec
from tests.alerts.conftest import KUSTOMIZE, World, alert, event

WEB = {"kind": "Kustomization", "name": "web"}
ANY = {"kind": "Kustomization", "name": "*"}


async def matches(world: World, told: Event, **spec: Any) -> bool:
    matcher = Matcher(world.read_labels, world.workers)
    found = await matcher.match(told, [decode(Alert, alert(**spec))])
    return bool(found.messages)


@pytest.mark.parametrize(
    ("sources", "matched"),
    [
        ([WEB], True),
        ([ANY], True),
        ([WEB | {"name": "other"}], False),
        ([WEB | {"kind": "GitRepository"}], False),
        ([WEB | {"namespace": "apps"}], True),
        ([WEB | {"namespace": "other"}], False),
        ([WEB | {"namespace": "*"}], False),
        ([WEB | {"name": "other"}, WEB], True),
        ([WEB | {"apiVersion": "some.other.group/v1"}], True),
        ([ANY | {"matchLabels": {"team": "a"}}], True),
        ([ANY | {"matchLabels": {"team": "b"}}], False),
        ([ANY | {"matchLabels": {"team": "a", "tier": "x"}}], False),
        ([ANY | {"matchLabels": {"team": "b"}}, WEB], True),
    ],
)
async def test_match_by_event_sources(world: World, sources: list[dict[str, Any]], matched: bool) -> None:
    world.labels[event().involved] = {"team": "a", "more": "x"}
    assert await matches(world, event(), eventSources=sources) is matched


async def test_match_of_another_namespace_needs_leave(world: World) -> None:
    there = decode(Alert, alert(namespace="other", eventSources=[WEB | {"namespace": "apps"}]))
    assert (await Matcher(world.read_labels, world.workers).match(event(), [there])).messages
    blocked = await Matcher(world.read_labels, world.workers, no_cross_namespace=True).match(event(), [there])
    assert not blocked.messages
    (complaint,) = blocked.complaints
    denied = (
        f"alert 'other/{there.metadata.name}' can't process event from '{event().involved}', cross-namespace references have been blocked"
    )
    assert (complaint.reason, complaint.message.endswith(denied)) == ("NotificationDispatchFailed", True)


@pytest.mark.parametrize(("wanted", "severity", "matched"), [("info", "info", True), ("info", "error", True), ("error", "info", False)])
async def test_match_by_severity(world: World, wanted: str, severity: Any, matched: bool) -> None:
    assert await matches(world, event(severity=severity), eventSeverity=wanted) is matched


@pytest.mark.parametrize(
    ("spec", "message", "matched"),
    [
        ({"exclusionList": ["waiting"]}, "still waiting for it", False),
        ({"exclusionList": ["^waiting"]}, "still waiting for it", True),
        ({"inclusionList": ["^Deployment/.* configured$"]}, "Deployment/web/web configured", True),
        ({"inclusionList": ["^Deployment/.* configured$"]}, "Service/web/web configured", False),
        ({"inclusionList": ["(?i)FAILED|denied"]}, "it was Denied", True),
        ({"inclusionList": ["web"], "exclusionList": ["configured"]}, "web configured", False),
        ({"inclusionList": ["(", "web"]}, "web", True),
        ({"inclusionList": ["("]}, "web", False),
        ({"exclusionList": ["(?=web)", "(a+)+$"]}, "web" + "a" * 60 + "!", True),
    ],
)
async def test_match_by_message(world: World, spec: dict[str, Any], message: str, matched: bool) -> None:
    assert await matches(world, event(message), **spec) is matched


async def test_match_complains_of_patterns_that_cannot_be_used_and_tries_a_slow_one_once(world: World) -> None:
    matcher = Matcher(world.read_labels, world.workers)
    wanted = decode(Alert, alert(exclusionList=["(?!x)", "(a|a)*$", "zzz"]))
    for _ in range(10):  # would take more than five seconds with each try of the slow one
        found = await matcher.match(event("a" * 60 + "!"), [wanted])
        assert len(found.messages) == 1
        assert [each.reason for each in found.complaints] == ["InvalidConfig"] * 2
        assert "is not a regular expression of Go's" in found.complaints[0].message
        assert "takes too long" in found.complaints[1].message


REFRESH = {f"{KUSTOMIZE}/commit_status": "update"}
COMMIT, CHANGE = {"event.toolkit.fluxcd.io/commit": "a" * 40}, {"event.toolkit.fluxcd.io/change_request": "7"}


@pytest.mark.parametrize(
    ("wants", "told", "wanted"),
    [
        ("news", event(), True),
        ("news", event(metadata=REFRESH), False),
        ("news", event(metadata={"other.group/commit_status": "update"}), True),
        ("all", event(metadata=REFRESH), True),
        ("commit_status", event(metadata=REFRESH), True),
        ("commit_status", event(), True),
        ("commit_status", event(reason="Progressing"), False),
        ("commit_status", event(metadata=COMMIT), True),
        ("commit_status", event(severity="error"), True),
        ("change_request", event(), False),
        ("change_request", event(metadata=CHANGE), True),
        ("change_request", event(severity="error"), False),
        ("change_request", event(metadata=REFRESH | CHANGE), False),
    ],
)
def test_provider_gets_what_its_type_wants(wants: Any, told: Event, wanted: bool) -> None:
    assert metadata.wanted(told, wants) is wanted


@pytest.mark.parametrize(("type_", "matched"), [("generic", True), ("generic-hmac", True), ("slack", False), ("unheard-of", False)])
async def test_match_looks_at_the_type_of_the_provider(world: World, type_: str, matched: bool) -> None:
    matcher = Matcher(world.read_labels, world.workers, by_type=lambda _: PROVIDERS.get(type_))
    assert bool((await matcher.match(event(metadata=REFRESH), [decode(Alert, alert())])).messages) is matched


@pytest.mark.parametrize(
    ("type_", "told", "matched"),
    [
        ("pagerduty", event("well again"), True),
        ("alertmanager", event("well again"), True),
        ("pagerduty", event(reason="Progressing"), False),
        ("pagerduty", event(reason="DependencyNotReady"), False),
        ("pagerduty", event(metadata=REFRESH), False),
        ("rocket", event("well again"), False),
        ("slack", event("well again"), True),
    ],
)
async def test_recovery_reaches_what_alarms_though_only_failures_are_asked_for(
    world: World, type_: str, told: Event, matched: bool
) -> None:
    only_failures = decode(Alert, alert(eventSeverity="error", inclusionList=["failed"]))
    found = await Matcher(world.read_labels, world.workers, by_type=lambda _: PROVIDERS.get(type_)).match(told, [only_failures])
    assert [event_of(each.payload)[0].recovery_only for each in found.messages] == ([True] if matched else [])


async def test_message_keeps_the_event_and_its_trace(world: World) -> None:
    found = await Matcher(world.read_labels, world.workers).match(event(), [decode(Alert, alert(eventMetadata={"cluster": "prod"}))])
    [message] = found.messages
    told, trace = event_of(message.payload)
    assert trace == "trace-1"
    assert (told.kind, told.namespace, told.name, told.alert) == ("Kustomization", "apps", "web", "apps/on-call")
    assert told.metadata == {"revision": "main@sha1:" + "a" * 40, "cluster": "prod"}
    assert told.timestamp == event(timestamp=told.timestamp).timestamp


def test_metadata_is_merged_low_to_high_and_loses_its_groups() -> None:
    told = event(
        metadata={
            "event.toolkit.fluxcd.io/summary": "of the object", "event.toolkit.fluxcd.io/env": "of the object",
            f"{KUSTOMIZE}/revision": "r", f"{KUSTOMIZE}/env": "of the controller", f"{KUSTOMIZE}/checksum": "x", f"{KUSTOMIZE}/digest": "x",
            f"{KUSTOMIZE}/token": "x", "example.com/other": "x", "plain": "x", f"{KUSTOMIZE}/": "x",
        }
    )  # fmt: skip
    spec = AlertSpec(provider_ref="p", event_sources=(), event_metadata={"env": "of the Alert", "cluster": "c"}, summary="of the Alert")
    found, doubles = metadata.merged(told, spec)
    assert found == {"summary": "of the Alert", "env": "of the controller", "cluster": "c", "revision": "r"}
    assert doubles == ("env", "summary")


async def test_metadata_that_two_sources_give_is_complained_of(world: World) -> None:
    found = await Matcher(world.read_labels, world.workers).match(event(), [decode(Alert, alert(eventMetadata={"revision": "mine"}))])
    assert [each.reason for each in found.complaints] == ["MetadataAppendFailed"]
    assert "revision" in found.complaints[0].message
