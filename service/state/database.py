"""One SQLite file, one thread that writes, one that reads; writes that wait together are committed together.

In: work, a function of a connection. Out: what it returned, once it is on disk. All works that are queued run in one transaction and
share one wait for the disk; those that may be done together do it in a few statements, since each gives the interpreter away, and a busy
loop takes its time to give it back. Where one fails they run again, each in its own savepoint, so that it fails alone.
https://www.sqlite.org/wal.html
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from service.state.errors import StateBusy, StateClosed, StateUnwritable

T = TypeVar("T")
Item = TypeVar("Item")
Connection: TypeAlias = sqlite3.Connection

QUEUE_LIMIT = 4096
BATCH_LIMIT = 256
_DISK = frozenset((sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY))


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
    """Owns two connections to one file that `files.open_file` has prepared."""

    def __init__(self, writer: Connection, reader: Connection, sql: Mapping[str, str], *, name: str) -> None:
        self.name = name
        self._writer, self._reader, self._sql = writer, reader, sql
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._closed = False
        self._reads = ThreadPoolExecutor(1, thread_name_prefix=f"{name}-reader")
        self._thread = threading.Thread(target=self._write_all, name=f"{name}-writer", daemon=True)
        self._thread.start()

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Return `work(connection)` after the commit that holds it.

        `work` runs in the writer thread, must be short, must leave transactions alone, and may be called again when another work of its
        batch failed, or the batch could not be committed as a whole. It does not run if the caller is cancelled before its turn. Raises
        what `work` raises (nothing of it is kept then), StateBusy when too much waits, StateUnwritable when the disk refuses, StateClosed.
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
        """Return `work(connection)` over what is committed; the connection refuses writes. Raises what `work` raises, StateClosed."""
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
            return work(self._reader)
        except sqlite3.Error as error:
            raise _translated(error, self.name) from error

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
        """Commit all; where one fails, the others without it; where the transaction as a whole fails, each alone."""
        if self._commit(batch, self._run_together) is None:
            return
        error = self._commit(batch, self._run_in_savepoints)
        if error is not None and len(batch) > 1:
            for job in batch:
                job.error = self._commit([job], self._run_in_savepoints) or job.error
        elif error is not None:
            batch[0].error = error

    def _commit(self, batch: Sequence[_Job[Any]], run_all: Callable[[Sequence[_Job[Any]]], None]) -> Exception | None:
        """Return None after the commit (single works may carry an error), or why nothing at all was kept."""
        run = self._writer.execute
        try:
            run(self._sql["begin"])
            run_all(batch)
            run(self._sql["commit"])
        except Exception as error:  # noqa: BLE001 - of the transaction, or of a work without a savepoint, which then runs in one
            if self._writer.in_transaction:
                run(self._sql["rollback"])
            return _translated(error, self.name)
        return None

    def _run_together(self, batch: Sequence[_Job[Any]]) -> None:
        groups: dict[object, list[_Job[Any]]] = {}
        for job in batch:
            groups.setdefault(job.work if job.together else id(job), []).append(job)
        for group in groups.values():
            self._run(group)

    def _run_in_savepoints(self, batch: Sequence[_Job[Any]]) -> None:
        run = self._writer.execute
        for job in batch:
            job.result = job.error = None
            run(self._sql["savepoint"])
            try:
                self._run([job])
            except Exception as error:  # it belongs to the caller who waits for this work
                job.error = _translated(error, self.name)
                if not self._writer.in_transaction:  # SQLite gave up the whole transaction, as it does on a full disk
                    raise
                run(self._sql["undo"])
            run(self._sql["release"])

    def _run(self, group: Sequence[_Job[Any]]) -> None:
        first, *_ = group
        if first.together:
            first.work(self._writer, [job.item for job in group])
        else:
            first.result = first.work(self._writer)


def _translated(error: Exception, name: str) -> Exception:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code not in _DISK:
        return error
    full = code == sqlite3.SQLITE_FULL
    words = "the disk is full: free some space" if full else f"{error}: look at the disk and the rights of the state folder"
    return StateUnwritable(f"{name} cannot be used, {words}; nothing of this was stored")


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
