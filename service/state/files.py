"""Opening a SQLite file: checked, brought to the present schema, or set aside.

In: the path of a database that may not exist, may be damaged, or may be from a newer version. Out: two connections with the right settings.
https://www.sqlite.org/pragma.html#pragma_quick_check
"""

import logging
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

from service.state import moments, statements
from service.state.database import Connection, Database
from service.state.errors import StateTooNew, StateUnwritable

log = logging.getLogger(__name__)

_DISK = frozenset((sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY))
_DAMAGE = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))
_PARTS = ("", "-wal", "-shm")


class _File:
    """A connection to a file, which is never lost."""

    def __init__(self, connection: sqlite3.Connection, name: str) -> None:
        self._connection, self._name = connection, name

    away = ""

    def connect(self) -> Connection:
        return self._connection

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def roll_back(self) -> None:
        if self.in_transaction:
            self._connection.rollback()

    def translated(self, error: Exception) -> Exception:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code not in _DISK:
            return error
        full = code == sqlite3.SQLITE_FULL
        words = "the disk is full: free some space" if full else f"{error}: look at the disk and the rights of the state folder"
        return StateUnwritable(f"{self._name} cannot be used, {words}; nothing of this was stored")

    def close(self) -> None:
        self._connection.close()


def open_file(path: Path, *, durable: bool) -> Database:
    """Open `<name>.db`, whose migrations are `sql/sqlite/<name>_0001.sql` and so on.

    `durable`: each commit waits for the disk. A damaged file is renamed to `<file>.damaged-<time>` with a warning, and a new one is begun.
    Raises StateTooNew where a newer version wrote it (the file is left as it is), StateUnwritable.
    """
    sql, migrations = statements.load("connection", "sqlite"), statements.migrations(path.stem, "sqlite")
    try:
        if _damage(path, sql):
            _set_aside(path)
        return _open(path, sql, migrations, "every_commit_is_on_disk" if durable else "commits_may_be_lost_together")
    except (sqlite3.OperationalError, OSError) as error:
        raise StateUnwritable(f"{path} cannot be opened: {error}; look at the disk space and the rights of the state folder") from error


def delete_file(path: Path) -> None:
    """Remove a database with all its parts."""
    for part in _PARTS:
        path.with_name(path.name + part).unlink(missing_ok=True)


def _damage(path: Path, sql: Mapping[str, str]) -> bool:
    if not path.exists():
        return False
    try:
        with closing(_connect(path, sql)) as connection:
            found = connection.execute(sql["check"]).fetchone()[0]
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGE:
            raise
        found = str(error)
    if found != "ok":
        log.warning("the state file is damaged, a new one is begun without what it held", extra={"file": str(path), "error": found})
    return bool(found != "ok")


def _set_aside(path: Path) -> None:
    aside = f"{path.name}.damaged-{moments.now():%Y%m%dT%H%M%S.%fZ}"
    for part in _PARTS:
        old = path.with_name(path.name + part)
        if old.exists():
            old.rename(path.with_name(aside + part))
    log.warning("the damaged state file was kept for inspection", extra={"file": str(path.with_name(aside))})


def _connect(path: Path, sql: Mapping[str, str]) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    connection.execute(sql["busy_timeout"])
    return connection


def _open(
    path: Path,
    sql: Mapping[str, str],
    migrations: Sequence[Mapping[str, str]],
    sync: Literal["every_commit_is_on_disk", "commits_may_be_lost_together"],
) -> Database:
    writer = _connect(path, sql)
    try:
        version = writer.execute(sql["version"]).fetchone()[0]
        if version > len(migrations):
            raise StateTooNew(
                f"{path} was written by a newer sluice (schema {version}, this version knows schemas up to {len(migrations)}): "
                "start that version again, or give this one an empty --state folder; nothing was changed"
            )
        for name in ("write_ahead_log", sync, "log_size_bytes", "foreign_keys"):
            writer.execute(sql[name])
        _migrate(writer, sql, migrations)
        reader = _connect(path, sql)
    except BaseException:
        writer.close()
        raise
    reader.execute(sql["only_reads"])
    path.chmod(0o600)
    return Database(_File(writer, path.name), _File(reader, path.name), "sqlite", name=path.name)


def _migrate(connection: sqlite3.Connection, sql: Mapping[str, str], migrations: Sequence[Mapping[str, str]]) -> None:
    """Run each missing migration in a transaction of its own that also raises the version: a kill in between leaves a whole schema."""
    connection.execute(sql["begin"])
    try:
        version = connection.execute(sql["version"]).fetchone()[0]
        for number, migration in enumerate(migrations[version:], version + 1):
            for statement in migration.values():
                connection.execute(statement)
            connection.execute(f"{sql['version']} = {number}")  # a pragma takes no parameters
        connection.execute(sql["commit"])
    except BaseException:
        if connection.in_transaction:
            connection.execute(sql["rollback"])
        raise
