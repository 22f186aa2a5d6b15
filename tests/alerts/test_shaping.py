"""What annotations make of messages: words, triggers, channels, grouping, digests, mutes, sharing; over a real store and a stand-in."""

import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.alerts.matching import Rules
from service.alerts.mutes import BadMute, Mute, mute_of
from service.alerts.templates import Renderer
from service.kinds.event import Event
from service.kinds.meta import ObjectKey
from tests.alerts.conftest import KUSTOMIZE, Slack, World, alert, event, provider

PREFIX = "notification.sluice.dev/"
ALERT = ObjectKey(group="notification.toolkit.fluxcd.io", kind="Alert", namespace="apps", name="on-call")


def on(world: World, slack: Slack, *, above: dict[str, str] | None = None, **options: str) -> None:
    """An Alert with these annotations and a Provider with those `above`."""
    told, ours = alert(), provider(address=slack.address, channel="#deploys")
    told["metadata"]["annotations"] = {f"{PREFIX}{name.replace('_', '-')}": value for name, value in options.items()}
    ours["metadata"]["annotations"] = {f"{PREFIX}{name}": value for name, value in (above or {}).items()}
    world.put(told, ours)


def about(name: str, message: str = "it fails", **changes: Any) -> Event:
    involved = ObjectKey(group=KUSTOMIZE, kind="Kustomization", namespace="apps", name=name)
    return event(message, involved=involved, **{"severity": "error", "reason": "HealthCheckFailed"} | changes)


def shown(body: dict[str, Any]) -> str:
    """All text of a message."""
    return json.dumps(body, ensure_ascii=False)


@pytest.fixture
async def renderer() -> AsyncIterator[Renderer]:
    made = Renderer()
    yield made
    await made.close()


async def test_templates_of_alert_provider_and_config_map_make_title_text_and_fields(world: World, slack: Slack) -> None:
    on(world, slack, above={"template": "words"}, title="{{ object.name | upper }} {{ event.reason }}", fields="Team: {{ labels.team }}")
    world.configs["apps", "words"] = {"text": "It says <{{ event.message }}> at {{ metadata.revision[:4] }}", "title": "not this"}
    world.labels[event().involved] = {"team": "red"}
    async with world.running():
        await world.tell(event("a & b"))
        [body] = await slack.wait_for(1)
        await world.settled(sent=1)
    assert body["blocks"][0]["text"]["text"].startswith("*✅ WEB ReconciliationSucceeded*")
    assert "It says &lt;a &amp; b&gt; at main" in shown(body)
    assert "Team: red" in shown(body)
    assert world.warnings == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"text": "{{ event.message"}, "the text template"),
        ({"text": "{{ ''.__class__.__mro__ }}"}, "not allowed"),
        ({"text": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"}, "took more than"),
        ({"text": "{{ 'x' * 999999999 }}"}, "MemoryError"),
        ({"template": "missing"}, "does not exist"),
        ({"on": "event.message.("}, "CEL"),
        ({"on": "event.nothing == 'x'"}, "no such key"),
        ({"once-per": "1"}, "as string"),
        ({"digest": "soon"}, "digest"),
        ({"mute": '{"until": "2999-01-01T00:00:00Z"}'}, "by and reason"),
    ],
)
async def test_what_cannot_be_used_costs_no_message_and_is_told(world: World, slack: Slack, options: dict[str, str], words: str) -> None:
    """One of these runs a template into its limit of one second."""
    on(world, slack, **options)
    async with world.running():
        await world.tell(event("what happened"))
        [body] = await slack.wait_for(1)
        await world.settled(sent=1)
    assert "what happened" in shown(body)
    assert words in world.warnings[0].message


async def test_text_of_a_template_is_bounded(renderer: Renderer) -> None:
    rendered = await renderer.render({"text": "{% for a in range(50000) %}ab{% endfor %}"}, {})
    assert len(rendered.texts["text"]) < 20_100
    assert (await renderer.render({"text": "x" * 17_000}, {})).problem.startswith("the text template is longer")


