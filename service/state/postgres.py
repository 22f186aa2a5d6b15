"""PostgreSQL in place of `state.db`, for several replicas that share it.

In: a URL. Out: a Database whose connections are made again when the server comes back; until then whatever is asked of it fails at once,
and `Presence` says why. Its tables are in the first schema of the search path. https://www.psycopg.org/psycopg3/docs/
"""

import logging
import random
import secrets
import time
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import cast

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import DeadlockDetected, LockNotAvailable, SerializationFailure
from psycopg.pq import TransactionStatus
from psycopg.types.string import StrDumperUnknown

from service.state import statements
from service.state.database import Connection, Database
from service.state.digestkey import KEY_BYTES
from service.state.errors import StateAway, StateBusy, StateTooNew, StateUnwritable

log = logging.getLogger(__name__)

NAME = "the database"
START = timedelta(seconds=30)
FIRST_WAIT, LAST_WAIT = timedelta(milliseconds=100), timedelta(seconds=5)
_USUAL: Mapping[str, str | int] = {  # a server or a way to it that is gone in silence must not hold the writer for long
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "target_session_attrs": "primary",
    "application_name": "sluice",
}
_NOT_NOW = (
    "08",
    "53",
    "55",
    "57",
    "58",
    "25006",
    "XX",
)  # classes: connections, resources, state of an object, intervention, system, a standby, damage


class Presence:
    """Whether the server answers, as all connections to it see it. `away` says why not, "" while it does."""

    def __init__(self) -> None:
        self.away = ""
        self._failures, self._next_try = 0, 0.0

    def check(self) -> None:
        """Raises StateAway while it is too early to try again."""
        if self.away and time.monotonic() < self._next_try:
            raise StateAway(self.away)

    def lost(self, error: Exception) -> StateAway:
        """It does not answer: the error for whoever asked."""
        if not self.away:
            log.error("the database is away, nothing is accepted", extra={"error": _said(error)})
        self.away = f"PostgreSQL does not answer: {_said(error)}; nothing of this was stored"
        wait = min(FIRST_WAIT * 2 ** min(self._failures, 10), LAST_WAIT)
        self._failures += 1
        self._next_try = time.monotonic() + wait.total_seconds() * random.uniform(0.67, 1)  # noqa: S311 - spreads load, guards nothing
        return StateAway(self.away)

    def found(self) -> None:
        """It answers."""
        if self.away:
            log.info("the database is back")
        self.away, self._failures = "", 0


class Client(psycopg.Connection[tuple[object, ...]]):
    """With the one method that SQLite's connection has beside, and what others have said, where it listens."""

    def executemany(self, sql: str, values: Iterable[Mapping[str, object]], /) -> None:
        with self.cursor() as cursor:
            cursor.executemany(sql, values)

    def heard(self) -> list[str]:
        """The texts of other connections that have come; does not wait. Raises psycopg.Error."""
        self.pgconn.consume_input()
        found = [(each.pid, each.payload) for each in self._told]
        self._told.clear()
        while (note := self.pgconn.notifies()) is not None:
            found.append((note.be_pid, note.extra.decode()))
        return [text for pid, text in found if pid != self.info.backend_pid]

    def listens(self) -> None:
        """Keep what comes while a statement runs, too."""
        self._told: deque[psycopg.Notify] = deque()
        self.add_notify_handler(self._told.append)


