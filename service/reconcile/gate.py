"""The gate before every writer: open while this process holds the controller's Lease, shut otherwise.

Workers stand at the gate with what they would do; when it shuts, what runs is cancelled, so that two engines never write the same objects.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any


class Gate:
    """Open or shut; starts shut. Even when opened it lets nobody through before `needs` are set: the caches that must be complete,
    since an object that is merely not listed yet would pass for one that does not exist."""

    def __init__(self, name: str, needs: Sequence[asyncio.Event] = ()) -> None:
        self.name = name
        self._needs = tuple(needs)
        self._opened = asyncio.Event()
        self._shut = asyncio.Event()
        self._shut.set()

    @property
    def is_open(self) -> bool:
        return self._opened.is_set() and all(need.is_set() for need in self._needs)

    def open(self) -> None:
        self._shut.clear()
        self._opened.set()

    def shut(self) -> None:
        self._opened.clear()
        self._shut.set()

    async def wait_open(self) -> None:
        while not self.is_open:
            await self._opened.wait()
            for need in self._needs:
                await need.wait()

    async def wait_shut(self) -> None:
        await self._shut.wait()

    async def while_open(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Until cancelled: begin the work when the gate opens, cancel it when it shuts, and so on. Raises what the work raises."""
        while True:
            await self.wait_open()
            tasks = asyncio.ensure_future(work()), asyncio.ensure_future(self.wait_shut())
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                if tasks[0].done():
                    tasks[0].result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