async def test_trigger_and_key_choose_what_is_sent(world: World, slack: Slack) -> None:
    on(world, slack, on="event.severity == 'error' || metadata.revision.endsWith('b')", once_per="metadata.revision")
    world.ready = False
    b = {f"{KUSTOMIZE}/revision": "main@sha1:" + "b" * 40}
    await world.tell(event("one"), event("two", metadata=b), event("three", metadata=b), about("web", "four"), about("web", "five"))
    world.ready = True
    async with world.running():
        await slack.wait_for(2)
        await world.settled(sent=2)
    assert [body["text"].splitlines()[-1] for body in slack.got] == ["two", "four"]


async def test_channel_comes_from_the_object_s_label_or_its_metadata(world: World, slack: Slack) -> None:
    on(world, slack, above={"channel": "#team-{label:team}, {metadata:owner}"})
    world.labels[event().involved] = {"team": "red"}
    async with world.running():
        await world.tell(event("labelled"), about("other", "without label"))
        got = await slack.wait_for(2)
        await world.settled(sent=2)
    assert [body["channel"] for body in got] == ["#team-red", "#deploys"]


async def test_burst_of_one_cause_is_one_message_with_a_list(world: World, slack: Slack) -> None:
    on(world, slack, group_window="300ms")
    async with world.running():
        await world.tell(*(about(f"app-{number}", f"failure {number}") for number in range(12)), event("all is well"))
        got = await slack.wait_for(2)
        await world.settled(sent=2)
    assert "all is well" in shown(got[0])
    assert "12 objects: 12 failed" in got[1]["blocks"][0]["text"]["text"]
    assert all(f"failure {number}" in shown(got[1]) for number in range(12))


async def test_what_is_held_goes_before_the_recovery_of_its_object(world: World, slack: Slack) -> None:
    on(world, slack, group_window="1h")
    async with world.running():
        await world.tell(about("web", "broken"), about("api", "broken too"), event("well again"))
        got = await slack.wait_for(2)
        await world.settled(sent=2)
    assert "2 objects: 2 failed" in got[0]["blocks"][0]["text"]["text"]
    assert "well again" in shown(got[1])
    assert "recovered after" in shown(got[1])


async def test_digest_holds_the_last_state_of_each_object(world: World, slack: Slack) -> None:
    on(world, slack, digest="300ms")
    async with world.running():
        await world.tell(about("web", "broken"), event("web is well"), about("api", "api is broken"))
        [body] = await slack.wait_for(1)
        await world.settled(sent=1)
    text = shown(body)
    assert "2 objects: 1 failed, 1 live" in text
    assert ("web is well" in text, "api is broken" in text, '"broken' in text) == (True, True, False)


async def test_types_without_lists_get_a_digest_as_text(world: World, slack: Slack) -> None:
    on(world, slack, digest="200ms")
    world.providers["apps", "slack"]["spec"]["type"] = "rocket"
    async with world.running():
        await world.tell(about("web", "broken"), about("api", "away"))
        [body] = await slack.wait_for(1)
        await world.settled(sent=1)
    assert body["attachments"][0]["text"].splitlines()[0].startswith("2 objects: health check failed")
    assert "Kustomization/apps/api: health check failed: away" in body["attachments"][0]["text"]


async def test_held_messages_survive_a_restart(world: World, slack: Slack) -> None:
    on(world, slack, digest="400ms")
    async with world.running():
        await world.tell(about("web", "broken"), about("api", "away"))
        await world.settled()
    assert slack.got == []
    assert [each.count for each in await world.held.bundles()] == [2]
    async with world.running():
        await slack.wait_for(1)
        await world.settled(sent=1)