class PostgresLink:
    """One connection, made when it is needed."""

    def __init__(self, url: str, presence: Presence, *, only_reads: bool = False) -> None:
        self._url, self._presence, self._only_reads = url, presence, only_reads
        self._sql = statements.load("connection", "postgres")
        self._connection: Client | None = None

    def connect(self) -> Connection:
        return cast("Connection", self.opened())

    def opened(self) -> Client:
        """The client's own connection. Raises StateAway."""
        if self._connection is None or self._connection.closed:
            self._presence.check()
            try:
                self._connection = self._made()
            except psycopg.Error as error:
                raise self._presence.lost(error) from error
            self._presence.found()
        return self._connection

    def _made(self) -> Client:
        made = Client.connect(self._url, autocommit=True)
        made.adapters.register_dumper(str, _Text)
        run, sql = made.execute, self._sql
        for name in ("statements_end", "locks_end", "transactions_end"):
            run(sql[name])
        if self._only_reads:
            run(sql["only_reads"])
        elif run(sql["how_durable"]).fetchall() == [("off",)]:  # what was accepted must outlive the server, too
            run(sql["every_commit_is_on_disk"])
        return made

    @property
    def away(self) -> str:
        return self._presence.away

    @property
    def in_transaction(self) -> bool:
        held = self._connection
        return held is not None and not held.closed and held.info.transaction_status != TransactionStatus.IDLE

    def roll_back(self) -> None:
        if self._connection is not None and self.in_transaction:
            try:
                self._connection.execute(self._sql["rollback"])
            except psycopg.Error:  # the server forgets what was not committed
                self.close()

    def translated(self, error: Exception) -> Exception:
        if not isinstance(error, psycopg.Error):
            return error
        lost = isinstance(error, psycopg.OperationalError) and error.sqlstate is None
        if self._connection is None or self._connection.closed or lost:  # whether the server is away shows the next attempt to connect
            self.close()
            return StateAway(f"the connection to {NAME} was lost: {_said(error)}; nothing of this was stored")
        if isinstance(error, (DeadlockDetected, SerializationFailure, LockNotAvailable)):
            return StateBusy(f"{NAME} had another at the same rows, try again: {_said(error)}")
        if (error.sqlstate or "").startswith(_NOT_NOW):
            self.close()  # a standby stays one on this connection
            return StateUnwritable(f"{NAME} cannot be used: {_said(error)}; nothing of this was stored")
        return error

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class _Text(StrDumperUnknown):
    """Text without the character that PostgreSQL's has not."""

    def dump(self, obj: str) -> bytes:
        return cast("bytes", super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}")))


def open_shared(url: str) -> tuple[Database, PostgresLink, bytes]:
    """Bring the tables to the present schema; return the database, a link for the bell, and the key of digests, which all replicas share.

    Blocks for as long as the server is away, START at most. Raises StateTooNew, StateUnwritable.
    """
    whole, presence = _completed(url), Presence()
    link = PostgresLink(whole, presence)
    end = time.monotonic() + START.total_seconds()
    while True:
        try:
            connection = link.opened()
            break
        except StateAway:
            if time.monotonic() > end:
                raise
            time.sleep(FIRST_WAIT.total_seconds())
    try:
        _migrate(connection)
        key = _digest_key(connection)
    except psycopg.Error as error:
        raise StateUnwritable(f"{NAME} cannot be prepared: {_said(error)}; the user needs the right to create tables in it") from error
    finally:
        link.close()
    writer, reader = PostgresLink(whole, presence), PostgresLink(whole, presence, only_reads=True)
    return Database(writer, reader, "postgres", name=NAME), PostgresLink(whole, presence), key


def _completed(url: str) -> str:
    """The URL with what is usual here wherever it says nothing. Raises StateUnwritable, which does not tell the password that it holds."""
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error as error:
        raise StateUnwritable("--state-url is not a URL of PostgreSQL: write it like postgresql://user:password@host/database") from error
    return make_conninfo(url, **{name: value for name, value in _USUAL.items() if name not in given})


def _migrate(connection: Client) -> None:
    """Run what is missing in one transaction, while other replicas that start wait."""
    sql, steps = statements.load("connection", "postgres"), statements.migrations("state", "postgres")
    with connection.transaction():
        connection.execute(sql["one_at_a_time"])
        connection.execute(sql["versions"])
        [(version,)] = connection.execute(sql["version"]).fetchall()
        assert isinstance(version, int)
        if version > len(steps):
            raise StateTooNew(
                f"{NAME} was written by a newer sluice (schema {version}, this version knows schemas up to {len(steps)}): "
                "start that version again, or name another database; nothing was changed"
            )
        for number, step in enumerate(steps[version:], version + 1):
            for statement in step.values():
                connection.execute(statement)
            connection.execute(sql["raise_version"], {"version": number})


def _digest_key(connection: Client) -> bytes:
    sql = statements.load("connection", "postgres")
    connection.execute(sql["keep_key"], {"name": "digest", "value": secrets.token_bytes(KEY_BYTES)})
    [(key,)] = connection.execute(sql["key"], {"name": "digest"}).fetchall()
    assert isinstance(key, bytes)
    return key


def _said(error: Exception) -> str:
    """In one line. The client's errors name hosts and users, never passwords."""
    return " ".join(str(error).split())[:300] or type(error).__name__
