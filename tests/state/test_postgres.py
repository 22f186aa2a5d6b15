"""PostgreSQL in place of the file: shared, lost and found again, and what is kept or not kept then."""

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

import service.state
from service.state import postgres as shared
from service.state.digestkey import KEY_BYTES
from service.state.errors import StateAway, StateInDoubt, StateTooNew, StateUnwritable
from service.state.store import Connection, Store
from tests.peers.postgres import Postgres, running

ADD = "INSERT INTO events (stored_at, key, json) VALUES (0, '{}', '')"


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    with postgres.fresh() as fresh:
        yield fresh


@pytest.fixture
async def store(tmp_path: Path, url: str) -> AsyncIterator[Store]:
    opened = Store.open(tmp_path / "one", url)
    yield opened
    await opened.close()


@pytest.fixture
async def beside(tmp_path: Path, url: str) -> AsyncIterator[Store]:
    """Another replica's."""
    opened = Store.open(tmp_path / "two", url)
    yield opened
    await opened.close()


def add(key: str) -> Callable[[Connection], int]:
    return lambda connection: connection.execute(ADD.format(key)).rowcount


def found(statement: str) -> Callable[[Connection], list[object]]:
    return lambda connection: [each for (each,) in connection.execute(statement)]


KEYS = found("SELECT key FROM events ORDER BY id")


async def test_replicas_see_what_each_has_stored_and_share_the_key_of_digests(store: Store, beside: Store) -> None:
    await store.write(add("a"))
    await beside.write(add("b"))
    assert await store.read(KEYS) == await beside.read(KEYS) == ["a", "b"]
    assert store.digest_key == beside.digest_key
    assert len(store.digest_key) == KEY_BYTES


async def test_replicas_that_start_together_make_the_tables_once(tmp_path: Path, url: str) -> None:
    stores = await asyncio.gather(*(asyncio.to_thread(Store.open, tmp_path / str(number), url) for number in range(4)))
    assert await stores[0].read(found("SELECT version FROM schema_version")) == [1]
    for each in stores:
        await each.close()


async def test_writes_that_wait_together_share_commits(store: Store) -> None:
    held = threading.Event()
    first = asyncio.create_task(store.write(lambda _: held.wait(5)))
    rest = [asyncio.create_task(store.write(add(str(number)))) for number in range(50)]
    await asyncio.sleep(0)
    held.set()
    await asyncio.gather(first, *rest)
    assert len(await store.read(found("SELECT DISTINCT xmin::text FROM events"))) <= 2


async def test_lost_connections_are_made_again_without_a_failure(store: Store, url: str) -> None:
    await store.write(add("a"))
    await store.read(KEYS)
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sluice'")
    assert await store.read(KEYS) == ["a"]
    assert await store.write(add("b")) == 1


async def test_a_commit_that_was_cut_off_is_not_done_again(store: Store) -> None:
    """Who asked hears that it is not known, and asks again, knowing how to tell doubles."""
    calls: list[int] = []

    def killed_at_commit(connection: Connection) -> None:
        calls.append(1)
        connection.execute(ADD.format("a"))
        connection.execute(
            "CREATE FUNCTION pg_temp.leave() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END'"
        )
        leaving = "CREATE CONSTRAINT TRIGGER leaving AFTER INSERT ON once DEFERRABLE INITIALLY DEFERRED"
        connection.execute(f"{leaving} FOR EACH ROW EXECUTE FUNCTION pg_temp.leave()")
        connection.execute("INSERT INTO once (key, told_at) VALUES ('a', 0)")

    with pytest.raises(StateInDoubt, match="or all of it was"):
        await store.write(killed_at_commit)
    assert len(calls) == 1
    assert await store.write(add("b")) == 1
    assert await store.read(KEYS) == ["b"]


