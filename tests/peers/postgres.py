"""A PostgreSQL server of our own: made, started, restarted, killed. It refuses to run as root, so it runs as `postgres` then.

In: a folder. Out: URLs of fresh, empty schemas. Programs: $PATH, or where Debian's package puts them.
"""

import ctypes
import glob
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from urllib.parse import quote

from tests.peers.binaries import NotBuilt
from tests.peers.process import PeerFailed, free_port

_USER = "postgres"
_PR_SET_PDEATHSIG = 1
_FAST = ("shared_buffers=16MB", "max_connections=60", "autovacuum=off", "log_min_messages=fatal", "unix_socket_directories=")


def program(name: str) -> str:
    """The path of `postgres` or `initdb`. Raises NotBuilt."""
    places = [shutil.which(name), *sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), reverse=True)]
    if found := next(filter(None, places), None):
        return found
    raise NotBuilt("PostgreSQL is not installed: apt-get install postgresql")


def missing_postgres() -> str:
    """Why no server can be started, or ""."""
    try:
        program("initdb")
        if os.geteuid() == 0:
            pwd.getpwnam(_USER)
    except NotBuilt as error:
        return str(error)
    except KeyError:
        return f"PostgreSQL does not run as root, and there is no user {_USER}"
    return ""


class Postgres:
    """A server in a folder of its own; `fsync`: as safe, and as slow, as a real one."""

    def __init__(self, folder: Path, *, fsync: bool = False) -> None:
        self._folder, self._port = folder, free_port()
        self._settings = (*_FAST, f"fsync={'on' if fsync else 'off'}", f"port={self._port}", "listen_addresses=127.0.0.1")
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            shutil.chown(folder, _USER, _USER)
        form = ("--no-sync", "-A", "trust", "-U", _USER, "-E", "UTF8", "--locale=C.UTF-8")
        made = self._run(program("initdb"), *form, "-D", folder / "data")
        if made.wait() != 0:
            raise PeerFailed(f"initdb ended with {made.returncode}: {self._log()}")

    def start(self) -> None:
        """Return when it takes connections."""
        import psycopg

        settings = [part for each in self._settings for part in ("-c", each)]
        self._process = self._run(program("postgres"), "-D", self._folder / "data", *settings)
        for _ in range(400):
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
            except psycopg.OperationalError:
                if self._process.poll() is not None:
                    raise PeerFailed(f"postgres ended with {self._process.returncode}: {self._log()}") from None
                time.sleep(0.05)
            else:
                return
        raise PeerFailed(f"postgres was not ready: {self._log()}")

    def end(self, number: int = signal.SIGINT) -> None:
        """Stop: SIGINT throws everyone out, SIGQUIT is a crash."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    def url(self, schema: str = "public") -> str:
        """A URL in a schema."""
        return f"postgresql://{_USER}@127.0.0.1:{self._port}/postgres?options={quote(f'-csearch_path={schema}')}"

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """The URL of an empty schema, which is dropped at the end."""
        import psycopg

        name = f"t_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        yield self.url(name)
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sluice'")
            connection.execute(f"DROP SCHEMA {name} CASCADE")

    def _run(self, *argv: object) -> "subprocess.Popen[bytes]":
        user = {"user": _USER, "group": _USER, "extra_groups": []} if os.geteuid() == 0 else {}
        with (self._folder / "log").open("ab") as output:
            return subprocess.Popen(
                list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", preexec_fn=_die_with_parent, **user
            )

    def _log(self) -> str:
        return (self._folder / "log").read_bytes()[-3000:].decode(errors="replace")


def _die_with_parent() -> None:
    """However the tests end. (After the change of user, which would undo it.)"""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


@contextmanager
def running(*, fsync: bool = False) -> Iterator[Postgres]:
    """A server; in a folder that its user can reach, which pytest's are not."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-postgres-", dir="/tmp"))
    try:
        server = Postgres(folder, fsync=fsync)
        server.start()
        try:
            yield server
        finally:
            server.end(signal.SIGQUIT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def databases(also_postgres: bool) -> Iterator[Sequence[Callable[[], AbstractContextManager[str]]]]:
    """For measurements: what gives the URL of an empty state, "" for SQLite; with a real PostgreSQL, whose commits wait for the disk."""
    if not also_postgres:
        yield [lambda: nullcontext("")]
        return
    with running(fsync=True) as server:
        yield [lambda: nullcontext(""), server.fresh]
