"""A wire to a real server that passes some bytes of an answer and then breaks, in the way that a test asks for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal

Fault = Literal["", "cut", "hang", "slow"]
CHUNK = 4096


class Wire:
    """`fault` happens on each connection once `after` bytes of answers have passed; "slow" is a byte a second."""

    def __init__(self, port: int) -> None:
        self.port, self._target = 0, port
        self.fault: Fault = ""
        self.after = 0

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Wire"]:
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        onward_reader, onward = await asyncio.open_connection("127.0.0.1", self._target)
        asking = asyncio.create_task(_copy(reader, onward))
        try:
            with suppress(ConnectionError, asyncio.CancelledError):
                await self._answer(onward_reader, writer)
        finally:
            asking.cancel()
            for each in (onward, writer):
                each.close()
            self._tasks.discard(task)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed = 0
        while data := await reader.read(CHUNK):
            room = self.after - passed if self.fault else len(data)
            writer.write(data[: max(0, room)])
            await writer.drain()
            passed += len(data)
            if room < len(data):
                await self._break(data[max(0, room) :], writer)

    async def _break(self, rest: bytes, writer: asyncio.StreamWriter) -> None:
        if self.fault == "cut":
            raise ConnectionError
        for at in range(len(rest) if self.fault == "slow" else 0):
            writer.write(rest[at : at + 1])
            await writer.drain()
            await asyncio.sleep(1)
        await asyncio.Event().wait()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
