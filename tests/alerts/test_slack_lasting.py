"""Slack with a bot token: one message for each revision and object, changed in place, with threads, over a stand-in of the Web API."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from providers import slack
from providers.contract import Event, Recall, Remember, Request, Response, Secret, Target
from service.kinds.event import Event as Told
from service.kinds.meta import ObjectKey
from service.state.outbox import Outbox
from service.state.store import Store
from service.workers import Workers
from tests.alerts.conftest import KUSTOMIZE, World, alert, event, provider
from tests.alerts.slackapi import TOKEN, SlackApi

START = datetime.now(UTC)
A, B = "main@sha1:" + "a" * 40, "main@sha1:" + "b" * 40


@pytest.fixture(autouse=True)
def begun() -> None:
    """Events are of the time of their test: of one that is late, the message says so."""
    global START
    START = datetime.now(UTC)


@pytest.fixture
async def api() -> AsyncIterator[SlackApi]:
    made = SlackApi()
    await made.server.start_server(host="127.0.0.1")
    yield made
    await made.server.close()


def on(world: World, api: SlackApi, *, options: dict[str, str] | None = None, channel: str = "#deploys", **spec: Any) -> None:
    ours = provider(address=api.address, channel=channel, secretRef={"name": "bot"})
    ours["metadata"]["annotations"] = {f"notification.sluice.dev/{name}": value for name, value in (options or {}).items()}
    world.put(alert(**spec), ours)
    world.secrets["apps", "bot"] = {"token": TOKEN.encode()}


def went(revision: str = A, *, name: str = "web", after: int = 0, message: str = "Deployment/web/web configured", **changes: Any) -> Told:
    about = {"revision": revision, "commit_subject": f"Change {revision[-1]}", "commit_author": "Ann", "took": "33ms"}
    return event(
        message,
        involved=ObjectKey(group=KUSTOMIZE, kind="Kustomization", namespace="apps", name=name),
        metadata={f"{KUSTOMIZE}/{key}": value for key, value in about.items()},
        timestamp=START + timedelta(seconds=after),
        reporting_controller="kustomize-controller",
        **changes,
    )


def failed(revision: str = A, *, after: int = 0, name: str = "web", message: str = "Pod web-1: CrashLoopBackOff: exit 1") -> Told:
    return went(revision, name=name, after=after, message=message, severity="error", reason="HealthCheckFailed")


async def told(world: World, *events: Told) -> None:
    async with world.running():
        await world.tell(*events)
        await world.settled(sent=len(events))


async def test_success_is_two_lines_in_one_message(world: World, api: SlackApi) -> None:
    on(world, api)
    await told(world, went())
    [message] = api.roots
    assert message.shown.splitlines() == [
        "*✅ Kustomization/apps/web is live* at main@aaaaaaaa “Change a” by Ann",
        "1 object changed (1 configured) in 33ms",
        "Deployment/web/web configured",
    ]
    assert message.body["attachments"][0]["color"] == "#2eb67d"
    assert message.replies == []


async def test_progress_failure_and_recovery_of_a_revision_are_one_message(world: World, api: SlackApi) -> None:
    on(world, api, options={"mention": "error=@here U024BE7LH"})
    await told(world, went(reason="Progressing", message="Deployment/web/web configured"), failed(after=60), went(after=312))
    [message] = api.roots
    assert message.edits == 2
    assert message.shown.splitlines()[:2] == [
        "*✅ Kustomization/apps/web is live* at main@aaaaaaaa “Change a” by Ann",
        "*recovered after 4m 12s, without a new revision*",
    ]
    alarm, recovery = message.replies
    assert "CrashLoopBackOff" in alarm["text"]
    assert "<!here> <@U024BE7LH>" in alarm["text"]
    assert alarm["reply_broadcast"] is True
    assert recovery["text"].startswith("✅ Kustomization/apps/web is live")
    assert "reply_broadcast" not in recovery


async def test_recovery_with_a_new_revision_is_told_on_the_message_that_raised_the_alarm(world: World, api: SlackApi) -> None:
    on(world, api)
    await told(world, failed(A), failed(A, after=30, message="Pod web-2: OOMKilled"), went(B, after=252))
    first, second = api.roots
    assert "main@aaaaaaaa" in first.shown
    assert first.shown.startswith("*✅ Kustomization/apps/web: health check failed*")
    assert first.body["attachments"][0]["color"] == "#2eb67d"
    assert "recovered after 4m 12s, with main@bbbbbbbb “Change b” by Ann" in first.shown
    assert "recovered after 4m 12s, with main@bbbbbbbb" in first.replies[-1]["text"]
    assert second.shown.startswith("*✅ Kustomization/apps/web is live* at main@bbbbbbbb")
    assert "recovered" not in second.shown


async def test_alert_for_failures_only_gets_the_recovery_on_its_message_and_nothing_else(world: World, api: SlackApi) -> None:
    on(world, api, eventSeverity="error")
    await told(world, went(A), failed(B, after=1), went(B, after=11), went("main@sha1:" + "c" * 40, after=20))
    [message] = api.roots
    assert "recovered after 10s" in message.shown


async def test_details_that_do_not_fit_stand_in_the_thread(world: World, api: SlackApi) -> None:
    on(world, api)
    lines = [f"Deployment/web/web-{number:03} configured" for number in range(300)]
    await told(world, went(message="\n".join(lines)))
    [message] = api.roots
    assert "… and " in message.shown
    assert len(message.shown) < 1_200
    assert [line for reply in message.replies for line in reply["text"].splitlines()] == lines
    assert all(len(reply["text"]) < 3_000 for reply in message.replies)


async def test_objects_of_a_revision_share_a_message_where_that_is_asked_for(world: World, api: SlackApi) -> None:
    on(world, api, options={"group-by": "revision"})
    await told(world, went(name="web"), failed(name="api", after=1), went(name="db", after=2))
    [message] = api.roots
    assert message.shown.splitlines()[0] == "*❌ 3 objects: 1 failed, 2 live* at main@aaaaaaaa “Change a” by Ann"
    assert message.shown.splitlines()[1].startswith("❌ *❌ Kustomization/apps/api") or "apps/api" in message.shown.splitlines()[1]
    assert "CrashLoopBackOff" in message.shown


async def test_several_channels_by_name_and_id_each_get_it_and_one_that_refuses_stops_no_other(world: World, api: SlackApi) -> None:
    on(world, api, channel="nowhere, #deploys, C000000002")
    async with world.running():
        await world.tell(went())
        await world.settled(rejected=1)
    assert {each.channel for each in api.roots} == {"C000000001", "C000000002"}
    assert "channel_not_found: check spec.channel" in world.warnings[0].message


async def test_every_other_request_refused_for_the_rate_still_tells_each_thing_once(world: World, api: SlackApi) -> None:
    api.every = 2
    on(world, api)
    both = "Deployment/web/web configured\nService/web/web created"
    async with world.running():
        for number, each in enumerate((failed(A), went(B, after=5), went(B, after=6, message=both)), 1):
            await world.tell(each)
            await world.settled(sent=number)
    assert api.limited > 3
    first, second = api.roots
    assert ("recovered after 5s" in first.shown, len(first.replies)) == (True, 1)
    assert "2 objects changed" in second.shown


async def test_message_that_was_deleted_is_posted_anew(world: World, api: SlackApi) -> None:
    on(world, api)
    await told(world, went())
    api.messages.clear()
    async with world.running():
        await world.tell(failed(after=9))
        await world.settled(sent=2)
    [message] = api.roots
    assert "CrashLoopBackOff" in message.shown


async def test_annotations_ask_for_new_messages_or_for_flux_s_look(world: World, api: SlackApi) -> None:
    on(world, api, options={"update": "false"})
    await told(world, failed(), went(after=75))
    assert [each.edits for each in api.roots] == [0, 0]
    assert "recovered after 1m 15s, without a new revision" in api.roots[1].shown
    on(world, api, options={"look": "flux"})
    async with world.running():
        await world.tell(went(B, after=100))
        await world.settled(sent=3)
    [attachment] = api.roots[2].body["attachments"]
    assert (attachment["color"], attachment["author_name"]) == ("good", "kustomization/web.apps")
    assert {"title": "revision", "value": B, "short": False} in attachment["fields"]


async def test_mention_that_is_not_understood_is_said(world: World, api: SlackApi) -> None:
    on(world, api, options={"mention": "error=@everybody"})
    await told(world, failed())
    assert "mention not understood: error=@everybody" in api.roots[0].shown


@pytest.mark.parametrize("point", [f"place.{what}:{number}" for what in ("answered", "noted") for number in range(1, 6)])
def test_kill_between_any_two_steps_loses_nothing_and_doubles_one_request_at_most(point: str) -> None:
    """The steps of a failure with a long text and its recovery, ended anywhere, then taken again from the notes."""
    what, _, text = point.partition(":")
    notes: dict[str, str | None] = {}
    posted: list[tuple[str, dict[str, Any]]] = []
    base = {"kind": "Kustomization", "namespace": "apps", "name": "web", "alert": "apps/a"}
    long = "\n".join(f"line {number} of what went wrong" for number in range(200))
    one = Event(**base, severity="error", reason="HealthCheckFailed", message=long, timestamp=START, metadata={"revision": A}, id="1")
    two = Event(**base, severity="info", reason="ReconciliationSucceeded", message="", timestamp=START, metadata={"revision": B}, id="2")
    left = int(text)
    for each in (one, two):
        while not _taken(each, notes, posted, stop=(what, left)):
            left = 10_000
    whole: list[tuple[str, dict[str, Any]]] = []
    fresh: dict[str, str | None] = {}
    assert all(_taken(each, fresh, whole, stop=("", 10_000)) for each in (one, two))
    assert [json.dumps(each) for each in dict.fromkeys(map(json.dumps, whole))] == [
        json.dumps(each) for each in dict.fromkeys(map(json.dumps, posted))
    ]
    assert len(posted) - len(whole) in ((0, 1) if what == "place.answered" else (0,))
    assert {name for name, body in notes.items() if body} == {name for name, body in fresh.items() if body}


def _taken(event: Event, notes: dict[str, str | None], posted: list[tuple[str, dict[str, Any]]], *, stop: tuple[str, int]) -> bool:
    """Take an event's steps; False where it was ended after the n-th answer or note."""
    placing, reply = slack.place(event, Target(token=Secret(TOKEN), channel="C1")), None
    counted = {"place.answered": 0, "place.noted": 0}
    while True:
        try:
            step = placing.send(reply)
        except StopIteration:
            return True
        reply = None
        match step:
            case Request():
                body = json.loads(step.body)
                posted.append((step.url.reveal().rpartition("/")[2], body))
                reply = Response(status=200, headers={}, body=json.dumps({"ok": True, "channel": "C1", "ts": "1.1"}).encode())
                counted["place.answered"] += 1
            case Recall():
                reply = notes.get(step.name)
            case Remember():
                notes |= step.notes
                counted["place.noted"] += 1
        if counted.get(stop[0]) == stop[1]:
            return False


