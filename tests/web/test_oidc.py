"""generic-oidc over HTTP: an issuer on loopback, its keys, and tokens that are good, not good, or good and not enough."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from receivers.record import load
from service.cluster.client import Cluster
from service.outbound import Outbound, Policy
from service.state.store import Store
from service.triggers import keys as key_times
from service.triggers.index import webhook_path
from service.triggers.issuers import Issuers
from tests.receivers.test_jwt import NUMBERS, coded, token
from tests.triggers.kube import Kube
from tests.triggers.scene import key, until
from tests.web.test_hooks import Scene, serving

PATH = webhook_path(b"", "web", "apps")
JWKS = {"keys": [{"kty": "RSA", "kid": "a", "n": coded(NUMBERS.n.to_bytes(256, "big")), "e": "AQAB"}]}
ONLY_ACME = {"expression": "vars.owner == 'acme'", "message": "only our own repositories"}
OWNER = {"name": "owner", "expression": "claims.repository.split('/')[0]"}


class Provider:
    """An issuer: discovery document and keys."""

    def __init__(self) -> None:
        self.url, self.asked, self.up = "", 0, asyncio.Event()
        self.document: dict[str, Any] = {}
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self._discovery)
        app.router.add_get("/keys", self._keys)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    async def start(self) -> None:
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"
        self.document = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}

    async def _discovery(self, _request: web.Request) -> web.Response:
        await self.up.wait()
        return web.json_response(self.document)

    async def _keys(self, _request: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response(JWKS)

    def claims(self, **changed: Any) -> dict[str, Any]:
        now = int(time.time())
        usual = {"iss": self.url, "aud": "notification-controller", "exp": now + 300, "nbf": now - 5, "repository": "acme/fleet"}
        return {name: value for name, value in (usual | changed).items() if value is not None}


@asynccontextmanager
async def trusting(store: Store, kube: Kube, cluster: Cluster, policy: Policy, **spec: Any) -> AsyncIterator[tuple[Scene, Provider]]:
    provider = Provider()
    await provider.start()
    issuer = {"issuerURL": provider.url, "variables": [OWNER], "validations": [ONLY_ACME]}
    async with serving(store, kube, cluster) as scene, asyncio.TaskGroup() as tasks:
        scene.index.issuers = Issuers(Outbound(policy))
        scene.cache["apps", "web"]["spec"] |= {"type": "generic-oidc", "secretRef": None, "oidcProviders": [issuer], **spec}
        indexing = tasks.create_task(scene.index.run(), name="index")
        await scene.index.load(key("Receiver", "web"))
        yield scene, provider
        indexing.cancel()
        await scene.evaluator.close()
    provider.up.set()
    await provider.runner.cleanup()


def bearer(claims: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(claims)}", "Content-Type": "application/json"}


async def test_the_first_token_waits_for_the_keys_and_no_token_fetches_any(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with trusting(store, kube, cluster, Policy(loopback=True), resourceFilter="claims.repository == req.repo") as (scene, provider):
        good = bearer(provider.claims())
        assert (await scene.post(b'{"repo": "x"}', good, PATH))[0] == 503
        assert "not known yet" in (await scene.last()).detail
        provider.up.set()
        await until(lambda: bool(scene.index.issuers.current(provider.url)))
        assert (await scene.post(b'{"repo": "acme/fleet"}', good, PATH))[0] == 200
        (row,) = await scene.inbox.pending()
        (kept,) = load(row.events_json)
        assert json.loads(kept.claims)["repository"] == "acme/fleet"  # type: ignore[union-attr]
        for _ in range(20):
            assert (await scene.post(b"{}", bearer({**provider.claims(), "n": 1}), PATH))[0] == 200
        assert provider.asked == 1


async def test_what_a_token_must_say(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with trusting(store, kube, cluster, Policy(loopback=True)) as (scene, provider):
        provider.up.set()
        await until(lambda: bool(scene.index.issuers.current(provider.url)))
        now = int(time.time())
        for changed, words in (
            ({"aud": "else"}, "another audience"),
            ({"aud": ["else", "more"]}, "another audience"),
            ({"iss": "https://else.example"}, "does not name"),
            ({"exp": now - 60}, "has ended"),
            ({"exp": None}, "does not say when it ends"),
            ({"nbf": now + 60}, "counts only from"),
            ({"repository": "evil/fleet"}, "only our own repositories"),
            ({"repository": None}, "no such key: repository"),
        ):
            status, said = await scene.post(b"{}", bearer(provider.claims(**changed)), PATH)
            assert status == 400, changed
            assert words in (await scene.last()).detail
            assert ("only our own repositories" in said) == ("repository" in changed), said
        assert (await scene.post(b"{}", bearer(provider.claims(aud=["x", "notification-controller"])), PATH))[0] == 200
        assert (await scene.post(b"{}", {}, PATH))[0] == 400
        assert (await scene.post(b"{}", {"Authorization": "Bearer x.y.z"}, PATH))[0] == 400


async def test_the_policy_holds_for_issuers(store: Store, kube: Kube, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    async with trusting(store, kube, cluster, Policy()) as (scene, provider):
        provider.up.set()
        await until(lambda: bool(scene.index.issuers.problem([provider.url])))
        assert "this machine itself" in scene.index.issuers.problem([provider.url])
        assert provider.asked == 0
        assert (await scene.post(b"{}", bearer(provider.claims()), PATH))[0] == 503


async def test_another_issuers_document_is_not_believed(
    store: Store, kube: Kube, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_times, "FIRST_RETRY", key_times.timedelta(milliseconds=10))
    async with trusting(store, kube, cluster, Policy(loopback=True)) as (scene, provider):
        provider.document["issuer"] = "https://else.example"
        provider.up.set()
        await until(lambda: "another issuer" in scene.index.issuers.problem([provider.url]))
        provider.document["issuer"] = provider.url
        await until(lambda: bool(scene.index.issuers.current(provider.url)))
        scene.index.issuers.name(key("Receiver", "web"), ())
        assert scene.index.issuers.current(provider.url) == ()
