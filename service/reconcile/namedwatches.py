"""The watches of what objects of one kind name in their specs: one for each ConfigMap or Secret, shared by all that name it.

Flux sees a change of those alone that carry a label; here the name is enough. Read is the metadata of that one name, nothing is listed.
Bounded: what is beyond the bound, and what may not be watched, is seen at a push and at the interval.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from service.cluster.client import Cluster
from service.cluster.discovery import Resource
from service.cluster.metadatawatch import MetadataWatch
from service.cluster.watch import Change
from service.kinds.event import Event
from service.kinds.meta import ObjectKey
from service.reconcile.gate import Gate

log = logging.getLogger(__name__)
MOST = 100
RESOURCES = {
    "ConfigMap": Resource(group="", version="v1", plural="configmaps", namespaced=True, kind="ConfigMap"),
    "Secret": Resource(group="", version="v1", plural="secrets", namespaced=True, kind="Secret"),
}


class Named(NamedTuple):
    """A ConfigMap or Secret by its name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """How objects name others: `of` reads it off one as it came from the API, None for one that is gone.

    `what` says it in names of tasks, `reason` and `controller` in the event for what is not watched.
    """

    what: str
    of: Callable[[Mapping[str, Any] | None], frozenset[Named]]
    reason: str
    controller: str


class NamedWatches:
    """A room: keeps a watch running for each that is named, while `gate` is open. `on_change` hears the kind and the change."""

    def __init__(
        self,
        cluster: Cluster,
        naming: Naming,
        *,
        gate: Gate,
        on_change: Callable[[str, Change], None],
        tell: Callable[[Event], None],
        most: int = MOST,
    ) -> None:
        self._cluster, self._gate, self._on_change, self._tell, self._most = cluster, gate, on_change, tell, most
        self._naming = naming
        self._named: dict[ObjectKey, frozenset[Named]] = {}
        self._users: dict[Named, dict[ObjectKey, Mapping[str, Any]]] = defaultdict(dict)
        self._running: dict[Named, asyncio.Task[None]] = {}
        self._told: set[tuple[str, str]] = set()
        self._wake = asyncio.Event()
        self._stopping = False

    @property
    def watched(self) -> frozenset[Named]:
        """What is being watched."""
        return frozenset(self._running)

    def users(self, each: Named) -> tuple[ObjectKey, ...]:
        """The objects that name it."""
        return tuple(self._users.get(each, ()))

    def seen(self, key: ObjectKey, object_: Mapping[str, Any] | None) -> None:
        """An object appeared, changed, or (None) is gone."""
        before, wanted = self._named.pop(key, frozenset()), self._naming.of(object_)
        for each in before - wanted:
            self._users[each].pop(key, None)
            if not self._users[each]:
                del self._users[each]
        for each in wanted:
            assert object_ is not None
            self._users[each][key] = object_
        if wanted:
            self._named[key] = wanted
        if wanted != before:
            self._wake.set()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Until stopped."""
        async with asyncio.TaskGroup() as tasks:
            standing = tasks.create_task(self._standing(), name=f"{self._naming.what}: gate")
            while not self._stopping:
                self._wake.clear()
                self._turn(tasks)
                await self._wake.wait()
            for task in (standing, *self._running.values()):
                task.cancel()

    async def _standing(self) -> None:
        """Look again whenever the gate opens or shuts."""
        while True:
            await self._gate.wait_open()
            self._wake.set()
            await self._gate.wait_shut()
            self._wake.set()

    def _turn(self, tasks: asyncio.TaskGroup) -> None:
        """Start what is wanted and does not run, end what is not wanted any more; what runs goes before what is new."""
        named = list(self._users) if self._gate.is_open else []
        wanted = sorted(named, key=lambda each: (each not in self._running, each))[: self._most]
        for each in self._running.keys() - set(wanted):
            self._running.pop(each).cancel()
        for each in wanted:
            if each not in self._running:
                self._running[each] = tasks.create_task(self._watch(each), name=f"{self._naming.what} {each}")
        if len(named) > self._most:
            self._tell_once(min(set(named) - set(wanted)), f"{self._most} are watched already, of {len(named)}", about="")
        else:
            self._told.discard(("", ""))

    async def _watch(self, each: Named) -> None:
        await MetadataWatch(
            self._cluster,
            resource=RESOURCES[each.kind],
            one=(each.namespace, each.name),
            on_change=lambda change: self._on_change(each.kind, change),
            on_forbidden=lambda message: self._tell_once(each, f"it may not be watched: {message}", about=each.kind),
        ).run()

    def _tell_once(self, each: Named, why: str, *, about: str) -> None:
        """Once for a namespace and kind (or the bound), on one of those that use it."""
        occasion = (about, each.namespace if about else "")
        users = self._users.get(each)
        if occasion in self._told or not users:
            return
        self._told.add(occasion)
        key = min(users)
        raw, metadata = users[key], users[key]["metadata"]
        words = f"a change of {each} is seen at the next push or interval, not at once: {why}"
        log.warning("not watched", extra={"what": self._naming.what, "named": str(each), "why": why})
        self._tell(
            Event(
                involved=key,
                involved_api_version=str(raw.get("apiVersion", "")),
                involved_uid=metadata.get("uid", ""),
                involved_resource_version=metadata.get("resourceVersion", ""),
                severity="info",
                reason=self._naming.reason,
                message=words,
                reporting_controller=self._naming.controller,
            )
        )
