"""Whose cloud identity a Provider has: that of a ServiceAccount of its namespace, where the operator lets it."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from service.alerts.credentials import BadCredentials
from service.alerts.identities import Identities
from service.alerts.table import Table
from service.cluster.client import Cluster
from service.kinds.codec import decode
from service.kinds.notification import Provider
from tests.alerts.conftest import World, alert, event, provider

ROLE = {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/alerts"}


class Api:
    """Signs tokens of the one ServiceAccount `apps/alerts`, as the API server does."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        app = web.Application()
        app.router.add_get("/api/v1/namespaces/apps/serviceaccounts/alerts", self._account)
        app.router.add_post("/api/v1/namespaces/apps/serviceaccounts/alerts/token", self._token)
        app.router.add_route("*", "/{path:.*}", self._missing)
        self.server = TestServer(app)

    async def _account(self, _: web.Request) -> web.Response:
        return web.json_response({"kind": "ServiceAccount", "metadata": {"name": "alerts", "annotations": ROLE}})

    async def _token(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        self.asked.append(body["spec"])
        return web.json_response({**body, "status": {"token": "e.signed.J"}}, status=201)

    async def _missing(self, _: web.Request) -> web.Response:
        return web.json_response({"kind": "Status", "code": 404, "reason": "NotFound", "message": "not found"}, status=404)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    made = Api()
    await made.server.start_server(host="127.0.0.1")
    yield made
    await made.server.close()


@pytest.fixture
async def cluster(api: Api, tmp_path: Path) -> AsyncIterator[Cluster]:
    kubeconfig = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [{"name": "u", "user": {}}],
        "clusters": [{"name": "c", "cluster": {"server": str(api.server.make_url("")).rstrip("/")}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }  # fmt: skip
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(kubeconfig))
    made = await Cluster.from_kubeconfig(path)
    yield made
    await made.close()


async def test_token_is_asked_for_the_cloud_and_for_ten_minutes(cluster: Cluster, api: Api) -> None:
    found = await Identities(cluster).read("apps", "alerts", "aws")
    assert (found.token.reveal(), found.annotations) == ("e.signed.J", ROLE)
    assert api.asked == [{"audiences": ["sts.amazonaws.com"], "expirationSeconds": 600}]


async def test_account_that_cannot_be_used_is_named(cluster: Cluster, api: Api) -> None:
    with pytest.raises(BadCredentials, match="ServiceAccount/apps/other does not exist"):
        await Identities(cluster).read("apps", "other", "aws")
    with pytest.raises(BadCredentials, match=r"ServiceAccount/apps/alerts: .*workload-identity-provider is missing"):
        await Identities(cluster).read("apps", "alerts", "gcp")
    assert api.asked == []


@pytest.mark.parametrize(
    ("spec", "allowed", "words"),
    [
        ({"type": "awssns", "serviceAccountName": "alerts"}, True, ""),
        ({"type": "awssns", "serviceAccountName": "alerts"}, False, "with --workload-identity only"),
        ({"type": "slack", "serviceAccountName": "alerts"}, True, "knows no workload identity"),
    ],
)
def test_identity_is_the_operator_s_to_allow(spec: dict[str, str], allowed: bool, words: str) -> None:
    found = Table(identities=allowed).problem(decode(Provider, provider(**spec)))
    assert words in found if words else found == ""


async def test_account_without_the_annotation_keeps_the_messages(world: World) -> None:
    world.table = Table(identities=True)
    world.put(alert(), provider(type="awssns", channel="arn:aws:sns:eu-west-1:123456789012:flux", serviceAccountName="alerts"))
    async with world.running():
        await world.tell(event())
        assert "eks.amazonaws.com/role-arn is missing" in await world.warned()
        await world.settled(queued=1)


async def test_secret_and_account_together_are_an_error(world: World) -> None:
    world.table = Table(identities=True)
    world.secrets["apps", "keys"] = {"accessKeyID": b"A", "secretAccessKey": b"B"}
    spec = {"channel": "arn:aws:sns:eu-west-1:123456789012:flux", "secretRef": {"name": "keys"}, "serviceAccountName": "alerts"}
    world.put(alert(), provider(type="awssns", **spec))
    async with world.running():
        await world.tell(event())
        assert "choose one of them" in await world.warned()


@pytest.mark.real
async def test_real_api_server_signs_it(real_kubeconfig: Path) -> None:
    cluster = await Cluster.from_kubeconfig(real_kubeconfig)
    try:
        metadata = {"name": "alerts", "namespace": "default", "annotations": ROLE}
        await cluster.request(
            "POST", "/api/v1/namespaces/default/serviceaccounts", body={"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
        )
        found = await Identities(cluster).read("default", "alerts", "aws")
        _, claims, _ = found.token.reveal().split(".")
        body = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        assert (body["aud"], body["sub"]) == (["sts.amazonaws.com"], "system:serviceaccount:default:alerts")
        assert body["exp"] - body["iat"] == 600
    finally:
        await cluster.close()
