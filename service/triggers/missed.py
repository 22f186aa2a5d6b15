"""Hooks that never came: revisions of sources that a Receiver names which were found by an interval or at the start, not by a hook.

In: each revision as it is found, with what had asked for the run, and each hook's triggers. Out: where no hook follows within a minute, a
warning, a count for each source, a line in the delivery log of each Receiver that should have heard. A source without a Receiver is none.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from service.kinds.codec import Invalid, decode
from service.kinds.meta import ObjectKey
from service.kinds.notification import Receiver
from service.log import new_trace
from service.metrics import Metrics
from service.reconcile.queue import Trigger
from service.state.deliverylog import DeliveryLog, Note
from service.state.errors import StateError
from service.triggers.graph import Graph
from service.triggers.targets import entries

log = logging.getLogger(__name__)

GRACE = timedelta(seconds=60)  # a fetch may win against the hook by a moment, and a host's ref may lag behind its hook
LOOK_EVERY = timedelta(seconds=5)
MOST_REMEMBERED = 10_000
HOOK = "hook"

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """What was missed of one source since the start: how often, and the last of it."""

    source: ObjectKey
    count: int
    revision: str
    at: datetime


class MissedHooks:
    """A room. `receivers` is the watch's cache; `now` a clock in seconds."""

    def __init__(
        self,
        *,
        receivers: Mapping[tuple[str, str], Raw],
        graph: Graph,
        deliveries: DeliveryLog,
        metrics: Metrics,
        no_cross_namespace: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._receivers = receivers
        self._graph = graph
        self._log = deliveries
        self._metrics = metrics
        self._no_cross_namespace = no_cross_namespace
        self._now = now
        self._hooked: dict[ObjectKey, float] = {}
        self._found: dict[ObjectKey, tuple[float, str]] = {}
        self._missed: dict[ObjectKey, Missed] = {}
        self.on_missed: Callable[[], None] = _nobody

    def hooked(self, source: ObjectKey) -> None:
        """A hook asks for a source: what was found of it just before was found first, not missed."""
        self._hooked.pop(source, None)
        self._hooked[source] = self._now()
        if len(self._hooked) > MOST_REMEMBERED:
            del self._hooked[next(iter(self._hooked))]
        self._found.pop(source, None)

    def arrived(self, source: ObjectKey, revision: str, triggers: Sequence[Trigger], object_: Raw | None) -> None:
        """A revision was found. `object_` is the source as the cluster last said it was, None where it is not known."""
        if any(trigger.reason == HOOK for trigger in triggers) or object_ is None:
            return
        status, metadata = object_.get("status") or {}, object_.get("metadata") or {}
        before = (status.get("artifact") or {}).get("revision")
        if not before or before == revision or status.get("observedGeneration") != metadata.get("generation"):
            return  # the first one, the same after a restart, or somebody has changed what is followed
        if self._now() - self._hooked.get(source, float("-inf")) < GRACE.total_seconds():
            return
        self._found[source] = (self._now(), revision)

    def gone(self, source: ObjectKey) -> None:
        """The source was deleted."""
        for each in (self._hooked, self._found, self._missed):
            each.pop(source, None)
        self._metrics.missed_hooks_total.forget(kind=source.kind, name=source.name, namespace=source.namespace)

    def of(self, receiver: ObjectKey) -> tuple[Missed, ...]:
        """What a Receiver should have heard of and did not, since the start."""
        return tuple(each for each in self._missed.values() if receiver in self._naming(each.source))

    async def run(self) -> None:
        """Count what no hook has followed, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY.total_seconds())
            await self.settle()

    async def settle(self) -> None:
        """Count what is over its time of grace."""
        due = self._now() - GRACE.total_seconds()
        for source, (at, revision) in tuple(self._found.items()):
            if at > due:
                continue
            del self._found[source]
            for number, receiver in enumerate(self._naming(source)):
                if number == 0:
                    self._count(source, revision)
                await self._note(source, revision, receiver)

    def _count(self, source: ObjectKey, revision: str) -> None:
        before = self._missed.get(source)
        count = 1 + (before.count if before is not None else 0)
        self._missed[source] = Missed(source=source, count=count, revision=revision, at=datetime.now(UTC))
        self.on_missed()
        self._metrics.missed_hooks_total.inc(kind=source.kind, name=source.name, namespace=source.namespace)
        log.warning("found by interval, not by hook", extra={"object": str(source), "revision": revision, "missed": count})

    async def _note(self, source: ObjectKey, revision: str, receiver: ObjectKey) -> None:
        detail = f"{source} at {revision} was found by interval, not by hook: look at the deliveries of the hook at the host"
        note = Note(state="missed", reason="missed", detail=detail, trace=new_trace(), receiver=receiver)
        try:
            await self._log.note(note)
        except StateError as error:
            log.warning("the delivery log cannot be written", extra={"reason": str(error)})

    def repositories(self, receiver: ObjectKey) -> Iterator[str]:
        """The `owner/name` of the repositories of the Git sources in its namespaces that a Receiver names."""
        object_ = self._receivers.get((receiver.namespace, receiver.name))
        if object_ is None:
            return
        for entry in entries(decode(Receiver, object_), no_cross_namespace=self._no_cross_namespace):
            for node in self._graph.members("GitRepository", entry.namespace) if entry.ref.kind == "GitRepository" else ():
                if receiver in self._naming(node.key) and node.url.count("/") == 2:
                    yield node.url.partition("/")[2]

    def _naming(self, source: ObjectKey) -> Iterator[ObjectKey]:
        """The Receivers whose resources name a source, and that take deliveries."""
        node = self._graph.node(source)
        for object_ in tuple(self._receivers.values()):
            try:
                receiver = decode(Receiver, object_)
            except Invalid:
                continue
            if receiver.spec.suspend:
                continue
            for entry in entries(receiver, no_cross_namespace=self._no_cross_namespace):
                labels = entry.ref.match_labels
                is_wide = entry.is_wide and node is not None and all(node.labels.get(name) == value for name, value in labels.items())
                of_kind = (entry.ref.kind, entry.namespace) == (source.kind, source.namespace)
                if not entry.problem and of_kind and (is_wide or entry.key == source):
                    yield receiver.key
                    break


def _nobody() -> None:
    """Nobody looks for the cause."""
