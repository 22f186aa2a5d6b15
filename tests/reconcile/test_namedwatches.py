"""The watches of ConfigMaps and Secrets by name: shared, bounded, behind the gate, and what is said where they are not possible."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from service.cluster.client import Cluster
from service.cluster.watch import Change
from service.kinds.event import Event
from service.kinds.meta import KUSTOMIZE_GROUP, ObjectKey
from service.kustomizations.variables import SUBSTITUTED
from service.reconcile.gate import Gate
from service.reconcile.namedwatches import Named, NamedWatches
from tests.cluster.objects import eventually

SPACE = "default"


def user(name: str, *sources: str, **spec: Any) -> tuple[ObjectKey, dict[str, Any]]:
    """A Kustomization that substitutes from these."""
    named = [dict(zip(("kind", "name"), each.split("/"), strict=True)) for each in sources]
    key = ObjectKey(group=KUSTOMIZE_GROUP, kind="Kustomization", namespace=SPACE, name=name)
    return key, {"metadata": {"name": name, "namespace": SPACE}, "spec": {"postBuild": {"substituteFrom": named}, **spec}}


class Scene:
    """Watches with what they tell."""

    def __init__(self, cluster: Cluster, *, most: int = 100) -> None:
        self.gate, self.changes, self.events = Gate("test"), list[tuple[str, Change]](), list[Event]()
        self.watches = NamedWatches(
            cluster,
            SUBSTITUTED,
            gate=self.gate,
            on_change=lambda kind, change: self.changes.append((kind, change)),
            tell=self.events.append,
            most=most,
        )

    def seen(self, *objects: tuple[ObjectKey, Mapping[str, Any] | None]) -> None:
        for key, object_ in objects:
            self.watches.seen(key, object_)

    @property
    def names(self) -> set[str]:
        return {f"{each.kind}/{each.name}" for each in self.watches.watched}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.watches.run())
        try:
            yield
        finally:
            self.watches.stop()
            await task


@pytest.fixture
async def cluster(embedded_kubeconfig: Path) -> AsyncIterator[Cluster]:
    made = await Cluster.from_kubeconfig(embedded_kubeconfig)
    yield made
    await made.close()
    await asyncio.sleep(0.02)


async def test_a_source_is_watched_once_for_all_and_until_the_last_has_gone(cluster: Cluster) -> None:
    scene = Scene(cluster)
    async with scene.running():
        scene.seen(user("a", "ConfigMap/x", "Secret/y"), user("b", "ConfigMap/x"), user("c", "ConfigMap/z", suspend=True))
        await asyncio.sleep(0.05)
        assert scene.names == set(), "another holds the Lease"
        scene.gate.open()
        await eventually(lambda: scene.names == {"ConfigMap/x", "Secret/y"})
        scene.seen((user("a")[0], None))
        await eventually(lambda: scene.names == {"ConfigMap/x"})
        scene.seen(user("b", "ConfigMap/x", suspend=True))
        await eventually(lambda: scene.names == set())
        scene.seen(user("c", "ConfigMap/z"))
        await eventually(lambda: scene.names == {"ConfigMap/z"})
        scene.gate.shut()
        await eventually(lambda: scene.names == set())


async def test_beyond_the_bound_what_runs_goes_on_and_one_event_says_so(cluster: Cluster) -> None:
    scene = Scene(cluster, most=2)
    scene.gate.open()
    async with scene.running():
        scene.seen(user("a", "ConfigMap/x", "ConfigMap/y"))
        await eventually(lambda: len(scene.names) == 2)
        scene.seen(user("b", "ConfigMap/a"), user("c", "ConfigMap/b"))
        await eventually(lambda: bool(scene.events))
        scene.seen(user("d", "ConfigMap/c"))
        await asyncio.sleep(0.05)
        assert scene.names == {"ConfigMap/x", "ConfigMap/y"}
        (event,) = scene.events
        assert (event.involved.name, event.reason, event.severity) == ("b", "VariablesNotWatched", "info")
        assert event.message == (
            f"a change of ConfigMap/{SPACE}/a is seen at the next push or interval, not at once: 2 are watched already, of 4"
        )
        scene.seen((user("a")[0], None))
        await eventually(lambda: scene.names == {"ConfigMap/a", "ConfigMap/b"})


@pytest.mark.real
async def test_what_may_not_be_watched_is_told_once_for_a_namespace_and_kind(real_kubeconfig: Path) -> None:
    admin = await Cluster.from_kubeconfig(real_kubeconfig)
    scene = Scene(admin.impersonating("system:serviceaccount:default:nobody"))
    scene.gate.open()
    try:
        async with scene.running():
            scene.seen(user("a", "Secret/x"), user("b", "Secret/y", "ConfigMap/z"))
            await eventually(lambda: len(scene.events) == 2)
            await asyncio.sleep(0.3)
            assert scene.watches.watched == {Named("Secret", SPACE, "x"), Named("Secret", SPACE, "y"), Named("ConfigMap", SPACE, "z")}
    finally:
        await admin.close()
    assert sorted(each.message.split(":")[0] for each in scene.events)[0].startswith("a change of ConfigMap/default/z is seen")
    assert all("cannot list resource" in each.message for each in scene.events)
