"""Health waits that hold no worker: each runs as a task of its own, until its end, or until a newer run of its object supersedes it.

A wait has two halves. The first only watches and may be cut off at any moment, without an alarm. The second writes down how it ended
(event, status) and is never cut off by a newer run, which waits for it instead: two writers of one status would overwrite each other.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from service.kinds.meta import ObjectKey
from service.kustomizations.records import Record
from service.reconcile.gate import Gate
from service.reconcile.worker import contained, first

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class _Wait:
    record: Record
    task: asyncio.Task[None]
    ending: bool = False


class HealthWaits:
    """A room. At most one wait for each object. `again` asks for another run of an object whose wait was cut off by the gate or broke."""

    def __init__(self, *, gate: Gate, again: Callable[[ObjectKey], None]) -> None:
        self._gate = gate
        self._again = again
        self._waits: dict[ObjectKey, _Wait] = {}
        self._group: asyncio.TaskGroup | None = None
        self._stopping = asyncio.Event()

    def start(self, key: ObjectKey, record: Record, *, wait: Coroutine[Any, Any, T], end: Callable[[T], Coroutine[Any, Any, None]]) -> None:
        """Run `wait`, then `end` with its result. `record` is what the object's run has made and will keep if all goes well."""
        if self._group is None or self._stopping.is_set():
            wait.close()
            return
        task = self._group.create_task(self._follow(key, wait, end), name=f"health {key}")
        self._waits[key] = _Wait(record=record, task=task)
        task.add_done_callback(lambda done: self._forget(key, done))

    async def supersede(self, key: ObjectKey) -> None:
        """Make sure that no wait of the object runs: end one that still watches, let one that already writes finish."""
        found = self._waits.get(key)
        if found is None:
            return
        if not found.ending:
            found.task.cancel()
        await asyncio.wait([found.task])

    async def ended(self, key: ObjectKey) -> None:
        """Let a wait that already writes finish."""
        found = self._waits.get(key)
        if found is not None and found.ending:
            await asyncio.wait([found.task])

    def pending(self, key: ObjectKey) -> Record | None:
        """What the object's run has made, while its health is waited for."""
        found = self._waits.get(key)
        return None if found is None or found.ending else found.record

    def waiting(self, key: ObjectKey) -> bool:
        return key in self._waits

    def stop(self) -> None:
        """End all waits; their runs stay open in the journal and are taken up after the next start."""
        self._stopping.set()

    async def run(self) -> None:
        """Until stopped. Whenever the gate shuts, all waits end: another process may write now."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            while not self._stopping.is_set():
                await first(self._gate.wait_open(), self._stopping.wait())
                await first(self._gate.wait_shut(), self._stopping.wait())
                self._cut_off()

    def _cut_off(self) -> None:
        for key, found in list(self._waits.items()):
            if not (self._stopping.is_set() and found.ending):
                found.task.cancel()
            self._again(key)

    async def _follow(self, key: ObjectKey, wait: Coroutine[Any, Any, T], end: Callable[[T], Coroutine[Any, Any, None]]) -> None:
        async def both() -> None:
            result = await wait
            self._waits[key].ending = True
            await end(result)

        if not await contained(both(), doing="health", about=str(key)):
            self._again(key)

    def _forget(self, key: ObjectKey, done: asyncio.Task[None]) -> None:
        found = self._waits.get(key)
        if found is not None and found.task is done:
            del self._waits[key]
