"""The watches of managed objects: one a kind, only where somebody wants to know at once; none at all by default.

Kinds come from what the Kustomizations have applied. Secrets are never listed: each is watched by its name, up to a number; the rest is
left to the interval. A kind that may not be watched is told of once, and left to the interval.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from service.cluster.client import Cluster, ClusterError
from service.cluster.discovery import Discovery
from service.cluster.managed import ManagedWatch
from service.kinds.meta import ObjectKey
from service.kustomizations.drift import Drift
from service.kustomizations.standing import object_of

log = logging.getLogger(__name__)
MOST_SECRETS = 50
AGAIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookout:
    """What is watched: a kind, or one object of it (namespace, name)."""

    api_version: str
    kind: str
    one: tuple[str, str] | None = None


class Lookouts:
    """A room: keeps the watches that are wanted running."""

    def __init__(self, cluster: Cluster, discovery: Discovery, drift: Drift) -> None:
        self._cluster, self._discovery, self._drift = cluster, discovery, drift
        self._wanted: dict[ObjectKey, frozenset[Lookout]] = {}
        self._counts: Counter[Lookout] = Counter()
        self._running: dict[Lookout, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._stopping = False
        drift.on_modes = self.changed

    @property
    def watched(self) -> frozenset[Lookout]:
        """What is being watched."""
        return frozenset(self._running)

    def changed(self, key: ObjectKey) -> None:
        """The objects of a Kustomization, or the word on some, changed."""
        wanted = frozenset(self._of(key))
        before = self._wanted.get(key, frozenset())
        if wanted == before:
            return
        self._counts.update(wanted - before)
        self._counts.subtract(before - wanted)
        if wanted:
            self._wanted[key] = wanted
        else:
            self._wanted.pop(key, None)
        self._wake.set()

    def _of(self, key: ObjectKey) -> Iterable[Lookout]:
        for id, each in self._drift.standings.all(key):
            if self._drift.mode_of(key, each.stand) == "interval":
                continue
            found = object_of(id, each.api_version)
            if found is not None:
                one = (found.namespace, found.name) if (found.group, found.kind) == ("", "Secret") else None
                yield Lookout(api_version=each.api_version, kind=found.kind, one=one)

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Until stopped."""
        async with asyncio.TaskGroup() as tasks:
            while not self._stopping:
                self._wake.clear()
                self._turn(tasks)
                await self._wake.wait()
            for task in self._running.values():
                task.cancel()

    def _turn(self, tasks: asyncio.TaskGroup) -> None:
        """Start what is wanted and does not run, end what is not wanted any more."""
        wanted = {each for each, count in self._counts.items() if count > 0}
        secrets = sorted((each.one, each) for each in wanted if each.one is not None)
        if len(secrets) > MOST_SECRETS:
            wanted -= {each for _, each in secrets[MOST_SECRETS:]}
            log.info("not all Secrets are watched", extra={"watched": MOST_SECRETS, "of": len(secrets)})
        for each in self._running.keys() - wanted:
            self._running.pop(each).cancel()
        for each in wanted - self._running.keys():
            self._running[each] = tasks.create_task(self._watch(each), name=f"drift {each.kind}")
        self._counts = Counter({each: count for each, count in self._counts.items() if count > 0})

    async def _watch(self, each: Lookout) -> None:
        while True:
            try:
                resource = await self._discovery.resource(each.api_version, each.kind)
            except ClusterError as error:
                log.info("kind not watched for drift yet", extra={"kind": each.kind, "error": str(error)})
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            watch = ManagedWatch(
                self._cluster,
                resource=resource,
                one=each.one,
                on_sight=self._drift.sighted,
                on_forbidden=lambda message: self._forbidden(each, message),
            )
            await watch.run()

    def _forbidden(self, each: Lookout, message: str) -> None:
        owners = sorted(key for key, wanted in self._wanted.items() if each in wanted)
        if owners:
            self._drift.not_watched(owners[0], each.kind, len(owners) - 1, message)