CHILD = """
import asyncio, sys
from pathlib import Path
from service.state.store import Store
from service.workers import Workers
from tests.alerts.conftest import World
from tests.alerts.test_slack_lasting import on_address, failed

async def main():
    store = Store.open(Path(sys.argv[1]))
    world = World(store=store, workers=Workers(1))
    on_address(world, sys.argv[2])
    async with world.running():
        await world.tell(failed())
        await asyncio.sleep(20)

asyncio.run(main())
"""


def on_address(world: World, address: str) -> None:
    world.put(alert(), provider(address=address, channel="#deploys", secretRef={"name": "bot"}))
    world.secrets["apps", "bot"] = {"token": TOKEN.encode()}


@pytest.mark.parametrize(("point", "roots"), [("place.answered", 2), ("place.noted", 1)])
async def test_process_killed_between_slack_s_answer_and_the_note_tells_it_again(
    tmp_path: Path, api: SlackApi, point: str, roots: int
) -> None:
    """A real process and a real kill; takes a start of Python."""
    environment = os.environ | {"SLUICE_CRASH_AT": point, "PYTHONPATH": str(Path(__file__).parents[2])}
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, str(tmp_path / "state"), api.address, env=environment)
    async with asyncio.timeout(20):
        assert await child.wait() == -signal.SIGKILL
    assert len(api.roots) == 1
    store, workers = Store.open(tmp_path / "state"), Workers(1)
    try:
        world = World(store=store, workers=workers)
        on_address(world, api.address)
        async with world.running():
            await world.settled(sent=1)
        assert len(api.roots) == roots
        assert await Outbox(store).queued() == []
    finally:
        await store.close()
        await workers.close()
