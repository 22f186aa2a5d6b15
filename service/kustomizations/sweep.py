"""The statuses of Kustomizations that merely moved to a new revision: written behind everything else.

Newest revision only: an entry that is superseded is replaced in its place, one that runs after all is dropped. Bounded in how many are
written at once, and each write first lets the reconciles go, for a moment at most, so that a busy queue cannot starve it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from service.cluster.client import ApiAway, ApiError
from service.kinds.meta import ObjectKey
from service.kustomizations.records import Records

log = logging.getLogger(__name__)
AT_ONCE = 4
YIELD_SECONDS = 0.25
AWAY_SECONDS = 2.0


class Sweep:
    """A room. `write(key, revision)` patches one status; `idle` is set while no reconcile runs or waits."""

    def __init__(self, *, records: Records, write: Callable[[ObjectKey, str], Awaitable[None]], idle: asyncio.Event) -> None:
        self._records = records
        self._write = write
        self._idle = idle
        self._due: dict[ObjectKey, str] = {}
        self._wake = asyncio.Event()
        self._stopping = False

    def moved(self, key: ObjectKey, revision: str) -> None:
        """The object stands at `revision` without a run."""
        self._due[key] = revision
        self._wake.set()

    def drop(self, key: ObjectKey) -> None:
        """A run writes the status itself."""
        self._due.pop(key, None)

    def stop(self) -> None:
        """What is not written yet follows after the next start: revisions are compared then."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(AT_ONCE):
                tasks.create_task(self._writer(), name=f"sweep.{number}")

    async def _writer(self) -> None:
        while not self._stopping:
            if not self._due:
                self._wake.clear()
                await self._wake.wait()
                continue
            await self._let_pass()
            if self._due:
                key = next(iter(self._due))
                await self._one(key, self._due.pop(key))

    async def _let_pass(self) -> None:
        try:
            async with asyncio.timeout(YIELD_SECONDS):
                await self._idle.wait()
        except TimeoutError:
            return

    async def _one(self, key: ObjectKey, revision: str) -> None:
        try:
            await self._write(key, revision)
            await self._records.save(key)
        except ApiAway:
            self._due.setdefault(key, revision)
            await asyncio.sleep(AWAY_SECONDS)
        except ApiError as error:
            if error.status != 404:
                log.warning("status not moved", extra={"object": str(key), "revision": revision, "error": str(error)})
