"""The statuses of Kustomizations that merely moved to a new revision: written behind everything else.

Newest revision only: an entry that is superseded is replaced in its place, one that runs after all is dropped. Bounded in how many are
written at once, and each write first lets the reconciles go, for a moment at most, so that a busy queue cannot starve it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from service.cluster.client import ApiAway, ClusterError
from service.kinds.meta import ObjectKey
from service.kustomizations.records import Record, Records
from service.reconcile.gate import Gate
from service.reconcile.worker import contained, first
from service.state.errors import StateError

log = logging.getLogger(__name__)
AT_ONCE = 4
YIELD_SECONDS = 0.25
AWAY_SECONDS = 2.0
REFUSED_TRIES = 30  # an API server that has just started refuses everybody until it has read its roles and kinds


class Sweep:
    """A room. `write(key, record)` patches one status; `idle` is set while no reconcile runs or waits; nothing is written while `gate` is
    shut."""

    def __init__(self, *, records: Records, write: Callable[[ObjectKey, Record], Awaitable[None]], idle: asyncio.Event, gate: Gate) -> None:
        self._records = records
        self._write = write
        self._idle = idle
        self._gate = gate
        self._due: dict[ObjectKey, str] = {}
        self._refused: dict[ObjectKey, int] = {}
        self._writing: dict[ObjectKey, asyncio.Event] = {}
        self._away = False
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()

    def moved(self, key: ObjectKey, revision: str) -> None:
        """The object stands at `revision` without a run."""
        self._due[key] = revision
        self._refused.pop(key, None)
        self._wake.set()

    async def drop(self, key: ObjectKey) -> None:
        """A run writes the status itself, from now on: what is being written is waited for, so that it cannot come last."""
        await self.written(key)
        self._due.pop(key, None)
        self._refused.pop(key, None)

    async def written(self, key: ObjectKey) -> None:
        """Return when no status of the object is being written."""
        while (writing := self._writing.get(key)) is not None:
            await writing.wait()

    def clear(self) -> None:
        """Forget all that is not written."""
        self._due.clear()
        self._refused.clear()

    def stop(self) -> None:
        """What is not written yet follows after the next start: revisions are compared then."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(AT_ONCE):
                tasks.create_task(self._writer(), name=f"sweep.{number}")

    async def _writer(self) -> None:
        while not self._stopping.is_set():
            if not self._gate.is_open:
                await first(self._gate.wait_open(), self._stopping.wait())
                continue
            key = next((key for key in self._due if key not in self._writing), None)
            if key is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            await self._let_pass()
            if key in self._due and key not in self._writing and self._gate.is_open:
                await self._one(key, self._due.pop(key))
            if self._away:
                self._away = False
                await first(asyncio.sleep(AWAY_SECONDS), self._stopping.wait())

    async def _let_pass(self) -> None:
        try:
            async with asyncio.timeout(YIELD_SECONDS):
                await self._idle.wait()
        except TimeoutError:
            return

    async def _one(self, key: ObjectKey, revision: str) -> None:
        record = self._records.get(key)
        if record is None or record.basis.revision != revision:
            return  # it ran meanwhile
        written = self._writing[key] = asyncio.Event()
        try:
            await contained(self._written(key, record), doing="move", about=str(key))
        finally:
            del self._writing[key]
            written.set()
            self._wake.set()

    async def _written(self, key: ObjectKey, record: Record) -> None:
        try:
            await self._write(key, record)
            self._refused.pop(key, None)
            await self._records.save(key)
        except ApiAway:
            self._due.setdefault(key, record.basis.revision)
            self._away = True
        except (ClusterError, StateError) as error:
            if isinstance(error, ClusterError) and (tries := self._refused.get(key, 0) + 1) < REFUSED_TRIES:
                self._refused[key] = tries
                self._due.setdefault(key, record.basis.revision)
                self._away = True
                return
            self._refused.pop(key, None)
            log.warning("status not moved", extra={"object": str(key), "revision": record.basis.revision, "error": str(error)})
