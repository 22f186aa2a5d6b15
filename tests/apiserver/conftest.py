"""A bare client for the tests of this room: requests as they go over the wire, on whichever server the kubeconfig names."""

import asyncio
import base64
import io
import json
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml

from service.apiserver.server import ApiServer

Object = dict[str, Any]
Play = Callable[["Kube"], Awaitable[Any]]
APPLY, MERGE, JSON_PATCH, STRATEGIC = (
    "application/apply-patch+yaml",
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/strategic-merge-patch+json",
)


class Kube:
    """One connection to a server. Every call returns (status, body)."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        self.url, self.namespace = cluster["server"], namespace
        self.token = config["users"][0]["user"]["token"]
        trusted = base64.b64decode(cluster.get("certificate-authority-data", "")).decode()
        context = ssl.create_default_context(cadata=trusted) if trusted else ssl.create_default_context()
        if "insecure-skip-tls-verify" in cluster:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connector = aiohttp.TCPConnector(ssl=context)
        self.session = aiohttp.ClientSession(self.url, connector=connector, headers={"Authorization": f"Bearer {self.token}"})

    async def call(
        self, method: str, path: str, body: Any = None, *, media: str = "application/json", accept: str = "application/json", **query: str
    ) -> tuple[int, Object]:
        data = body if isinstance(body, (bytes, io.BytesIO, type(None))) else json.dumps(body).encode()
        headers = {"Content-Type": media, "Accept": accept, "User-Agent": "tests/1"}
        async with asyncio.timeout(10), self.session.request(method, path, data=data, params=query, headers=headers) as answer:
            text = await answer.read()
            return answer.status, json.loads(text) if text.startswith((b"{", b"[")) else {"text": text.decode()}

    def path(self, plural: str, name: str = "", *, api: str = "/api/v1", namespace: str | None = None) -> str:
        return f"{api}/namespaces/{namespace or self.namespace}/{plural}" + (f"/{name}" if name else "")

    async def apply(self, path: str, obj: Any, *, manager: str = "one", **query: str) -> tuple[int, Object]:
        return await self.call("PATCH", path, obj, media=APPLY, fieldManager=manager, **query)

    async def until(self, path: str, status: int, *, seconds: float = 20) -> None:
        """Ask again until a GET has this status: a real server serves and ends kinds a little later than it says."""
        async with asyncio.timeout(seconds):
            for pause in [0.05] * 1_000:
                if (await self.call("GET", path))[0] == status:
                    return
                await asyncio.sleep(pause)

    async def watch(self, path: str, *, events: int, seconds: float = 5, **query: str) -> list[Object]:
        """Return the first `events` lines of a watch, bookmarks included when they were asked for."""
        out: list[Object] = []
        async with asyncio.timeout(seconds), self.session.get(path, params={"watch": "true", **query}) as answer:
            if answer.status != 200:
                return [json.loads(await answer.read())]
            async for line in answer.content:
                out.append(json.loads(line))
                if len(out) == events:
                    break
        return out


@pytest_asyncio.fixture
async def kube(kubeconfig: Path, namespace_name: str) -> AsyncIterator[Kube]:
    """A client with a namespace of its own."""
    client = Kube(kubeconfig, namespace_name)
    async with client.session:
        status, body = await client.call("POST", "/api/v1/namespaces", namespace(namespace_name))
        assert status == 201, body
        yield client
        await client.call("DELETE", f"/api/v1/namespaces/{namespace_name}")


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    """An embedded server of the test's own."""
    running = await ApiServer.start(tmp_path / "server")
    yield running
    await running.stop()


@pytest_asyncio.fixture
async def own(server: ApiServer) -> AsyncIterator[Kube]:
    """A client of it, in the namespace `default`."""
    async with (client := Kube(server.kubeconfig, "default")).session:
        yield client


def namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


@pytest.fixture
def run_generated(request: pytest.FixtureRequest, embedded_kubeconfig: Path, namespace_name: str) -> Iterator[Callable[[Play], list[Any]]]:
    """Run a coroutine function for one client of every server at hand (a real one when $SLUICE_REAL_KUBECONFIG names it)."""
    real = os.environ.get("SLUICE_REAL_KUBECONFIG")
    loop = asyncio.new_event_loop()

    async def open_all() -> list[Kube]:
        clients = [Kube(file, namespace_name) for file in (embedded_kubeconfig, *([Path(real)] if real else []))]
        for client in clients:
            status, body = await client.call("POST", "/api/v1/namespaces", namespace(namespace_name))
            assert status == 201, body
        return clients

    async def close_all() -> None:
        for client in clients:
            await client.call("DELETE", f"/api/v1/namespaces/{namespace_name}")
            await client.session.close()
        await asyncio.sleep(0.05)  # TLS connections say goodbye

    clients = loop.run_until_complete(open_all())
    yield lambda play: [loop.run_until_complete(play(client)) for client in clients]
    loop.run_until_complete(close_all())
    loop.close()
