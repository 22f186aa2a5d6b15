"""GitHub's account of a hook, against a stand-in for its API on loopback: lost deliveries come again, a hook that is gone is reported."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from service.cluster.client import Cluster
from service.outbound import Outbound, Policy
from service.triggers.githubhooks import GitHubHooks
from service.triggers.index import ReceiverIndex, webhook_path
from tests.triggers.kube import Kube
from tests.triggers.scene import SECRET_PATH, TOKEN, key, receiver, secret, until

WEB = key("Receiver", "web")
PATH = webhook_path(TOKEN, "web", "apps")
HOOK = {"id": 7, "active": True, "config": {"url": f"https://hooks.example.com{PATH}?from=github"}}
OTHER = {"id": 6, "active": True, "config": {"url": "https://ci.example.com/hook"}}


def delivery(id: int, guid: str, status: int) -> dict[str, Any]:
    return {"id": id, "guid": guid, "status_code": status, "event": "push", "redelivery": False}


class GitHub:
    def __init__(self) -> None:
        self.hooks: list[dict[str, Any]] = [OTHER, HOOK]
        self.deliveries: list[dict[str, Any]] = []
        self.again: list[int] = []
        self.tokens: set[str] = set()
        self.status = 200

    async def _hooks(self, request: web.Request) -> web.Response:
        self.tokens.add(request.headers["Authorization"])
        return web.json_response(self.hooks, status=self.status)

    async def _deliveries(self, request: web.Request) -> web.Response:
        assert request.match_info["id"] == "7"
        return web.json_response(self.deliveries)

    async def _attempt(self, request: web.Request) -> web.Response:
        self.again.append(int(request.match_info["delivery"]))
        return web.Response(status=202)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_get("/api/repos/acme/fleet/hooks", self._hooks)
        app.router.add_get("/api/repos/acme/fleet/hooks/{id}/deliveries", self._deliveries)
        app.router.add_post("/api/repos/acme/fleet/hooks/{id}/deliveries/{delivery}/attempts", self._attempt)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/api"
        await runner.cleanup()


@asynccontextmanager
async def looking(
    github: GitHub, kube: Kube, cluster: Cluster, *, loopback: bool = True, shadow: bool = False, **spec: Any
) -> AsyncIterator[GitHubHooks]:
    async with github.serving() as url:
        kube.objects[SECRET_PATH] = secret()
        more = {"github-token": b"ghp_secret\n", "github-url": url.encode()}
        kube.objects[SECRET_PATH]["data"] |= {name: base64.b64encode(value).decode() for name, value in more.items()}
        index = ReceiverIndex(cluster, {("apps", "web"): receiver(**spec)})
        entry = await index.load(WEB)
        assert "ghp_secret" not in repr(entry)
        policy = Policy(loopback=loopback)
        room = GitHubHooks(index, lambda _key: ["acme/fleet"], Outbound(policy), shadow=shadow, first_look=timedelta(0))
        running = asyncio.create_task(room.run())
        yield room
        running.cancel()


async def test_deliveries_that_found_nobody_are_asked_for_again_once(kube: Kube, cluster: Cluster) -> None:
    github = GitHub()
    github.deliveries = [  # the newest first
        delivery(9, "lost-2", 503), delivery(8, "tried-again", 200), delivery(5, "refused", 400), delivery(4, "tried-again", 502),
        delivery(3, "lost-1", 0), delivery(2, "taken", 200), delivery(1, "lost-1", 0),
    ]  # fmt: skip
    async with looking(github, kube, cluster) as room:
        await until(lambda: WEB in room.states)
        assert github.again == [3, 9], "in the order in which they came; what was refused would be refused again"
        assert (room.states[WEB].again, room.states[WEB].problems) == (2, {})
        github.deliveries.insert(0, delivery(10, "lost-3", 0))
        room.look()
        await until(lambda: room.states[WEB].again == 3)
        assert github.again == [3, 9, 10]
        assert github.tokens == {"Bearer ghp_secret"}


@pytest.mark.parametrize(("hooks", "status", "said"), [
    ([OTHER], 200, "no webhook of the repository has the Receiver's path"),
    ([HOOK | {"active": False}], 200, "switched off"),
    ([], 404, "must be allowed to read and write"),
    ([], 500, "GitHub answers 500"),
    ({"odd": 1}, 200, "no webhook of the repository"),
])  # fmt: skip
async def test_what_is_wrong_with_the_hook_is_said_once(
    kube: Kube, cluster: Cluster, caplog: pytest.LogCaptureFixture, hooks: Any, status: int, said: str
) -> None:
    github = GitHub()
    github.hooks, github.status = hooks, status
    async with looking(github, kube, cluster) as room:
        await until(lambda: WEB in room.states)
        assert said in room.states[WEB].problems["acme/fleet"]
        before = room.states
        room.look()
        await until(lambda: room.states is not before and WEB in room.states)
    assert caplog.messages.count("the hook at the host") == 1
    assert "ghp_secret" not in caplog.text
    assert github.again == []


async def test_an_address_that_must_not_be_reached_gets_no_token(kube: Kube, cluster: Cluster) -> None:
    github = GitHub()
    async with looking(github, kube, cluster, loopback=False) as room:
        await until(lambda: WEB in room.states)
        assert "this machine itself" in room.states[WEB].problems["acme/fleet"]
    assert github.tokens == set()


async def test_other_types_and_receivers_without_a_token_are_left_alone(kube: Kube, cluster: Cluster) -> None:
    github = GitHub()
    async with looking(github, kube, cluster, type="gitlab") as room:
        await asyncio.sleep(0.05)
        assert room.states == {}
    assert github.tokens == set()


async def test_in_shadow_nothing_is_asked_for(kube: Kube, cluster: Cluster) -> None:
    github = GitHub()
    github.deliveries = [delivery(1, "lost", 0)]
    async with looking(github, kube, cluster, shadow=True) as room:
        await until(lambda: WEB in room.states)
    assert github.again == []
