"""The store: grouped commits, one process, and what it does with files that it cannot use."""

import asyncio
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psycopg
import pytest

from service.state import database
from service.state.errors import StateBusy, StateClosed, StateLocked, StateTooNew, StateUnwritable
from service.state.store import Connection, Store

pytestmark = pytest.mark.databases

ADD = "INSERT INTO events (stored_at, key, json) VALUES (0, '{}', '')"

HOLDING = """
import pathlib, sys, time
from service.state.store import Store
store = Store.open(pathlib.Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""
WRITING = """
import asyncio, os, pathlib, signal, sys
from service.state.store import Store

def work(number):
    return lambda connection: connection.execute("INSERT INTO events (stored_at, key, json) VALUES (0, ?, '{}')", (number,)).rowcount

async def main():
    store = Store.open(pathlib.Path(sys.argv[1]))
    await asyncio.gather(*(store.write(work(number)) for number in range(40)))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def add(key: str) -> Callable[[Connection], int]:
    return lambda connection: connection.execute(ADD.format(key)).rowcount


def tracing(connection: Connection) -> Callable[[Callable[[str], None] | None], None]:
    assert isinstance(connection, sqlite3.Connection)
    return connection.set_trace_callback


async def keys_in(store: Store) -> list[str]:
    return await store.read(lambda connection: [key for (key,) in connection.execute("SELECT key FROM events ORDER BY id")])


async def test_write_is_read_again_after_a_new_start(tmp_path: Path) -> None:
    first = Store.open(tmp_path)
    assert await first.write(add("a")) == 1
    await first.close()
    second = Store.open(tmp_path)
    assert await keys_in(second) == ["a"]
    await second.close()


async def test_write_that_fails_takes_no_other_of_its_batch_along(store: Store) -> None:
    def broken(connection: Connection) -> None:
        connection.execute(ADD.format("half"))
        raise LookupError("no")

    works = (add("a"), broken, add("a"), add("b"))
    results = await asyncio.gather(*map(store.write, works), return_exceptions=True)
    assert [type(each) for each in results] == [int, LookupError, type(results[2]), int]
    assert isinstance(results[2], (sqlite3.IntegrityError, psycopg.errors.UniqueViolation))
    assert await keys_in(store) == ["a", "b"]


@pytest.mark.databases("sqlite")
async def test_writes_that_wait_together_share_commits(store: Store) -> None:
    def slow(_: Connection) -> None:
        gate.wait_for_others()

    class Gate:
        def wait_for_others(self) -> None:
            asyncio.run_coroutine_threadsafe(all_queued.wait(), loop).result(5)

    gate, all_queued, loop = Gate(), asyncio.Event(), asyncio.get_running_loop()
    commits: list[str] = []
    await store.write(lambda connection: tracing(connection)(lambda sql: commits.append(sql) if sql == "COMMIT" else None))
    first = asyncio.create_task(store.write(slow))
    rest = [asyncio.create_task(store.write(add(str(number)))) for number in range(50)]
    await asyncio.sleep(0)
    commits.clear()
    all_queued.set()
    await asyncio.gather(first, *rest)
    await store.write(lambda connection: tracing(connection)(None))
    assert 1 <= len(commits) <= 4
    assert len(await keys_in(store)) == 50


