"""What the tests of this room share: built objects, a connection that can be cut, a server that says what the test wants."""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from aiohttp import web

from service.cluster.built import Built
from service.cluster.client import Cluster

OWNER_LABELS = {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}


def built(obj: dict[str, Any]) -> Built:
    """The object with its owner's labels, as the build hands it over."""
    metadata = {**obj["metadata"], "labels": {**OWNER_LABELS, **obj["metadata"].get("labels", {})}}
    body = json.dumps({**obj, "metadata": metadata}).encode()
    return Built(
        api_version=obj["apiVersion"],
        kind=obj["kind"],
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        digest=hashlib.sha256(body).hexdigest(),
        body=body,
        annotations=metadata.get("annotations", {}),
        labels=metadata["labels"],
    )


def config_map(namespace: str, name: str, data: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": name, **metadata}, "data": data or {}}


def deployment(namespace: str, name: str, *, app: str = "web", image: str = "nginx:1") -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "selector": {"matchLabels": {"app": app}},
            "template": {"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "web", "image": image}]}},
        },
    }


def definition(group: str) -> dict[str, Any]:
    """The CustomResourceDefinition of Gadgets in a group of the test's own."""
    status = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}, "status": status}}
    version = {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"gadgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList"},
            "versions": [version],
        },
    }


def kubeconfig_for(folder: Path, server: str, user: dict[str, Any] | None = None) -> Path:
    """A kubeconfig that trusts whatever answers at `server`."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {"server": server, **({"insecure-skip-tls-verify": True} if "https" in server else {})}}],
        "users": [{"name": "x", "user": user or {"token": "sesame"}}],
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


class Cord:
    """A TCP connection to a kubeconfig's server that a test can cut and mend."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        self._original = yaml.safe_load(kubeconfig.read_text())
        self._target = urlsplit(self._original["clusters"][0]["cluster"]["server"])
        self._folder = folder
        self._port = 0
        self._server: asyncio.Server | None = None
        self._relays: set[asyncio.Task[None]] = set()

    async def mend(self) -> Path:
        """Let connections through; returns the kubeconfig that goes this way."""
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        cluster = self._original["clusters"][0]["cluster"]
        cluster["server"] = f"{self._target.scheme}://127.0.0.1:{self._port}"
        path = self._folder / "through-the-cord"
        path.write_text(yaml.safe_dump(self._original))
        return path

    async def cut(self) -> None:
        """Break all connections and refuse new ones."""
        if self._server is not None:
            self._server.close()
        relays = list(self._relays)
        for relay in relays:
            relay.cancel()
        await asyncio.gather(*relays)
        await asyncio.sleep(0)  # aborted transports close their sockets

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        ends = [writer]

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            sink.close()

        try:
            there_reader, there_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
            ends.append(there_writer)
            await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))
        except (asyncio.CancelledError, OSError):  # cut, or nobody there
            pass
        finally:
            for end in ends:
                end.transport.abort()
            self._relays.discard(task)


Script = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def scripted(script: Script, folder: Path, user: dict[str, Any] | None = None):  # type: ignore[no-untyped-def]  # a test's helper
    """A Cluster whose server answers with `script`."""
    app = web.Application()

    async def handle(request: web.Request) -> web.StreamResponse:
        return await script(request)

    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    cluster = await Cluster.from_kubeconfig(kubeconfig_for(folder, f"http://127.0.0.1:{port}", user))
    try:
        yield cluster
    finally:
        await cluster.close()
        await runner.cleanup()


def status_json(code: int, reason: str, message: str) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message}
    return web.json_response(body, status=code)


async def eventually(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for something that other tasks bring about."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is awaited is a server's doing
            await asyncio.sleep(0.01)
