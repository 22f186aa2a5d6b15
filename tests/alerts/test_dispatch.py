"""From a stored event to Slack: sent, tried again, set aside, and never lost on the way."""

import asyncio
import logging
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from service.alerts import dispatch, lane
from service.cluster.client import ApiAway
from service.kinds.meta import ObjectKey
from service.state import moments
from service.state.journal import EventRow, Journal
from service.state.store import Store
from service.workers import Workers
from tests.alerts.conftest import PATH, Slack, World, about, alert, event, provider, says

pytestmark = pytest.mark.databases

SECRET = "very-secret-path"


def on(world: World, slack: Slack, **spec: Any) -> None:
    world.put(alert(), provider(address=slack.address, **spec))


def ours(caplog: pytest.LogCaptureFixture) -> str:
    """Everything that our own code has logged (the stand-in for Slack logs what it gets)."""
    return " ".join(str(vars(record)) for record in caplog.records if record.name.startswith("service"))


async def test_event_reaches_slack_and_is_marked_sent(world: World, slack: Slack) -> None:
    on(world, slack, channel="#deploys", username="sluice")
    async with world.running():
        await world.tell(event())
        [body] = await slack.wait_for(1)
        await world.settled(sent=1)
    assert (body["channel"], body["username"]) == ("#deploys", "sluice")
    assert "Deployment/web/web configured" in body["text"]
    assert slack.headers[0]["Content-Type"] == "application/json; charset=utf-8"
    assert world.warnings == []


async def test_event_of_a_run_wakes_the_dispatcher_when_the_run_is_closed(world: World, slack: Slack) -> None:
    on(world, slack)
    async with world.running():
        await Journal(world.store).close(None, [EventRow(key="k", json=event().to_json())])
        await slack.wait_for(1)
        await world.settled(sent=1)


async def test_events_arrive_in_their_order(world: World, slack: Slack) -> None:
    on(world, slack)
    async with world.running():
        await world.tell(*(event(f"number {number}") for number in range(20)))
        got = await slack.wait_for(20)
    assert [body["text"].splitlines()[-1] for body in got] == [f"number {number}" for number in range(20)]


async def test_bot_token_of_a_secret_is_sent_as_bearer(world: World, slack: Slack) -> None:
    world.put(alert(), provider(address=f"{slack.server.make_url('/api/chat.postMessage')}", channel="C1", secretRef={"name": "bot"}))
    world.secrets["apps", "bot"] = {"token": b"xoxb-1\n"}
    slack.answers = [says(200, '{"ok": false, "error": "channel_not_found"}')]
    async with world.running():
        await world.tell(event("a"), event("b"))
        await world.settled(sent=1, rejected=1)
    assert {each["Authorization"] for each in slack.headers} == {"Bearer xoxb-1"}
    [warning] = world.warnings
    assert (warning.kind, warning.name, warning.uid, warning.type) == ("Alert", "on-call", "uid-on-call", "Warning")
    assert "Provider/apps/slack" in warning.message
    assert "channel_not_found: check spec.channel" in warning.message


@pytest.mark.parametrize(
    "answers",
    [[says(429, "rate_limited", Retry_After="0")], [says(500), says(503), says(502)], [says(200, '{"ok":false,"error":"ratelimited"}')]],
)
async def test_busy_slack_is_tried_again_until_it_takes_the_message(world: World, slack: Slack, answers: list[Any]) -> None:
    on(world, slack)
    slack.answers = list(answers)
    async with world.running():
        await world.tell(event())
        await slack.wait_for(len(answers) + 1)
        await world.settled(sent=1)
    assert len(slack.got) == len(answers) + 1
    assert [each.reason for each in world.warnings] == ["NotificationDispatchFailed"]


async def test_retry_after_is_waited_for_and_only_one_message_tries(world: World, slack: Slack) -> None:
    on(world, slack)
    slack.answers = [says(429, "rate_limited", Retry_After="1")]
    async with world.running():
        began = asyncio.get_running_loop().time()
        await world.tell(event("a"), about("other", "b"), about("third", "c"))
        await slack.wait_for(1)
        await asyncio.sleep(0.3)
        assert len(slack.got) == 1
        got = await slack.wait_for(4)
        assert asyncio.get_running_loop().time() - began >= 1
        await world.settled(sent=3)
    assert [body["text"].splitlines()[-1] for body in got] == ["a", "a", "b", "c"]


async def test_slack_that_never_answers_is_given_up_at_the_timeout(world: World, slack: Slack, caplog: pytest.LogCaptureFixture) -> None:
    on(world, slack, timeout="1s")
    never = asyncio.Event()

    async def silent(_: web.Request) -> web.StreamResponse:
        await never.wait()
        return web.Response()

    slack.answers = [silent]
    async with world.running():
        await world.tell(event())
        await slack.wait_for(2)
        await world.settled(sent=1)
    never.set()
    assert "no answer within 1 s" in world.warnings[0].message


