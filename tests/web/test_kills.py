"""SIGKILL at random moments while hooks pour in, again and again on the same state: no delivery that was answered with 200 is lost.

A server that has everything imported is forked for each life, so that twenty take 3 to 6 seconds; `make soak` has two hundred.
"""

import asyncio
import http.client
import itertools
import multiprocessing
import multiprocessing.connection
import random
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from service.state.inbox import Inbox
from service.state.store import Store
from service.triggers.index import webhook_path
from tests.benchmarks.hooks import serving
from tests.triggers.scene import TOKEN, push_body, signed

CONNECTIONS = 4
LONGEST_LIFE_SECONDS = 0.12
PATH = webhook_path(TOKEN, "web", "apps")


class Senders:
    """Git hosts that send one push after another; `accepted` are the ids that were answered with 200."""

    def __init__(self) -> None:
        self.accepted: set[str] = set()
        self.numbers = itertools.count()

    async def send(self, port: int, first: asyncio.Event) -> None:
        """Until the connection breaks."""
        with suppress(OSError, asyncio.IncompleteReadError, http.client.HTTPException):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                while True:
                    await self._one(reader, writer)
                    first.set()
            finally:
                writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = f"d{next(self.numbers)}"
        body = push_body(f"{int(name[1:]):040}")
        lines = [f"{key}: {value}" for key, value in signed(body, delivery=name).items()]
        head = "\r\n".join([f"POST {PATH} HTTP/1.1", "Host: h", f"Content-Length: {len(body)}", *lines])
        writer.write(f"{head}\r\n\r\n".encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        self.accepted.add(name)
        await reader.readexactly(int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))


def born(folder: Path, state_url: str) -> tuple[multiprocessing.process.BaseProcess, multiprocessing.connection.Connection, int]:
    """A service on the state in the folder, the end of its pipe, and its port."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.benchmarks.hooks"])
    ours, theirs = context.Pipe()
    process = context.Process(target=serving, args=(folder, theirs, False, state_url))
    process.start()
    theirs.close()
    return process, ours, ours.recv()


async def one_life(folder: Path, state_url: str, senders: Senders, seconds: float) -> None:
    """From the start to the kill, so many seconds after the first answer."""
    process, pipe, port = await asyncio.to_thread(born, folder, state_url)
    first = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CONNECTIONS):
                tasks.create_task(senders.send(port, first))
            async with asyncio.timeout(20):
                await first.wait()
            await asyncio.sleep(seconds)
            process.kill()
    finally:
        process.kill()
        await asyncio.to_thread(process.join)
        pipe.close()
    assert process.exitcode == -signal.SIGKILL


async def killed_often(folder: Path, times: int, seed: int, state_url: str = "") -> tuple[int, int]:
    """How many deliveries were accepted over all lives, and how many of them are not in the inbox, done, at the end."""
    chance, senders = random.Random(seed), Senders()
    for _ in range(times):
        await one_life(folder, state_url, senders, chance.uniform(0, LONGEST_LIFE_SECONDS))
    process, pipe, _ = await asyncio.to_thread(born, folder, state_url)
    try:
        await drained(pipe)
        await asyncio.to_thread(process.join, 20)
    finally:
        process.kill()
    store = Store.open(folder / "state", state_url)
    rows = await store.read(lambda connection: connection.execute("SELECT delivery_id, state, verdict FROM deliveries").fetchall())
    left = await Inbox(store).log.counts()
    await store.close()
    assert left["queued"] == left["aside"] == 0
    done = {name for name, state, verdict in rows if (state, verdict) == ("done", "reconciled")}
    return len(senders.accepted), len(senders.accepted - done)


async def drained(pipe: multiprocessing.connection.Connection) -> None:
    """Return when the last life has carried everything out and has ended."""
    await asyncio.sleep(1.0)
    pipe.send("stop")
    counts = await asyncio.to_thread(pipe.recv)
    assert counts["queued"] == 0, "all is carried out after the last start"


@pytest.mark.fuzz
@pytest.mark.databases
async def test_no_accepted_delivery_is_lost_over_twenty_kills(tmp_path: Path, state_url: str) -> None:
    accepted, lost = await killed_often(tmp_path, 20, 20261121, state_url)
    assert accepted > 20
    assert lost == 0


@pytest.mark.soak
async def test_no_accepted_delivery_is_lost_over_two_hundred_kills(tmp_path: Path) -> None:
    accepted, lost = await killed_often(tmp_path, 200, seed=200)
    print(f"{accepted} deliveries accepted over 200 kills, {lost} lost")
    assert accepted > 200
    assert lost == 0
