"""The embedded API server as one thing to start and stop: a folder in, a kubeconfig and a URL on 127.0.0.1 out."""

import asyncio
import logging
import uuid
from pathlib import Path
from typing import Any

from aiohttp import web

from service.apiserver import certificates
from service.apiserver.cleanup import Cleanup
from service.apiserver.definitions import compiled
from service.apiserver.http import BODY_BYTES, Front
from service.apiserver.intake import now_text
from service.apiserver.objects import LASTING, Objects
from service.apiserver.resources import CRD_KEY, NAMESPACES_KEY, Registry, load_builtin
from service.apiserver.simulate import Simulation
from service.apiserver.store import Event, Store
from service.apiserver.watches import Watches

_log = logging.getLogger(__name__)


class ApiServer:
    """A running server. Make one with `start`; `kubeconfig`, `url` and `token` say how to reach it."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.kubeconfig, self.url, self.token = folder / "kubeconfig", "", ""
        self._store = store
        self._registry = Registry(load_builtin())
        self._watches = Watches(store)
        self._objects = Objects(store, self._registry)
        self._tasks: asyncio.Task[None] | None = None
        self._cleanup = Cleanup(self._objects)
        self._simulation: Simulation | None = None
        self._runner: web.AppRunner | None = None
        store.listen(self._on_event)

    @classmethod
    async def start(cls, folder: Path, *, port: int = 0, simulate_workloads: bool = False) -> "ApiServer":
        """Start on 127.0.0.1 (port 0 = any free one) with the state in `folder`; write its kubeconfig.

        Raises OSError when the port is taken or the folder cannot be written.
        """
        server = cls(folder, _open(folder))
        await server._begin(folder, port, simulate_workloads)
        return server

    async def _begin(self, folder: Path, port: int, simulate_workloads: bool) -> None:
        for row in self._store.select(CRD_KEY):
            self._serve_crd(row.load())
        for name in sorted(LASTING):
            if self._store.get(NAMESPACES_KEY, "", name) is None:
                await self._store.put(NAMESPACES_KEY, _namespace(name))
        if simulate_workloads:
            self._simulation = Simulation(self._objects)
            self._store.listen(self._simulation.see)
        started = asyncio.Event()
        self._tasks = asyncio.create_task(self._run(started), name="apiserver")
        await started.wait()
        self.token = certificates.token(folder)
        context, certificate = certificates.tls(folder)
        app = web.Application(client_max_size=BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", Front(self._objects, self._watches, self.token).answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=context)
        await site.start()
        self.url = f"https://127.0.0.1:{self._runner.addresses[0][1]}"
        certificates.write_private(self.kubeconfig, certificates.kubeconfig(self.url, self.token, certificate))
        _log.info("embedded API server started", extra={"url": self.url, "kubeconfig": str(self.kubeconfig)})

    async def _run(self, started: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._cleanup.run(), name="apiserver-cleanup")
            if self._simulation is not None:
                tasks.create_task(self._simulation.run(), name="apiserver-simulation")
            started.set()

    def _on_event(self, event: Event) -> None:
        if event.new.resource == CRD_KEY:
            crd = event.new.load()
            if event.type == "DELETED":
                key = f"{crd['spec']['group']}/{crd['spec']['names']['plural']}"
                self._registry.replace(key, ())
                self._watches.end(key)
            else:
                self._serve_crd(crd)
        self._cleanup.see(event)

    def _serve_crd(self, crd: dict[str, Any]) -> None:
        accepted = any(c["type"] == "Established" and c["status"] == "True" for c in crd.get("status", {}).get("conditions", ()))
        key = f"{crd['spec']['group']}/{crd['spec']['names']['plural']}"
        self._registry.replace(key, compiled(crd, self._registry.builtin) if accepted else ())

    async def stop(self) -> None:
        """End watches, answer what is under way, write the rest and close."""
        self._watches.end()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._tasks is not None:
            self._tasks.cancel()
            await asyncio.gather(self._tasks, return_exceptions=True)
        await self._store.close()


def _open(folder: Path) -> Store:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Store(folder / "objects.db", asyncio.get_running_loop())


def _namespace(name: str) -> dict[str, object]:
    meta = {"name": name, "uid": str(uuid.uuid4()), "creationTimestamp": now_text(), "labels": {"kubernetes.io/metadata.name": name}}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": meta,
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }
