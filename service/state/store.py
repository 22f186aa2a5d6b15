"""The state folder: locked for one process, with `state.db` for what must not be lost and `cache.db` for what may be deleted at any time.

In: a folder, and perhaps the URL of a PostgreSQL that several replicas share, which then stands in for `state.db`. Out: `write` and `read`
of work on what must not be lost, `cache`, the same for the other file, `digest_key`, and for replicas `bell`. What is in them say
`inbox.py`, `journal.py`, `outbox.py`, `cache.py` and `digestkey.py`.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from service.state import files
from service.state.database import Connection, Database
from service.state.digestkey import digest_key
from service.state.errors import StateTooNew, StateUnwritable
from service.state.lock import FolderLock

if TYPE_CHECKING:
    from service.state.bell import Bell

__all__ = ["Connection", "Store"]

T = TypeVar("T")
Item = TypeVar("Item")
log = logging.getLogger(__name__)


class Store:
    """Made by `open`. All methods but that run on an event loop."""

    def __init__(self, lock: FolderLock, state: Database, cache: Database, *, digest_key: bytes, bell: "Bell | None" = None) -> None:
        self._lock, self._state, self.cache, self.digest_key, self.bell = lock, state, cache, digest_key, bell
        self.statements: Callable[[str], Mapping[str, str]] = state.statements
        self.on_events: Callable[[], None] = _nobody  # set through `Outbox.listen`

    @classmethod
    def open(cls, folder: Path, url: str = "") -> "Store":
        """Lock the folder (made if missing), check both files and bring them to the present schema; with `url`, the database too.

        Blocks for as long as it takes to read `state.db` once. Raises StateLocked, StateTooNew, StateUnwritable.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StateUnwritable(f"{folder} cannot be made: {error.strerror}; name a folder that can be written with --state") from error
        lock = FolderLock.take(folder)
        state: Database | None = None
        try:
            if url:
                state, bell, key = _open_shared(url)
            else:
                state, bell, key = files.open_file(folder / "state.db", durable=True), None, digest_key(folder)
            return cls(lock, state, _open_cache(folder / "cache.db"), digest_key=key, bell=bell)
        except BaseException:
            if state is not None:
                state.abandon()
            lock.release()
            raise

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Return `work(connection)` once it is on disk. See `Database.write` for what work may do and what is raised."""
        return await self._state.write(work)

    async def write_together(self, work: Callable[[Connection, Sequence[Item]], None], item: Item) -> None:
        """Return once what `work` does with all items that wait for it is on disk."""
        await self._state.write_together(work, item)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Return `work(connection)` over what is committed."""
        return await self._state.read(work)

    @property
    def away(self) -> str:
        """Why nothing can be stored at present, "" where nothing is known."""
        return self._state.away

    async def close(self) -> None:
        """Commit what is queued, close both files, let another process in."""
        await self._state.close()
        await self.cache.close()
        self._lock.release()


def _open_shared(url: str) -> "tuple[Database, Bell, bytes]":
    try:
        from service.state import bell, postgres  # an extra
    except ImportError as error:
        raise StateUnwritable("--state-url needs the extra postgres: pip install 'sluice-gitops[postgres]'") from error
    database, link, key = postgres.open_shared(url)
    return database, bell.Bell(link, database.statements("connection")), key


def _nobody() -> None:
    """Nobody listens yet: what is stored waits."""


def _open_cache(path: Path) -> Database:
    try:
        return files.open_file(path, durable=False)
    except StateTooNew:
        log.info("the cache is from a newer version and is begun anew", extra={"file": str(path)})
        files.delete_file(path)
        return files.open_file(path, durable=False)
