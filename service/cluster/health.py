"""Waiting for objects to become healthy, or to be gone: ids in, an answer or a typed error out. Watches, never polls.

Messages are Flux's (https://github.com/fluxcd/pkg/blob/main/ssa/manager_wait.go). `status_of` computes the health of one object.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import timedelta
from typing import Any

from service.cluster.client import Cluster, ClusterError
from service.cluster.discovery import Discovery, NoSuchKind, Resource
from service.cluster.inventory import ObjectId
from service.cluster.kstatus import CRASHING, Health, Status, status_of
from service.cluster.watch import Change, Watch

__all__ = ["Health", "HealthError", "HealthFailed", "HealthTimeout", "Status", "status_of", "wait_gone", "wait_healthy"]

KIND_AGAIN_AFTER = timedelta(seconds=2)
_CRASH_REPORTED_BY = frozenset({"Deployment", "StatefulSet", "ReplicaSet"})
_PODS = Resource(group="", version="v1", plural="pods", namespaced=True, kind="Pod")
_UNKNOWN = Health(status=Status.UNKNOWN, message="not yet read")

Statuses = Mapping[ObjectId, Health]


class HealthError(ClusterError):
    """Not all became healthy; `statuses` has the last known health of each, str() is Flux's message."""

    def __init__(self, message: str, statuses: Statuses) -> None:
        super().__init__(message)
        self.message = message
        self.statuses = statuses


class HealthTimeout(HealthError):
    """The time is over."""


class HealthFailed(HealthError):
    """One failed for good, so there is nothing to wait for."""


async def wait_healthy(
    cluster: Cluster,
    discovery: Discovery,
    ids: Iterable[ObjectId],
    *,
    timeout: timedelta,
    on_progress: Callable[[Statuses], None] | None = None,
    may_vanish: Collection[ObjectId] = (),
) -> Statuses:
    """Wait until each object is Current; those in `may_vanish` (Jobs with a ttl) may also be gone. Cancel to stop waiting.

    Follows each kind and namespace with one watch; an API server that is away counts as waiting. Raises HealthFailed as soon as one is
    Failed, HealthTimeout.
    """
    waiting = _Waiting(ids, on_progress, frozenset(may_vanish))
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(_Group(cluster, waiting, group).follow(discovery), name=f"health of {group[0].kind} in {group[0].namespace}")
            for group in waiting.groups()
        ]
        in_time = await waiting.settled(timeout)
        for task in running:
            task.cancel()
    failed = [id for id, health in waiting.statuses.items() if health.status is Status.FAILED]
    if failed:
        raise HealthFailed(f"failed early due to stalled resources: [{waiting.describe(failed)}]", dict(waiting.statuses))
    if not in_time:
        raise HealthTimeout(f"timeout waiting for: [{waiting.describe(waiting.unhealthy())}]", dict(waiting.statuses))
    return dict(waiting.statuses)


async def wait_gone(cluster: Cluster, resource: Resource, object: ObjectId, *, uid: str, timeout: timedelta) -> bool:
    """Wait until the object with this uid is gone; False when the time is over first."""
    changed = asyncio.Event()
    watch = Watch(
        cluster,
        resource=resource,
        namespace=object.namespace,
        field_selector=f"metadata.name={object.name}",
        on_change=lambda _change: changed.set(),
    )

    def there() -> bool:
        return any(item["metadata"].get("uid") == uid for item in watch.objects.values())

    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(watch.run(), name=f"end of {object}")
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                await watch.synced.wait()
                while there():
                    changed.clear()
                    await changed.wait()
            gone = True
        except TimeoutError:
            gone = False
        running.cancel()
    return gone