async def test_slack_that_is_not_there_is_named_without_its_address(world: World, slack: Slack, caplog: pytest.LogCaptureFixture) -> None:
    on(world, slack)
    await slack.server.close()
    with caplog.at_level(logging.INFO):
        async with world.running():
            await world.tell(event())
            await world.warned()
    [message] = await world.outbox.queued()
    shown = " ".join([message.error, world.warnings[0].message, ours(caplog)])
    assert "no connection: " in message.error
    assert SECRET not in shown


async def test_refused_message_blocks_no_other_and_tells_what_to_do(world: World, slack: Slack, caplog: pytest.LogCaptureFixture) -> None:
    on(world, slack)
    slack.answers = [says(404, "no_service")]
    with caplog.at_level(logging.INFO):
        async with world.running():
            await world.tell(event("a"), event("b"))
            await world.settled(sent=1, rejected=1)
    assert "no_service: the webhook was removed: make a new one" in world.warnings[0].message
    assert SECRET not in ours(caplog)


async def test_answer_that_repeats_the_address_is_masked(world: World, slack: Slack) -> None:
    on(world, slack)
    slack.answers = [says(302, "", Location=f"http://127.0.0.1{PATH}")]
    async with world.running():
        await world.tell(event())
        await world.settled(rejected=1)
    assert len(slack.got) == 1
    assert SECRET not in world.warnings[0].message


async def test_message_is_set_aside_after_its_time(world: World, slack: Slack) -> None:
    on(world, slack)
    slack.answers = [says(500)]
    async with world.running(ttl=timedelta(0)):
        await world.tell(event())
        await world.settled(rejected=1)
    assert "Slack answered 500; tried for" in world.warnings[0].message


async def test_message_survives_a_restart(world: World, slack: Slack) -> None:
    on(world, slack)
    slack.answers = [says(500)] * 2
    async with world.running():
        await world.tell(event())
        await slack.wait_for(1)
    assert (await world.outbox.counts())["queued"] == 1
    async with world.running():
        await world.settled(sent=1)


async def test_missing_secret_is_waited_for_and_named(world: World, slack: Slack) -> None:
    world.put(alert(), provider(secretRef={"name": "hook"}))
    async with world.running():
        await world.tell(event())
        await world.warned()
        world.secrets["apps", "hook"] = {"address": slack.address.encode()}
        await world.settled(sent=1)
    assert "Secret/apps/hook does not exist: create it" in world.warnings[0].message
    assert world.warnings[0].message.endswith("; the message is tried again for 24h0m0s")


async def test_corrected_provider_is_tried_at_once(world: World, slack: Slack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "FIRST_WAIT", timedelta(hours=1))
    monkeypatch.setattr(lane, "LONGEST_PAUSE", timedelta(hours=1))
    world.put(alert())
    async with world.running() as dispatcher:
        await world.tell(event())
        await world.warned()
        world.put(provider(address=slack.address))
        dispatcher.wake()
        await world.settled(sent=1)
    assert "there is no such Provider: create it" in world.warnings[0].message


async def test_suspended_alert_and_provider_send_nothing(world: World, slack: Slack) -> None:
    world.put(alert(suspend=True), alert("second", providerRef={"name": "asleep"}), provider(address=slack.address))
    world.put(provider("asleep", address=slack.address, suspend=True))
    async with world.running():
        await world.tell(event())
        await world.settled(rejected=1)
    assert slack.got == []


@pytest.mark.parametrize(
    ("spec", "words"), [({"type": "from-the-future"}, "spec.type"), ({"serviceAccountName": "p"}, "spec.serviceAccountName")]
)
async def test_provider_that_is_not_carried_out_is_named(world: World, slack: Slack, spec: dict[str, Any], words: str) -> None:
    world.put(alert(), provider(address=slack.address, **spec))
    async with world.running():
        await world.tell(event())
        await world.warned()
    assert slack.got == []
    assert any(words in each.message for each in world.warnings)


async def test_alert_with_a_refused_field_is_named_and_sends_nothing(world: World, slack: Slack) -> None:
    on(world, slack)
    world.put(alert(eventSources=[{"kind": "Kustomization", "name": "*", "filter": "true"}]))
    async with world.running():
        await world.tell(event("a"), event("b"))
        await world.settled()
    assert slack.got == []
    [warning] = world.warnings
    assert (warning.reason, warning.name) == ("InvalidConfig", "on-call")
    assert "spec.eventSources[0].filter" in warning.message


