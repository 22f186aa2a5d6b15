"""The gate before every writer: open while this process holds the controller's Lease, shut otherwise.

Workers stand at the gate with what they would do; when it shuts, what runs is cancelled, so that two engines never write the same objects.
"""

import asyncio


class Gate:
    """Open or shut; starts shut."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._opened = asyncio.Event()
        self._shut = asyncio.Event()
        self._shut.set()

    @property
    def is_open(self) -> bool:
        return self._opened.is_set()

    def open(self) -> None:
        self._shut.clear()
        self._opened.set()

    def shut(self) -> None:
        self._opened.clear()
        self._shut.set()

    async def wait_open(self) -> None:
        await self._opened.wait()

    async def wait_shut(self) -> None:
        await self._shut.wait()
