"""One database, one thread that writes, one that reads; writes that wait together are committed together.

In: work, a function of a connection. Out: what it returned, once it is on disk. All works that are queued run in one transaction and
share one wait for the disk; those that may be done together do it in a few statements, since each gives the interpreter away, and a busy
loop takes its time to give it back, or asks a server. Where one fails they run again, each in its own savepoint, so that it fails alone.
What is peculiar to SQLite and to PostgreSQL is behind `Link`: `files.py` and `postgres.py`.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from service.state import statements
from service.state.errors import StateAway, StateBusy, StateClosed, StateInDoubt

T = TypeVar("T")
Item = TypeVar("Item")

QUEUE_LIMIT = 4096
BATCH_LIMIT = 256


class Rows(Protocol):
    """What a statement found or did, as both clients give it."""

    @property
    def rowcount(self) -> int: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """What work is given."""

    def execute(self, sql: str, values: Any = ..., /) -> Rows: ...
    def executemany(self, sql: str, values: Any, /) -> object: ...


class Link(Protocol):
    """A connection, and what differs between databases."""

    def connect(self) -> Connection:
        """The connection, made again where it was lost. Raises StateAway."""

    @property
    def away(self) -> str:
        """Why it cannot be had, "" as far as is known."""

    @property
    def in_transaction(self) -> bool:
        """Whether there is one to be ended."""

    def roll_back(self) -> None:
        """End it, if there is one, without what was done in it."""

    def translated(self, error: Exception) -> Exception:
        """The StateError that an error of the client means, StateAway if the connection is lost; any other error itself."""

    def close(self) -> None: ...


@dataclass(slots=True)
class _Job(Generic[T]):
    """One call of `write`, or of `write_together` with its item."""

    work: Callable[..., T]
    future: asyncio.Future[T]
    item: Any = None
    together: bool = False
    result: T | None = None
    error: BaseException | None = None


class Database:
    """Owns two connections to what `files.open_file` or `postgres.open_shared` has prepared."""

    def __init__(self, writer: Link, reader: Link, dialect: statements.Dialect, *, name: str) -> None:
        self.name = name
        self._writer, self._reader, self._dialect = writer, reader, dialect
        self._sql = self.statements("connection")
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._closed = False
        self._reads = ThreadPoolExecutor(1, thread_name_prefix=f"{name}-reader")
        self._thread = threading.Thread(target=self._write_all, name=f"{name}-writer", daemon=True)
        self._thread.start()

    def statements(self, file: str) -> Mapping[str, str]:
        """The named statements of a file, as this database wants them."""
        return statements.load(file, self._dialect)

    @property
    def away(self) -> str:
        """Why it cannot be reached, "" as far as is known."""
        return self._writer.away

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Return `work(connection)` after the commit that holds it.

        `work` runs in the writer thread, must be short, must leave transactions alone, and may be called again when another work of its
        batch failed, or the batch could not be committed as a whole. It does not run if the caller is cancelled before its turn. Raises
        what `work` raises (nothing of it is kept then), StateBusy when too much waits, StateUnwritable when the disk or the server refuses,
        StateClosed.
        """
        return await self._queue(_Job(work, asyncio.get_running_loop().create_future()))

    async def write_together(self, work: Callable[[Connection, Sequence[Item]], None], item: Item) -> None:
        """The same for a work that is called once for all items that wait for it, oldest first."""
        await self._queue(_Job(work, asyncio.get_running_loop().create_future(), item=item, together=True))

    async def _queue(self, job: _Job[T]) -> T:
        if self._closed:
            raise StateClosed(f"{self.name} is closed: the service is stopping")
        if self._jobs.qsize() >= QUEUE_LIMIT:
            raise StateBusy(f"{QUEUE_LIMIT} writes wait for {self.name} already; try again in some seconds")
        self._jobs.put(job)
        return await job.future

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Return `work(connection)` over what is committed; the connection refuses writes. Work that lost it is done again.

        Raises what `work` raises, StateAway, StateClosed.
        """
        if self._closed:
            raise StateClosed(f"{self.name} is closed: the service is stopping")
        return await asyncio.get_running_loop().run_in_executor(self._reads, self._read, work)

    async def close(self) -> None:
        """Commit what is queued, then close the file."""
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        await asyncio.get_running_loop().run_in_executor(self._reads, self._thread.join)
        self._reads.shutdown(wait=True)
        self._reader.close()

    def abandon(self) -> None:
        """Close without an event loop, for an open that failed half-way; nothing may be queued."""
        self._closed = True
        self._jobs.put(None)
        self._thread.join()
        self._reads.shutdown(wait=True)
        self._reader.close()

    def _read(self, work: Callable[[Connection], T]) -> T:
        try:
            return self._read_once(work)
        except StateAway:
            return self._read_once(work)

    def _read_once(self, work: Callable[[Connection], T]) -> T:
        try:
            return work(self._reader.connect())
        except Exception as error:
            found = self._reader.translated(error)
            if found is error:
                raise
            raise found from error

    def _write_all(self) -> None:
        running = True
        while running:
            batch: list[_Job[Any]] = []
            job = self._jobs.get()
            while job is not None:
                if not job.future.cancelled():
                    batch.append(job)
                if len(batch) >= BATCH_LIMIT or self._jobs.empty():
                    break
                job = self._jobs.get_nowait()
            running = job is not None
            if batch:
                self._commit_or_split(batch)
                _resolve(batch)
        self._writer.close()

    def _commit_or_split(self, batch: Sequence[_Job[Any]]) -> None:
        """Commit all; where one fails, the others without it; where the transaction as a whole fails, each alone. What may have been kept
        is not done again."""
        error = self._commit(batch, self._run_together)
        if error is not None and not isinstance(error, StateInDoubt):
            error = self._commit(batch, self._run_in_savepoints)
        if error is None:
            return
        for job in batch:
            alone = len(batch) > 1 and not isinstance(error, StateInDoubt)
            job.error = (self._commit([job], self._run_in_savepoints) or job.error) if alone else error

    def _commit(self, batch: Sequence[_Job[Any]], run_all: Callable[[Connection, Sequence[_Job[Any]]], None]) -> Exception | None:
        """Return None after the commit (single works may carry an error), or why nothing at all was kept."""
        link, committing = self._writer, False
        try:
            connection = link.connect()
            connection.execute(self._sql["begin"])
            run_all(connection, batch)
            committing = True
            connection.execute(self._sql["commit"])
        except Exception as error:  # noqa: BLE001 - of the transaction, or of a work without a savepoint, which then runs in one
            link.roll_back()
            found = link.translated(error)
            return StateInDoubt(f"{found}, or all of it was") if committing and isinstance(found, StateAway) else found
        return None

    def _run_together(self, connection: Connection, batch: Sequence[_Job[Any]]) -> None:
        groups: dict[object, list[_Job[Any]]] = {}
        for job in batch:
            groups.setdefault(job.work if job.together else id(job), []).append(job)
        for group in groups.values():
            _run(connection, group)

    def _run_in_savepoints(self, connection: Connection, batch: Sequence[_Job[Any]]) -> None:
        for job in batch:
            job.result = job.error = None
            connection.execute(self._sql["savepoint"])
            try:
                _run(connection, [job])
            except Exception as error:  # it belongs to the caller who waits for this work
                job.error = self._writer.translated(error)
                if not self._writer.in_transaction:  # SQLite gave up the whole of it, as it does on a full disk, or the server is away
                    raise
                connection.execute(self._sql["undo"])
            connection.execute(self._sql["release"])


def _run(connection: Connection, group: Sequence[_Job[Any]]) -> None:
    first, *_ = group
    if first.together:
        first.work(connection, [job.item for job in group])
    else:
        first.result = first.work(connection)


def _resolve(batch: Sequence[_Job[Any]]) -> None:
    """Hand all results over with one wake-up for each event loop that waits (there is one, except in tests)."""
    loops = {job.future.get_loop() for job in batch}
    for loop in loops:
        ours = [job for job in batch if job.future.get_loop() is loop]
        if not loop.is_closed():
            loop.call_soon_threadsafe(_set_results, ours)


def _set_results(batch: Sequence[_Job[Any]]) -> None:
    for job in batch:
        if job.future.done():
            continue
        if job.error is None:
            job.future.set_result(job.result)
        else:
            job.future.set_exception(job.error)
