"""From a stored event to other targets than Slack: what each type is given, and how a dialogue ends."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.alerts.conftest import KUSTOMIZE, Slack, World, alert, event, provider, says

SHA = "a" * 40


class Forge:
    """Keeps commit statuses as GitHub Enterprise does, newest first."""

    def __init__(self) -> None:
        self.statuses: list[dict[str, Any]] = []
        app = web.Application()
        app.router.add_get("/api/v3/repos/org/fleet/commits/{sha}/statuses", self._list)
        app.router.add_post("/api/v3/repos/org/fleet/statuses/{sha}", self._add)
        self.server = TestServer(app)

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response(self.statuses)

    async def _add(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer ghp"
        self.statuses.insert(0, json.loads(await request.read()))
        return web.json_response({}, status=201)


@pytest.fixture
async def forge() -> AsyncIterator[Forge]:
    made = Forge()
    await made.server.start_server(host="127.0.0.1")
    yield made
    await made.server.close()


async def test_commit_status_follows_what_happens_and_is_not_repeated(world: World, forge: Forge) -> None:
    world.secrets["apps", "token"] = {"token": b"ghp"}
    world.put(alert(), provider(type="github", address=str(forge.server.make_url("/org/fleet")), secretRef={"name": "token"}))
    refresh = {f"{KUSTOMIZE}/revision": f"main@sha1:{SHA}", f"{KUSTOMIZE}/commit_status": "update"}
    async with world.running():
        await world.tell(
            event("broken", severity="error", reason="BuildFailed"),
            event("applied"),
            event("same", metadata=refresh),
            event("on its way", reason="Progressing"),
        )
        await world.settled(sent=3)
    assert [(each["state"], each["description"]) for each in forge.statuses] == [
        ("success", "reconciliation succeeded"), ("failure", "build failed"),
    ]  # fmt: skip
    assert {each["context"] for each in forge.statuses} == {"kustomization/web/uid"}


async def test_generic_gets_refreshes_and_slack_does_not(world: World, slack: Slack) -> None:
    world.put(alert(), alert("hooks", providerRef={"name": "hook"}), provider(address=slack.address))
    world.put(provider("hook", type="generic", address=slack.address))
    async with world.running():
        await world.tell(event("refreshed", metadata={f"{KUSTOMIZE}/commit_status": "update"}))
        await world.settled(sent=1)
    [body] = slack.got
    assert (body["message"], body["metadata"]) == ("refreshed", {"commit_status": "update"})
    assert slack.headers[0]["Gotk-Component"] == ""


async def test_provider_that_lacks_something_keeps_its_messages_until_it_is_corrected(world: World, slack: Slack) -> None:
    world.secrets["apps", "token"] = {"token": b"t"}
    spec = {"type": "webex", "address": slack.address, "secretRef": {"name": "token"}}
    world.put(alert(), provider(**spec))
    async with world.running() as dispatcher:
        await world.tell(event())
        assert "no room: set spec.channel" in await world.warned()
        world.put(provider(channel="room", **spec))
        dispatcher.wake()
        await world.settled(sent=1)
    assert slack.got[0]["roomId"] == "room"


async def test_event_of_which_no_request_can_be_made_stops_no_other(world: World, slack: Slack) -> None:
    world.secrets["apps", "bot"] = {"password": b"key"}
    zulip = provider("zulip", type="zulip", address=slack.address, channel="a/b", username="\ud800", secretRef={"name": "bot"})
    world.put(alert(), alert("other", providerRef={"name": "zulip"}), provider(address=slack.address), zulip)
    async with world.running():
        await world.tell(event("a"), event("b"))
        await world.settled(sent=2, rejected=2)
    assert len(slack.got) == 2


async def test_second_request_that_is_refused_is_told(world: World, forge: Forge, slack: Slack) -> None:
    world.secrets["apps", "token"] = {"token": b"ghp"}
    address = str(forge.server.make_url("/org/other"))
    world.put(alert(), provider(type="github", address=address, secretRef={"name": "token"}))
    async with world.running():
        await world.tell(event())
        assert "GitHub answered 404: check spec.address" in await world.warned()
        await world.settled(rejected=1)


async def test_recovery_ends_the_alarm_of_an_alert_that_asks_for_failures_only(world: World, slack: Slack) -> None:
    world.put(alert(eventSeverity="error"), provider(type="pagerduty", address=slack.address, channel="key"))
    slack.answers = [says(202, "{}"), says(202, "{}")]
    async with world.running():
        await world.tell(event("broken", severity="error", reason="BuildFailed"), event("well again"), event("x", reason="Progressing"))
        await world.settled(sent=2)
    await asyncio.sleep(0)
    assert [each["event_action"] for each in slack.got] == ["trigger", "resolve"]


@pytest.mark.parametrize("version", ["v1beta1", "v1beta2", "v1beta3"])
async def test_objects_of_old_versions_send_the_same(world: World, slack: Slack, version: str) -> None:
    of_version = {"apiVersion": f"notification.toolkit.fluxcd.io/{version}"}
    interval = {"interval": "1m"} if version != "v1beta1" else {}
    world.put(alert(summary="staging") | of_version, provider(type="generic", address=slack.address, **interval) | of_version)
    async with world.running():
        await world.tell(event("applied"))
        await world.settled(sent=1)
    assert slack.got[0]["metadata"]["summary"] == "staging"