class _Waiting:
    """The last known health of each object that is waited for."""

    def __init__(self, ids: Iterable[ObjectId], on_progress: Callable[[Statuses], None] | None, may_vanish: frozenset[ObjectId]) -> None:
        self.statuses: dict[ObjectId, Health] = dict.fromkeys(ids, _UNKNOWN)
        self._on_progress = on_progress
        self._may_vanish = may_vanish
        self._changed = asyncio.Event()

    def groups(self) -> list[list[ObjectId]]:
        """The ids by kind and namespace."""
        groups: dict[tuple[str, str, str], list[ObjectId]] = defaultdict(list)
        for id in self.statuses:
            groups[id.api_version, id.kind, id.namespace].append(id)
        return list(groups.values())

    def note(self, id: ObjectId, health: Health) -> None:
        """Take a newly computed health; tells the caller when the status differs."""
        before, self.statuses[id] = self.statuses[id], health
        if before != health:
            self._changed.set()
            if self._on_progress is not None:
                self._on_progress(self.statuses)

    def done(self, id: ObjectId) -> bool:
        """True when there is nothing to wait for with this object."""
        status = self.statuses[id].status
        return status is Status.CURRENT or (status is Status.NOT_FOUND and id in self._may_vanish)

    def unhealthy(self) -> list[ObjectId]:
        return [id for id in self.statuses if not self.done(id)]

    def describe(self, ids: Iterable[ObjectId]) -> str:
        return ", ".join(f"{id} status: '{self.statuses[id].status.value}'" for id in ids)

    async def settled(self, timeout: timedelta) -> bool:
        """True when all are done or one failed, False when the time is over."""
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                while self.unhealthy() and not any(health.status is Status.FAILED for health in self.statuses.values()):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True


class _Group:
    """The waited-for objects of one kind and namespace."""

    def __init__(self, cluster: Cluster, waiting: _Waiting, ids: list[ObjectId]) -> None:
        self._cluster = cluster
        self._waiting = waiting
        self._ids = {id.name: id for id in ids}
        self._namespace = ids[0].namespace
        self._live: Mapping[tuple[str, str], dict[str, Any]] = {}
        self._crashing: dict[str, Mapping[str, str]] = {}  # labels by Pod

    async def follow(self, discovery: Discovery) -> None:
        """Keep their health up to date until cancelled."""
        resource = await _resource(discovery, self._waiting, list(self._ids.values()))
        one = f"metadata.name={next(iter(self._ids))}" if len(self._ids) == 1 else None
        watch = Watch(self._cluster, resource=resource, namespace=self._namespace, field_selector=one, on_change=self._changed)
        self._live = watch.objects
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(watch.run(), name=f"watch of {resource.plural} for health")
            await watch.synced.wait()
            self._look_at_all()
            if resource.group == "apps" and resource.kind in _CRASH_REPORTED_BY and not all(map(self._waiting.done, self._ids.values())):
                pods = Watch(self._cluster, resource=_PODS, namespace=self._namespace, on_change=self._pod_changed)
                tasks.create_task(pods.run(), name="watch of pods for health")

    def _look_at_all(self) -> None:
        for id in self._ids.values():
            self._look(id)

    def _look(self, id: ObjectId) -> None:
        obj = self._live.get((self._namespace, id.name))
        health = status_of(obj)
        if obj is not None and health.status is Status.IN_PROGRESS and self._crashing:
            wanted = ((obj.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
            if wanted and any(wanted.items() <= labels.items() for labels in self._crashing.values()):
                health = Health(status=Status.FAILED, message="a Pod of it keeps crashing")
        self._waiting.note(id, health)

    def _changed(self, change: Change) -> None:
        id = self._ids.get(change.object["metadata"]["name"])
        if id is not None:
            self._look(id)

    def _pod_changed(self, change: Change) -> None:
        metadata = change.object["metadata"]
        if change.type != "DELETED" and status_of(change.object).message.startswith(CRASHING):
            self._crashing[metadata["name"]] = metadata.get("labels") or {}
        elif self._crashing.pop(metadata["name"], None) is None:
            return
        self._look_at_all()


async def _resource(discovery: Discovery, waiting: _Waiting, ids: list[ObjectId]) -> Resource:
    """The resource of a kind, as soon as it is installed."""
    while True:
        try:
            return await discovery.resource(ids[0].api_version, ids[0].kind)
        except NoSuchKind:
            for absent in ids:
                waiting.note(absent, status_of(None))
        except ClusterError:
            pass  # away: still waiting
        await asyncio.sleep(KIND_AGAIN_AFTER.total_seconds())
