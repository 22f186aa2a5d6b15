"""A Provider in trouble is told of by another one, once; the heartbeat stops when alerts stop."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from service.alerts.dispatch import Dispatcher
from service.alerts.oversight import DEAD_PAUSE, FAILING_AFTER, FALLBACK_ANNOTATION, STUCK, Heartbeat, Oversight, Watched, provider_key
from service.kinds.meta import ObjectKey
from service.state import moments
from service.state.letters import Letters
from service.state.outbox import EventRow
from tests.alerts.conftest import Slack, World, about, alert, event, provider, says

SLACK, MAIL = provider_key("apps", "slack"), provider_key("ops", "mail")


def watched(world: World, changed: Callable[[ObjectKey], None] = lambda _key: None, **more: Any) -> Oversight:
    values: dict[str, Any] = {
        "letters": Letters(world.store), "outbox": world.outbox, "alerts": world.alerts, "providers": world.providers,
        "is_ready": lambda: True, "on_change": changed, "metrics": world.metrics,
    }  # fmt: skip
    return Oversight(Watched(**values | more))


def reasons(slack: Slack) -> list[str]:
    return [body["reason"] for body in slack.got]


async def failing(world: World, slack: Slack, dispatcher: Dispatcher, answer: Any) -> None:
    """The Provider slack has failed once; the one in ops takes everything."""
    world.put(alert(), provider(address=slack.address), provider("mail", "ops", type="generic", address=slack.address))
    slack.answers = [answer]
    await world.tell(event())
    await slack.wait_for(1)


@pytest.mark.parametrize("named", ["by flag", "by annotation"])
async def test_refused_token_is_told_by_another_provider_once_and_its_end_too(world: World, slack: Slack, named: str) -> None:
    oversight = watched(world, fallback=MAIL if named == "by flag" else None)
    world.put(
        alert(), provider(type="generic", address=f"{slack.address}/bad"), provider("mail", "ops", type="generic", address=slack.address)
    )
    if named == "by annotation":
        world.providers["apps", "slack"]["metadata"]["annotations"] = {FALLBACK_ANNOTATION: "ops/mail"}

    async def refusing(request: web.Request) -> web.StreamResponse:
        return web.Response(status=401 if request.path.endswith("/bad") else 200)

    slack.answers = [refusing] * 1000
    async with world.running() as dispatcher:
        await world.tell(event())
        await world.warned()
        for _ in range(2):
            await oversight.look(moments.now())
        corrected = provider(type="generic", address=slack.address)
        corrected["metadata"]["annotations"] = world.providers["apps", "slack"]["metadata"].get("annotations", {})
        world.put(corrected)
        dispatcher.wake()
        await world.settled(sent=2)
        for _ in range(2):
            await oversight.look(moments.now())
        await world.settled(sent=3)
    told = [body for body in slack.got if body["involvedObject"]["kind"] == "Provider"]
    assert [(body["reason"], body["severity"]) for body in told] == [("CredentialsRefused", "error"), ("DispatchSucceeded", "info")]
    assert "Provider/apps/slack has to be corrected, 1 message waits" in told[0]["message"]


async def test_provider_that_keeps_failing_is_told_after_a_while(world: World, slack: Slack, monkeypatch: pytest.MonkeyPatch) -> None:
    from service.alerts import lane

    monkeypatch.setattr(lane, "FIRST_WAIT", timedelta(hours=1))
    monkeypatch.setattr(lane, "LONGEST_PAUSE", timedelta(hours=1))
    oversight = watched(world, fallback=MAIL)
    async with world.running() as dispatcher:
        await failing(world, slack, dispatcher, says(503))
        await world.warned()
        await oversight.look(moments.now())
        assert len(slack.got) == 1
        for _ in range(2):
            await oversight.look(moments.now() + FAILING_AFTER)
        await slack.wait_for(2)
        await oversight.look(moments.now() + FAILING_AFTER)
    assert reasons_of(slack) == ["ProviderFailing"]


def reasons_of(slack: Slack) -> list[str]:
    return [body["reason"] for body in slack.got if "reason" in body]


async def test_dead_letters_are_told_and_not_each_by_itself(world: World, slack: Slack) -> None:
    oversight = watched(world, fallback=MAIL)
    world.put(alert(), provider(type="generic", address=slack.address), provider("mail", "ops", type="generic", address=slack.address))
    slack.answers = [says(400)] * 3
    now = moments.now()
    async with world.running():
        await world.tell(*(about(f"a{number}", "refused") for number in range(3)))
        await world.settled(rejected=3)
        for wait in (timedelta(0), timedelta(0), DEAD_PAUSE):
            await oversight.look(now + wait)
        await world.settled(rejected=3, sent=1)
    [told] = [body for body in slack.got if body["reason"] == "DeadLetters"]
    assert "3 messages were given up" in told["message"]


async def test_trouble_of_the_one_that_is_told_tells_nobody(world: World, slack: Slack) -> None:
    """Two that are each other's fallback: no message about a message about a message."""
    oversight = watched(world, fallback=SLACK)
    world.put(provider(type="generic", address=slack.address), provider("mail", "ops", type="generic", address=slack.address))
    world.put(
        alert(namespace="ops", providerRef={"name": "mail"}, eventSources=[{"kind": "Kustomization", "name": "*", "namespace": "apps"}])
    )
    slack.answers = [says(400)] * 2
    async with world.running():
        await world.tell(event())
        await world.settled(rejected=1)
        await oversight.look(moments.now())
        await world.settled(rejected=2)
        for minutes in range(5):
            await oversight.look(moments.now() + minutes * DEAD_PAUSE)
        counts = await world.outbox.counts()
    assert counts["queued"] == 0
    assert counts["rejected"] + counts["sent"] <= 3


