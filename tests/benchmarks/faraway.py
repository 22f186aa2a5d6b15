"""A TCP proxy that makes a server on loopback seem far away: all bytes, and the opening of a connection, take the time of the distance.

In: where the server is and the milliseconds of a round trip. Out: a port on 127.0.0.1 while the block runs.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_PIECE = 64 * 1024


@asynccontextmanager
async def faraway(port: int, *, round_trip_ms: float) -> AsyncIterator[int]:
    """Serve 127.0.0.1:`port` from a distance; yields the port to use instead."""
    one_way = round_trip_ms / 2000
    conversations: set[asyncio.Task[None]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        conversations.add(task)
        try:
            await asyncio.sleep(2 * one_way)  # the handshake
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_carry(reader, far_writer, one_way), name="there")
                tasks.create_task(_carry(far_reader, writer, one_way), name="back")
        except* (OSError, asyncio.CancelledError):
            pass  # one side has gone, or the block has ended
        finally:
            writer.close()
            conversations.discard(task)

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(conversations):
            task.cancel()
        await asyncio.gather(*conversations, return_exceptions=True)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, one_way: float) -> None:
    """Hand on what comes, each piece after its time; the next may be on its way meanwhile."""
    loop = asyncio.get_running_loop()
    on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def arrive() -> None:
        while True:
            due, data = await on_the_way.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                with suppress(OSError):
                    writer.write_eof()
                return
            writer.write(data)
            await writer.drain()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(arrive(), name="arrive")
        while True:
            data = await reader.read(_PIECE)
            on_the_way.put_nowait((loop.time() + one_way, data))
            if not data:
                return