async def test_events_wait_until_alerts_are_known(world: World, slack: Slack) -> None:
    world.ready = False
    async with world.running() as dispatcher:
        await world.tell(event())
        await asyncio.sleep(0.1)
        assert (await world.outbox.counts())["unmatched"] == 1
        on(world, slack)
        world.ready = True
        dispatcher.wake()
        await world.settled(sent=1)


async def test_event_waits_while_the_api_is_away_and_others_do_not(world: World, slack: Slack) -> None:
    on(world, slack)
    labelled = {"kind": "GitRepository", "name": "*", "matchLabels": {"team": "a"}}
    world.put(alert("labelled", eventSources=[labelled]))
    repository = ObjectKey(group="source.toolkit.fluxcd.io", kind="GitRepository", namespace="apps", name="fleet")
    world.labels_error = ApiAway("connection refused")
    async with world.running():
        await world.tell(event("waits", involved=repository, involved_api_version=f"{repository.group}/v1"), event("goes"))
        await world.settled(sent=1, unmatched=1)
        world.labels_error, world.labels[repository] = None, {"team": "a"}
        await world.settled(sent=2)
    assert [body["text"].splitlines()[-1] for body in slack.got] == ["goes", "waits"]


async def test_shadow_reports_and_sends_nothing(world: World, slack: Slack, caplog: pytest.LogCaptureFixture) -> None:
    on(world, slack)
    with caplog.at_level(logging.INFO):
        async with world.running(shadow=True):
            await world.tell(event())
            await world.settled()
    assert slack.got == []
    [record] = [each for each in caplog.records if each.getMessage() == "shadow: would send"]
    assert vars(record)["provider"] == "Provider/apps/slack"


async def test_stop_sends_what_is_stored_and_does_not_wait_for_ever(world: World, slack: Slack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "DRAIN", timedelta(milliseconds=200))
    on(world, slack)
    dispatcher = world.dispatcher()
    await world.tell(event("a"))
    dispatcher.stop()
    await dispatcher.run()
    assert dict(await world.outbox.counts())["sent"] == 1
    never = asyncio.Event()

    async def silent(_: web.Request) -> web.StreamResponse:
        await never.wait()
        return web.Response()

    slack.answers = [silent]
    async with asyncio.timeout(2):
        async with world.running():
            await world.tell(event("b"))
            await slack.wait_for(2)
    never.set()
    assert dict(await world.outbox.counts())["queued"] == 1


async def test_unreadable_rows_are_left_out(world: World, slack: Slack) -> None:
    on(world, slack)
    await world.outbox.add(EventRow(key="broken", json={"no": "event"}))
    async with world.running():
        await world.tell(event())
        await world.settled(sent=1)


async def test_intake_takes_an_event_once_in_five_minutes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    dispatcher = world.dispatcher()
    assert await dispatcher.intake(event("a"))
    assert not await dispatcher.intake(event("a", severity="error", reason="Other", timestamp=moments.now()))
    assert await dispatcher.intake(event("b"))
    assert await dispatcher.intake(event("a", metadata={}))
    monkeypatch.setattr(dispatch, "DOUBLE_WINDOW", timedelta(0))
    assert await dispatcher.intake(event("a"))
    assert (await world.outbox.counts())["unmatched"] == 4


@pytest.mark.databases("sqlite")
async def test_full_disk_does_not_end_the_room(world: World, slack: Slack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "STATE_WAIT", timedelta(milliseconds=50))
    on(world, slack)
    await world.tell(*(event("x" * 3000 + str(number)) for number in range(30)))
    used = await world.store.read(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
    await world.store.write(lambda connection: connection.execute(f"PRAGMA max_page_count = {used}").fetchone())
    async with world.running():
        await asyncio.sleep(0.3)
        await world.store.write(lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchone())
        await world.settled(sent=30)


CRASHING = """
import asyncio, sys
from pathlib import Path
from service.state.store import Store
from service.workers import Workers
from tests.alerts.conftest import World, alert, event, provider

async def main(folder, address):
    world = World(store=Store.open(Path(folder)), workers=Workers(1))
    world.put(alert(), provider(address=address))
    async with world.running():
        await world.tell(event())
        await world.settled(sent=1)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("point", ["outbox.matched", "outbox.sent"])
async def test_kill_loses_and_doubles_nothing(tmp_path: Path, slack: Slack, workers: Workers, point: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CRASHING, str(tmp_path), slack.address, env={**os.environ, "SLUICE_CRASH_AT": point}
    )
    assert await process.wait() == -signal.SIGKILL
    store = Store.open(tmp_path)
    world = World(store=store, workers=workers)
    world.put(alert(), provider(address=slack.address))
    async with world.running():
        await world.settled(sent=1)
    await store.close()
    assert len(slack.got) == 1