async def test_a_server_that_is_away_refuses_at_once_and_is_found_again(tmp_path: Path, postgres: Postgres, url: str) -> None:
    store = Store.open(tmp_path, url)
    await store.write(add("a"))
    postgres.end()
    try:
        for _ in range(3):
            async with asyncio.timeout(1):
                with pytest.raises(StateAway, match="PostgreSQL does not answer"):
                    await store.write(add("b"))
        with pytest.raises(StateAway):
            await store.read(KEYS)
        assert "PostgreSQL does not answer" in store.away
    finally:
        postgres.start()
    async with asyncio.timeout(10):
        while True:
            try:
                await store.write(add("c"))
                break
            except StateUnwritable:
                await asyncio.sleep(0.05)
    assert await store.read(KEYS) == ["a", "c"]
    assert store.away == ""
    await store.close()


async def test_rows_that_two_want_crosswise_are_both_stored_in_the_end(store: Store, beside: Store) -> None:
    """A deadlock: the server throws one out, whose work is done again."""
    met = threading.Barrier(2)

    def crosswise(one: str, other: str) -> Callable[[Connection], None]:
        def work(connection: Connection) -> None:
            connection.execute("INSERT INTO once (key, told_at) VALUES (%s, 0) ON CONFLICT DO NOTHING", (one,))
            if not met.broken:
                with suppress(threading.BrokenBarrierError):
                    met.wait(2)
            connection.execute("INSERT INTO once (key, told_at) VALUES (%s, 0) ON CONFLICT DO NOTHING", (other,))
            met.abort()

        return work

    await asyncio.gather(store.write(crosswise("a", "b")), beside.write(crosswise("b", "a")))
    assert await store.read(found("SELECT count(*) FROM once")) == [2]


async def test_text_without_what_the_server_does_not_take(store: Store) -> None:
    values = {"stored_at": 0, "key": "a\0b", "json": "{}"}
    add_event = store.statements("outbox")["add"]
    await store.write(lambda connection: connection.execute(add_event, values).fetchall())
    assert await store.read(KEYS) == ["a�b"]


async def test_a_server_that_may_lose_commits_is_told_not_to(tmp_path: Path, url: str) -> None:
    lax = url.replace("search_path", "synchronous_commit%3Doff%20-csearch_path")
    store = Store.open(tmp_path, lax)
    setting = found("SELECT current_setting('synchronous_commit')")
    assert await store.write(setting) == ["on"]
    await store.close()


async def test_open_refuses_tables_of_a_newer_version(tmp_path: Path, url: str) -> None:
    await Store.open(tmp_path, url).close()
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("INSERT INTO schema_version VALUES (99)")
    with pytest.raises(StateTooNew, match=r"schema 99.*another database"):
        Store.open(tmp_path, url)


@pytest.mark.parametrize("wrong", ["postgresql://me:hidden@127.0.0.1:1/x", "postgresql://me:hidden@127.0.0.1:port/x", "nothing hidden"])
def test_open_says_what_is_wrong_and_not_the_password(tmp_path: Path, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "START", shared.FIRST_WAIT)
    with pytest.raises(StateUnwritable) as failed:
        Store.open(tmp_path, wrong)
    assert "hidden" not in str(failed.value)


async def test_without_the_extra_it_is_named_and_the_folder_is_left_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(service.state, "postgres")
    monkeypatch.setitem(sys.modules, "service.state.postgres", None)
    with pytest.raises(StateUnwritable, match=r"pip install 'sluice-gitops\[postgres\]'"):
        Store.open(tmp_path, "postgresql://127.0.0.1/x")
    await Store.open(tmp_path).close()


def test_nobody_else_pays_for_the_client() -> None:
    found = subprocess.run([sys.executable, "-c", "import sys, service.compose; print('psycopg' in sys.modules)"], capture_output=True)
    assert found.stdout == b"False\n", found.stderr


@pytest.mark.fuzz
async def test_a_crash_of_the_server_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    with running(fsync=True) as server, server.fresh() as url:
        store = Store.open(tmp_path, url)
        kept: list[object] = []
        for number in range(200):
            if number == 60:
                server.end(signal.SIGQUIT)
                starting = asyncio.create_task(asyncio.to_thread(server.start))
            try:
                await store.write(add(f"{number:03}"))
                kept.append(f"{number:03}")
            except StateUnwritable:
                await asyncio.sleep(0.05)
        await starting
        await asyncio.sleep(0.3)
        assert set(kept) <= set(await store.read(KEYS))
        assert len(kept) >= 60
        await store.close()
