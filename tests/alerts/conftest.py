"""A stand-in for Slack, and a dispatcher over a real store."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from service.alerts import dispatch, lane
from service.alerts.bundles import composed
from service.alerts.courtesy import Courtesy
from service.alerts.dispatch import Dispatcher, Needs
from service.alerts.table import Table
from service.cel import Evaluator
from service.cluster.events import News
from service.identities.grants import Grants
from service.kinds.event import Event
from service.kinds.meta import ObjectKey
from service.metrics import Metrics
from service.outbound import Outbound, Policy
from service.state.held import Held
from service.state.notes import Notes
from service.state.outbox import EventRow, Outbox
from service.state.store import Store
from service.workers import Workers

GROUP = "notification.toolkit.fluxcd.io"
KUSTOMIZE = "kustomize.toolkit.fluxcd.io"
PATH = "/services/T/B/very-secret-path"


@pytest.fixture
async def store(tmp_path: Path, state_url: str) -> AsyncIterator[Store]:
    opened = Store.open(tmp_path / "state", state_url)
    yield opened
    await opened.close()


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    """Only tests of patterns start a process."""
    made = Workers(1)
    yield made
    await made.close()


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Slack:
    """Answers with what `answers` gives next, then with 200 `ok`; keeps what it got."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.got: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.changed = asyncio.Event()
        app = web.Application()
        app.router.add_post("/{rest:.*}", self._handle)
        self.server = TestServer(app)

    @property
    def address(self) -> str:
        return str(self.server.make_url(PATH))

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.got.append(json.loads(await request.read()))
        self.headers.append(dict(request.headers))
        self.changed.set()
        return await self.answers.pop(0)(request) if self.answers else web.Response(text="ok")

    async def wait_for(self, count: int, seconds: float = 20) -> list[dict[str, Any]]:
        async with asyncio.timeout(seconds):
            while len(self.got) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.got


def says(status: int, text: str = "", **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=text, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return answer


@pytest.fixture
async def slack() -> AsyncIterator[Slack]:
    made = Slack()
    await made.server.start_server(host="127.0.0.1")
    yield made
    await made.server.close()


_versions = itertools.count(1)


def alert(name: str = "on-call", namespace: str = "apps", **spec: Any) -> dict[str, Any]:
    values = {"providerRef": {"name": "slack"}, "eventSources": [{"kind": "Kustomization", "name": "*"}]} | spec
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "resourceVersion": str(next(_versions))}
    return {"apiVersion": f"{GROUP}/v1beta3", "kind": "Alert", "metadata": metadata, "spec": values}


def provider(name: str = "slack", namespace: str = "apps", **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "resourceVersion": str(next(_versions))}
    return {"apiVersion": f"{GROUP}/v1beta3", "kind": "Provider", "metadata": metadata, "spec": {"type": "slack"} | spec}


def event(message: str = "Deployment/web/web configured", **changes: Any) -> Event:
    values: dict[str, Any] = {
        "involved": ObjectKey(group=KUSTOMIZE, kind="Kustomization", namespace="apps", name="web"),
        "involved_api_version": f"{KUSTOMIZE}/v1",
        "severity": "info",
        "reason": "ReconciliationSucceeded",
        "message": message,
        "metadata": {f"{KUSTOMIZE}/revision": "main@sha1:" + "a" * 40},
        "trace": "trace-1",
    }
    return Event(**values | changes)


def about(name: str, message: str, **changes: Any) -> Event:
    """An event about another Kustomization."""
    return event(message, involved=ObjectKey(group=KUSTOMIZE, kind="Kustomization", namespace="apps", name=name), **changes)


@dataclass(kw_only=True)
class World:
    """Everything around a dispatcher, to be changed while it runs."""

    store: Store
    workers: Workers
    alerts: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    providers: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    secrets: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    labels: dict[ObjectKey, dict[str, str]] = field(default_factory=dict)
    configs: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    labels_error: Exception | None = None
    ready: bool = True
    warnings: list[News] = field(default_factory=list)
    metrics: Metrics = field(default_factory=Metrics)
    evaluator: Evaluator = field(default_factory=Evaluator)
    table: Table = field(default_factory=Table)
    grants: Grants | None = None
    outbound: Outbound = field(default_factory=lambda: Outbound(Policy(loopback=True)))

    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.idle.set()
        self.outbox, self.held = Outbox(self.store), Held(self.store, composed)

    def put(self, *objects: dict[str, Any]) -> None:
        for each in objects:
            name = (each["metadata"]["namespace"], each["metadata"]["name"])
            (self.alerts if each["kind"] == "Alert" else self.providers)[name] = each

    async def tell(self, *events: Event) -> None:
        for number, each in enumerate(events):
            assert await self.outbox.add(EventRow(key=f"{id(each)}-{number}-{each.message[:50]}", json=each.to_json()))

    async def read_secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        return self.secrets.get((namespace, name))

    async def read_config(self, namespace: str, name: str) -> Mapping[str, str] | None:
        return self.configs.get((namespace, name))

    async def read_labels(self, key: ObjectKey, _api_version: str) -> Mapping[str, str]:
        if self.labels_error is not None:
            raise self.labels_error
        return self.labels.get(key, {})

    def dispatcher(self, **options: Any) -> Dispatcher:
        needs = Needs(
            outbox=self.outbox, notes=Notes(self.store),
            alerts=self.alerts, providers=self.providers, is_ready=lambda: self.ready, read_secret=self.read_secret,
            read_labels=self.read_labels, read_config=self.read_config, held=self.held,
            post_event=self.warnings.append, workers=self.workers, metrics=self.metrics,
            outbound=self.outbound, evaluator=self.evaluator, table=self.table,
            grants=self.grants, courtesy=Courtesy((self.idle,), many=1),
        )  # fmt: skip
        return Dispatcher(needs, **options)

    @asynccontextmanager
    async def running(self, **options: Any) -> AsyncIterator[Dispatcher]:
        made = self.dispatcher(**options)
        task = asyncio.create_task(made.run(), name="dispatcher")
        try:
            yield made
        finally:
            made.stop()
            await task

    async def settled(self, **counts: int) -> None:
        """Wait until the outbox holds exactly these counts (0 where not named)."""
        wanted = {"queued": 0, "sent": 0, "folded": 0, "rejected": 0, "unmatched": 0} | counts
        async with asyncio.timeout(20):
            while dict(await self.outbox.counts()) != wanted:  # noqa: ASYNC110 - the store tells nobody
                await asyncio.sleep(0.01)

    async def warned(self) -> str:
        """Wait for the first Warning and return its message."""
        async with asyncio.timeout(5):
            while not self.warnings:  # noqa: ASYNC110 - a plain list
                await asyncio.sleep(0.01)
        return self.warnings[0].message


@pytest.fixture
async def world(store: Store, workers: Workers, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(lane, "FIRST_WAIT", timedelta(milliseconds=20))
    monkeypatch.setattr(lane, "SHORTEST_WAIT", timedelta(milliseconds=10))
    monkeypatch.setattr(dispatch, "RETRY", timedelta(milliseconds=50))
    made = World(store=store, workers=workers)
    yield made
    await made.evaluator.close()
