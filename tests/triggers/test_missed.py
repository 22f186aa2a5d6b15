"""Revisions that no hook told of: in virtual time, with a real delivery log."""

from typing import Any

import pytest

from service.metrics import Metrics
from service.reconcile.queue import Trigger
from service.state.deliverylog import DeliveryLog
from service.state.store import Store
from service.triggers.graph import Graph
from service.triggers.missed import GRACE, MissedHooks
from tests.triggers.scene import key, receiver, repository

FLEET, WEB = key("GitRepository", "fleet"), key("Receiver", "web")
OLD, NEW = "main@sha1:" + "1" * 40, "main@sha1:" + "2" * 40
HOOK, TIMER = Trigger(reason="hook"), Trigger(reason="interval")


def source(revision: str = OLD, *, observed: int = 1) -> dict[str, Any]:
    made = repository()
    made["metadata"]["generation"] = 1
    made["status"] = {"observedGeneration": observed, "artifact": {"revision": revision} if revision else None}
    return made


class Scene:
    def __init__(self, store: Store, **spec: Any) -> None:
        self.seconds = 1000.0
        self.receivers = {("apps", "web"): receiver(**spec)}
        self.graph, self.log, self.metrics = Graph(["GitRepository"]), DeliveryLog(store), Metrics()
        self.graph.seen(FLEET, repository())
        self.room = MissedHooks(
            receivers=self.receivers, graph=self.graph, deliveries=self.log, metrics=self.metrics, now=lambda: self.seconds
        )  # fmt: skip

    async def later(self, seconds: float = GRACE.total_seconds() + 1) -> None:
        self.seconds += seconds
        await self.room.settle()

    @property
    def counted(self) -> float | None:
        labels = {"kind": "GitRepository", "name": "fleet", "namespace": "apps"}
        return self.metrics.registry.get_sample_value("sluice_missed_hooks_total", labels)


async def test_a_revision_that_no_hook_told_of_is_counted_and_said(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(store)
    scene.room.arrived(FLEET, NEW, (TIMER,), source())
    await scene.later(30)
    assert scene.counted is None, "its hook may be on the way"
    await scene.later()
    await scene.later()
    assert scene.counted == 1
    assert "found by interval, not by hook" in caplog.messages
    (entry,) = await scene.log.newest()
    assert (entry.state, entry.receiver) == ("missed", WEB)
    assert f"{FLEET} at {NEW} was found by interval" in entry.detail
    scene.room.arrived(FLEET, OLD, (), source(NEW))
    await scene.later()
    (missed,) = scene.room.of(WEB)
    assert (missed.source, missed.count, missed.revision, scene.counted) == (FLEET, 2, OLD, 2)
    scene.room.gone(FLEET)
    assert (scene.room.of(WEB), scene.counted) == ((), None)


async def test_what_a_hook_told_of_is_not_missed_whoever_was_first(store: Store) -> None:
    scene = Scene(store)
    scene.room.arrived(FLEET, NEW, (TIMER, HOOK), source())
    await scene.later()
    scene.room.arrived(FLEET, NEW, (TIMER,), source())
    await scene.later(20)
    scene.room.hooked(FLEET)  # the interval was faster
    await scene.later()
    scene.room.hooked(FLEET)
    await scene.later(20)
    scene.room.arrived(FLEET, NEW, (TIMER,), source())  # the host's ref has lagged behind its hook
    await scene.later()
    assert scene.counted is None


@pytest.mark.parametrize("object_", [None, source(NEW), source(""), source(observed=0)], ids=["unknown", "same", "first", "changed"])
async def test_what_is_nobodys_push_is_not_missed(store: Store, object_: dict[str, Any] | None) -> None:
    scene = Scene(store)
    scene.room.arrived(FLEET, NEW, (TIMER,), object_)
    await scene.later()
    assert scene.counted is None


STAR = {"kind": "GitRepository", "name": "*"}


@pytest.mark.parametrize(("spec", "counted"), [
    ({}, 1),
    ({"suspend": True}, None),
    ({"resources": [{"kind": "GitRepository", "name": "other"}]}, None),
    ({"resources": [{"kind": "Kustomization", "name": "fleet"}]}, None),
    ({"resources": [{"kind": "GitRepository", "name": "fleet", "namespace": "else"}]}, None),
    ({"resources": [STAR | {"matchLabels": {"team": "shop"}}]}, 1),
    ({"resources": [STAR | {"matchLabels": {"team": "else"}}]}, None),
    ({"resources": [STAR]}, None),
])  # fmt: skip
async def test_only_where_a_receiver_names_the_source(store: Store, spec: dict[str, Any], counted: int | None) -> None:
    scene = Scene(store, **spec)
    scene.room.arrived(FLEET, NEW, (TIMER,), source())
    await scene.later()
    assert scene.counted == counted


async def test_the_repositories_of_a_receiver_are_those_that_it_names(store: Store) -> None:
    scene = Scene(store, resources=[{"kind": "GitRepository", "name": "fleet"}, STAR | {"matchLabels": {"team": "shop"}}])
    for name, url in (("other", "ssh://git@github.com/Acme/Other.git"), ("deep", "https://git.example.com/a/b/c")):
        scene.graph.seen(key("GitRepository", name), repository(name, url))
    assert set(scene.room.repositories(WEB)) == {"acme/fleet", "acme/other"}
    assert list(scene.room.repositories(key("Receiver", "other"))) == []
