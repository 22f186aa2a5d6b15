"""Health waits that hold no worker: each runs as a task of its own and is superseded by the next run of its object."""

import asyncio
from collections.abc import Coroutine

from service.kinds.meta import ObjectKey


class HealthWaits:
    """A room. At most one wait for each object."""

    def __init__(self) -> None:
        self._tasks: dict[ObjectKey, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._stopping = asyncio.Event()

    def start(self, key: ObjectKey, wait: Coroutine[None, None, None]) -> None:
        """Run `wait`, which handles its own errors, until it ends or is cancelled."""
        self.cancel(key)
        if self._group is None or self._stopping.is_set():
            wait.close()
            return
        task = self._group.create_task(wait, name=f"health {key}")
        self._tasks[key] = task
        task.add_done_callback(lambda done: self._tasks.pop(key) if self._tasks.get(key) is done else None)

    def cancel(self, key: ObjectKey) -> None:
        """A new run supersedes the wait; the old one raises no alarm."""
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()

    def waiting(self, key: ObjectKey) -> bool:
        return key in self._tasks

    def stop(self) -> None:
        """End all waits; their runs stay open in the journal and are taken up after the next start."""
        self._stopping.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            await self._stopping.wait()
            for task in list(self._tasks.values()):
                task.cancel()