async def test_mute_holds_until_it_ends_and_says_by_whom_and_why(world: World, slack: Slack, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="service.alerts.shaping")
    until = datetime.now(UTC) + timedelta(hours=2)
    on(world, slack, mute=Mute(until=until, by="ann", reason="migration").to_text())
    async with world.running() as dispatcher:
        await world.tell(about("web", "broken"), about("api", "away"))
        await world.settled()
        [held] = await world.held.about(about("web").involved)
        assert (held.why, held.alert) == (f"muted until {until:%Y-%m-%dT%H:%M:%SZ} by ann: migration", ALERT)
        assert slack.got == []
        on(world, slack)
        dispatcher.wake()
        [body] = await slack.wait_for(1)
        await world.settled(sent=1)
    assert "2 objects: 2 failed" in shown(body)
    assert any("migration" in str(vars(record)) for record in caplog.records)


def test_mute_needs_an_end_an_owner_and_a_reason() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    good = Mute(until=now + timedelta(hours=1), by="ann", reason="r")
    assert mute_of({f"{PREFIX}mute": good.to_text()}, now) == good
    assert mute_of({f"{PREFIX}mute": good.to_text()}, now + timedelta(hours=2)) is None
    assert mute_of({}, now) is None
    for text in ("", "2h", "{}", '{"until": "x", "by": "a", "reason": "b"}', '{"until": "2026-06-01T00:00:00Z", "by": "a", "reason": "b"}'):
        if text:
            with pytest.raises(BadMute, match="annotation"):
                mute_of({f"{PREFIX}mute": text}, now)


async def test_provider_of_another_namespace_is_used_only_where_its_owner_shares_it(world: World, slack: Slack) -> None:
    theirs = alert(namespace="team-a", eventSources=[{"kind": "Kustomization", "name": "*", "namespace": "apps"}])
    theirs["metadata"]["annotations"] = {f"{PREFIX}provider-namespace": "platform", f"{PREFIX}channel": "#elsewhere"}
    shared = provider(namespace="platform", address=slack.address, channel="#deploys")
    world.put(theirs, shared)
    async with world.running():
        await world.tell(event("not yet"))
        assert "share-with does not name the namespace team-a" in await world.warned()
        shared = provider(namespace="platform", address=slack.address, channel="#deploys")
        shared["metadata"]["annotations"] = {f"{PREFIX}share-with": "team-*"}
        world.put(shared)
        await world.tell(event("now"))
        [body] = await slack.wait_for(1)
        await world.settled(sent=1)
    assert ("now" in shown(body), body["channel"]) == (True, "#deploys")


async def test_lockdown_refuses_providers_of_other_namespaces(world: World, slack: Slack) -> None:
    theirs = alert()
    theirs["metadata"]["annotations"] = {f"{PREFIX}provider-namespace": "platform"}
    shared = provider(namespace="platform", address=slack.address)
    shared["metadata"]["annotations"] = {f"{PREFIX}share-with": "*"}
    world.put(theirs, shared)
    async with world.running(no_cross_namespace=True):
        await world.tell(event())
        assert "not allowed here" in await world.warned()
    assert slack.got == []


@pytest.mark.parametrize(("options", "count"), [({}, 0), ({"rules": Rules(any_namespace=True)}, 1)])
async def test_alert_takes_events_of_all_namespaces_where_the_operator_allows_it(
    world: World, slack: Slack, options: dict[str, Any], count: int
) -> None:
    world.put(alert(namespace="ops", eventSources=[{"kind": "Kustomization", "name": "*", "namespace": "*"}]))
    world.put(provider(namespace="ops", address=slack.address))
    async with world.running(**options):
        await world.tell(event())
        await world.settled(sent=count)
    async with world.running(no_cross_namespace=True, **options):
        await world.tell(event("in lockdown"))
        await world.settled(sent=count)


async def test_cluster_s_name_is_in_every_message_and_the_alert_s_own_word_counts(world: World, slack: Slack) -> None:
    world.put(alert(), alert("other", eventMetadata={"cluster": "mine"}), provider(address=slack.address))
    async with world.running(rules=Rules(cluster="prod-eu")):
        await world.tell(event())
        got = await slack.wait_for(2)
        await world.settled(sent=2)
    assert sorted(word for body in got for word in ("cluster prod-eu", "cluster mine") if word in shown(body)) == [
        "cluster mine",
        "cluster prod-eu",
    ]
