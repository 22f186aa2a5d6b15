"""An API server that signs tokens of one ServiceAccount, and the clouds that know its key."""

import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from service.cluster.client import Cluster
from service.identities.accounts import Accounts
from service.identities.grants import Grants
from tests.identities import clouds


class Api:
    """Signs tokens of the one ServiceAccount `apps/fetch`, as the API server does. `uid`: which of that name it is."""

    def __init__(self, signer: clouds.Cluster) -> None:
        self.asked: list[dict[str, Any]] = []
        self.annotations = dict(clouds.ANNOTATIONS)
        self.uid = "u-1"
        self.forbidden = False
        self._signer = signer
        app = web.Application()
        app.router.add_get("/api/v1/namespaces/apps/serviceaccounts/fetch", self._account)
        app.router.add_post("/api/v1/namespaces/apps/serviceaccounts/fetch/token", self._token)
        app.router.add_route("*", "/{path:.*}", self._missing)
        self.server = TestServer(app)

    async def _account(self, _: web.Request) -> web.Response:
        return web.json_response(
            {"kind": "ServiceAccount", "metadata": {"name": "fetch", "uid": self.uid, "annotations": self.annotations}}
        )

    async def _token(self, request: web.Request) -> web.Response:
        if self.forbidden:
            return web.json_response({"kind": "Status", "code": 403, "reason": "Forbidden", "message": "not yours"}, status=403)
        body = json.loads(await request.read())
        self.asked.append(body["spec"])
        token = self._signer.sign("apps", "fetch", *body["spec"]["audiences"])
        return web.json_response({**body, "status": {"token": token}}, status=201)

    async def _missing(self, _: web.Request) -> web.Response:
        return web.json_response({"kind": "Status", "code": 404, "reason": "NotFound", "message": "not found"}, status=404)


@pytest.fixture(scope="session")
def signer() -> clouds.Cluster:
    return clouds.Cluster()


@pytest.fixture
async def api(signer: clouds.Cluster) -> AsyncIterator[Api]:
    made = Api(signer)
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


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    return clouds.authority(tmp_path_factory.mktemp("clouds"), *clouds.NAMES)


@pytest.fixture
async def sky(signer: clouds.Cluster, authority: tuple[Path, ssl.SSLContext]) -> AsyncIterator[tuple[clouds.Clouds, int]]:
    made = clouds.Clouds(signer)
    async with clouds.served(made.answer, authority[1]) as port:
        yield made, port


@pytest.fixture
def grants(cluster: Cluster, sky: tuple[clouds.Clouds, int], authority: tuple[Path, ssl.SSLContext]) -> Grants:
    return Grants(Accounts(cluster), clouds.OutboundTo(sky[1]), tls=ssl.create_default_context(cafile=authority[0]))