@pytest.mark.databases("sqlite")
async def test_full_disk_refuses_what_does_not_fit_and_nothing_else(store: Store) -> None:
    def limit(pages: int) -> Callable[[Connection], None]:
        return lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()

    used = await store.read(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
    await store.write(limit(used + 2))
    big = "x" * 100_000
    results = await asyncio.gather(store.write(add("a")), store.write(add(big)), store.write(add("b")), return_exceptions=True)
    assert [type(each) for each in results] == [int, StateUnwritable, int]
    assert "free some space" in str(results[1])
    await store.write(limit(10_000))
    assert await store.write(add(big)) == 1
    assert await keys_in(store) == ["a", "b", big]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def stuff(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(descriptor, b"x" * 4096):
            pass
    except OSError:
        os.close(descriptor)


async def test_full_file_system_refuses_and_recovers(small_disk: Path) -> None:
    store = Store.open(small_disk / "state")
    stuff(small_disk / "stuffing")
    with pytest.raises(StateUnwritable, match="free some space"):
        await store.write(add("x" * 20_000))
    (small_disk / "stuffing").unlink()
    assert await store.write(add("a")) == 1
    assert await keys_in(store) == ["a"]
    await store.close()


def test_full_file_system_refuses_a_start(small_disk: Path) -> None:
    stuff(small_disk / "stuffing")
    with pytest.raises(StateUnwritable, match="space"):
        Store.open(small_disk / "state")


async def test_write_refuses_when_too_much_waits(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "QUEUE_LIMIT", 2)
    results = await asyncio.gather(*(store.write(add(str(number))) for number in range(200)), return_exceptions=True)
    assert {type(each) for each in results} == {int, StateBusy}
    assert len(await keys_in(store)) == results.count(1)


async def test_write_after_close_is_refused_and_queued_ones_are_kept(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    queued = [asyncio.create_task(store.write(add(str(number)))) for number in range(20)]
    await asyncio.sleep(0)
    await store.close()
    assert await asyncio.gather(*queued) == [1] * 20
    for use in (store.write, store.read):
        with pytest.raises(StateClosed):
            await use(add("late"))


async def test_write_whose_caller_was_cancelled_does_not_stop_the_writer(store: Store) -> None:
    task = asyncio.create_task(store.write(add("a")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await store.write(add("b")) == 1
    assert (await keys_in(store))[-1] == "b"


async def test_read_cannot_write(store: Store) -> None:
    with pytest.raises(StateUnwritable, match=r"read-?only"):
        await store.read(add("a"))


async def test_open_says_who_holds_the_folder(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDING, str(tmp_path)], stdout=subprocess.PIPE)  # noqa: ASYNC220 - returns at once
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StateLocked, match=rf"process {holder.pid} on \S+ since 20.*--state"):
            Store.open(tmp_path)
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert holder.stdout is not None
        holder.stdout.close()
    await Store.open(tmp_path).close()


async def test_open_refuses_state_of_a_newer_version_and_leaves_it(tmp_path: Path) -> None:
    await Store.open(tmp_path).close()
    with sqlite3.connect(tmp_path / "state.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = (tmp_path / "state.db").read_bytes()
    with pytest.raises(StateTooNew, match=r"schema 99.*start that version again"):
        Store.open(tmp_path)
    assert (tmp_path / "state.db").read_bytes() == before


async def test_open_begins_the_cache_anew_when_a_newer_version_wrote_it(tmp_path: Path) -> None:
    await Store.open(tmp_path).close()
    with sqlite3.connect(tmp_path / "cache.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    await Store.open(tmp_path).close()
    with sqlite3.connect(tmp_path / "cache.db") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)
    connection.close()


@pytest.mark.parametrize("damage", ["header", "page", "text"])
async def test_open_sets_a_damaged_file_aside_and_says_so(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    store = Store.open(tmp_path)
    for number in range(300):
        await store.write(add(f"{number:050}"))
    await store.close()
    path = tmp_path / "state.db"
    whole = path.read_bytes()
    page = whole[:4096] + b"\xff" * (len(whole) - 4096)
    broken = {"header": b"\0" * 4096 + whole[4096:], "page": page, "text": b"not a database at all" * 300}[damage]
    path.write_bytes(broken)
    with caplog.at_level(logging.WARNING):
        second = Store.open(tmp_path)
    assert await keys_in(second) == []
    await second.close()
    aside = [name for name in os.listdir(tmp_path) if name.startswith("state.db.damaged-")]
    assert [(tmp_path / name).read_bytes() for name in aside] == [broken]
    assert "damaged" in caplog.text


async def test_open_refuses_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateUnwritable, match="--state"):
        Store.open(tmp_path / "file" / "state")


async def test_accepted_write_outlives_a_kill(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", WRITING, str(tmp_path)])  # noqa: ASYNC221 - nothing else runs meanwhile
    assert killed.returncode == -signal.SIGKILL
    store = Store.open(tmp_path)
    assert len(await keys_in(store)) == 40
    await store.close()


async def test_works_done_together_are_one_call_and_one_that_fails_fails_alone(store: Store) -> None:
    calls: list[list[str]] = []

    def put(connection: Connection, names: Sequence[str]) -> None:
        calls.append(list(names))
        connection.executemany(store.statements("outbox")["add"], [{"stored_at": 0, "key": name, "json": "{}"} for name in names])
        if "a" in names and len(calls) > 1:
            raise LookupError("no")

    first = asyncio.create_task(store.write(lambda _: time.sleep(0.1)))  # the others wait for it
    await asyncio.sleep(0.02)
    await asyncio.gather(first, *(store.write_together(put, name) for name in "abc"))
    assert calls == [["a", "b", "c"]]
    results = await asyncio.gather(*(store.write_together(put, name) for name in "xay"), return_exceptions=True)
    assert [type(each) for each in results] == [type(None), LookupError, type(None)]
    assert await keys_in(store) == ["a", "b", "c", "x", "y"]