async def test_heartbeat_comes_at_its_interval_and_stops_when_matching_stops(world: World, slack: Slack) -> None:
    oversight = watched(world, heartbeat=Heartbeat(provider=MAIL, interval=timedelta(minutes=1)))
    world.put(provider("mail", "ops", type="generic", address=slack.address))
    now = moments.now()
    async with world.running():
        for seconds in (0, 10, 61, 62):
            await oversight.look(now + timedelta(seconds=seconds))
            await world.settled(sent=1 if seconds < 60 else 2)
    assert reasons(slack) == ["Heartbeat", "Heartbeat"]
    await world.outbox.add(EventRow(key="stuck", json=event().to_json()))
    await oversight.look(moments.now() + STUCK + timedelta(minutes=5))
    assert await world.outbox.pending() == 0


async def test_heartbeats_do_not_pile_up(world: World) -> None:
    oversight = watched(world, heartbeat=Heartbeat(provider=MAIL, interval=timedelta(seconds=10)))
    now = moments.now()
    for number in range(5):
        await oversight.look(now + number * timedelta(seconds=10))
    assert await world.outbox.pending() == 1


async def test_status_is_shown_at_once_when_it_turns_and_rarely_otherwise(world: World, slack: Slack) -> None:
    changed: list[ObjectKey] = []
    oversight = watched(world, changed.append)
    world.put(alert(), provider(type="generic", address=slack.address))
    now = moments.now()
    async with world.running():
        for number in range(3):
            await world.tell(event(str(number)))
            await world.settled(sent=number + 1)
            await oversight.look(now)
        assert [key.kind for key in changed] == ["Alert", "Provider"]
        slack.answers = [says(401)]
        await world.tell(event("fails"))
        await world.warned()
        await oversight.look(now)
    assert len(changed) == 4
    assert oversight.senders[SLACK].sent >= 3


async def test_what_is_gone_is_forgotten(world: World, slack: Slack) -> None:
    oversight = watched(world)
    world.put(alert(), provider(type="generic", address=slack.address))
    async with world.running():
        await world.tell(event())
        await world.settled(sent=1)
        world.alerts.clear()
        world.providers.clear()
        await oversight.look(moments.now())
    assert await Letters(world.store).senders() == {}
    assert b"sluice_provider_messages_total{" not in exposition(world)


def exposition(world: World) -> bytes:
    from prometheus_client import generate_latest

    return generate_latest(world.metrics.registry)


async def test_metrics_of_a_provider_count_what_was_sent_failed_retried_and_given_up(world: World, slack: Slack) -> None:
    world.put(alert(), provider(type="generic", address=slack.address))
    slack.answers = [says(503), says(200), says(400)]
    async with world.running():
        await world.tell(about("a0", "put off"))
        await world.settled(sent=1)
        await world.tell(about("a1", "refused"))
        await world.settled(sent=1, rejected=1)
        await watched(world).look(moments.now())
    shown = exposition(world).decode()
    labels = 'name="slack",namespace="apps"'
    counted = {
        outcome: f'sluice_provider_messages_total{{{labels},outcome="{outcome}"}} 1.0' for outcome in ("sent", "failed", "retried", "dead")
    }
    assert [outcome for outcome, line in counted.items() if line not in shown] == []
    assert f"sluice_provider_send_seconds_count{{{labels}}} 1.0" in shown
    assert f"sluice_provider_queue_length{{{labels}}} 0.0" in shown
    assert "sluice_outbox_pending 0.0" in shown


async def test_pending_messages_of_all_providers_are_counted(world: World) -> None:
    for name in ("slack", "mail"):
        world.put(alert(name, providerRef={"name": name}), provider(name, type="generic", address="http://127.0.0.1:1/"))
    async with world.running():
        await world.tell(about("a0", "nobody listens"))
        await world.warned()
        await watched(world).look(moments.now())
    assert "sluice_outbox_pending 2.0" in exposition(world).decode()
