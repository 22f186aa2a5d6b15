"""Objects in memory as serialised JSON, written through to one SQLite file; every change is an event with its resourceVersion.

Goes in: whole objects. Comes out: `Stored` rows, sorted lists, and after the commit `Event`s to whoever listens. One writer thread
commits in groups (WAL, synchronous NORMAL: a killed process loses nothing that was answered, a power cut may lose the last commits).
"""

import asyncio
import bisect
import json
import queue
import sqlite3
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from service.apiserver.refusal import Refused, expired

Object = dict[str, Any]
EventType = Literal["ADDED", "MODIFIED", "DELETED"]

EVENTS_KEPT = 5_000  # a resource; older resourceVersions are answered with 410
BATCH = 512
SEPARATORS = (",", ":")


@dataclass(frozen=True, slots=True)
class Stored:
    """One object as it is stored: `resource` is "group/plural", `body` its JSON with apiVersion first."""

    resource: str
    namespace: str
    name: str
    version: int
    body: bytes
    labels: dict[str, str]
    uid: str
    owners: tuple[str, ...]
    deleting: bool

    def load(self) -> Object:
        """Return the object, parsed anew: the caller may change it."""
        obj: Object = json.loads(self.body)
        return obj


class Event:
    """A committed change. `line` is the watch line, serialised once for all watchers."""

    __slots__ = ("_line", "new", "old", "type", "version")

    def __init__(self, kind: EventType, version: int, new: Stored, old: Stored | None) -> None:
        self.type, self.version, self.new, self.old = kind, version, new, old
        self._line: bytes | None = None

    @property
    def line(self) -> bytes:
        """The event as a line of a watch in the storage version."""
        if self._line is None:
            self._line = watch_line(self.type, self.new.body)
        return self._line


def watch_line(kind: str, body: bytes) -> bytes:
    """Return one line of a watch."""
    return b'{"type":"' + kind.encode() + b'","object":' + body + b"}\n"


def serialise(obj: Object) -> bytes:
    """Return an object's JSON, apiVersion and kind first."""
    head = {"apiVersion": obj.get("apiVersion"), "kind": obj.get("kind")}
    return json.dumps({**head, **obj}, separators=SEPARATORS, ensure_ascii=False).encode()


def stored(resource: str, version: int, obj: Object) -> Stored:
    """Return the row of an object; sets its resourceVersion."""
    meta = obj["metadata"]
    meta["resourceVersion"] = str(version)
    return Stored(
        resource,
        meta.get("namespace", ""),
        meta["name"],
        version,
        serialise(obj),
        meta.get("labels") or {},
        meta.get("uid", ""),
        tuple(owner["uid"] for owner in meta.get("ownerReferences") or ()),
        "deletionTimestamp" in meta,
    )


def _statements() -> dict[str, str]:
    text = resources.files("service.apiserver").joinpath("store.sql").read_text("utf-8")
    parts = (part.split("\n", 1) for part in text.split("-- name: ")[1:])
    return {name.strip(): body.strip() for name, body in parts}


@dataclass(slots=True)
class _Job:
    event: Event
    done: asyncio.Future[None]


class Store:
    """All objects. Reads and changes happen on the loop; the file is written by one thread."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._path, self._loop, self._sql = path, loop, _statements()
        self._objects: dict[str, dict[tuple[str, str], Stored]] = defaultdict(dict)
        self._order: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self._per_namespace: Counter[str] = Counter()
        self._history: dict[str, deque[Event]] = defaultdict(lambda: deque(maxlen=EVENTS_KEPT))
        self._dependents: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
        self._uids: dict[str, tuple[str, str, str]] = {}
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._listeners: list[Callable[[Event], None]] = []
        self._failed: str | None = None
        self._load()
        self.floor = self.committed = self.version
        self._thread = threading.Thread(target=self._write_all, name="apiserver-writer", daemon=True)
        self._thread.start()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    def _load(self) -> None:
        connection = self._connect()
        try:
            connection.execute(self._sql["create"])
            connection.execute(self._sql["create_counter"])
            last = connection.execute(self._sql["last_version"]).fetchone()
            self.version: int = last[0] if last else 0
            for resource, _namespace, _name, version, body in connection.execute(self._sql["all"]):
                self._keep(stored(resource, version, json.loads(body)))
        finally:
            connection.close()

    def _keep(self, row: Stored) -> None:
        rows, key = self._objects[row.resource], (row.namespace, row.name)
        old = rows.get(key)
        if old is None:
            bisect.insort(self._order[row.resource], key)
            self._per_namespace[row.namespace] += 1
        elif old.owners != row.owners:
            self._unlink(old)
        rows[key] = row
        self._uids[row.uid] = (row.resource, *key)
        for owner in row.owners:
            self._dependents[owner].add((row.resource, *key))

    def _unlink(self, row: Stored) -> None:
        for owner in row.owners:
            left = self._dependents.get(owner, set())
            left.discard((row.resource, row.namespace, row.name))
            if not left:
                self._dependents.pop(owner, None)

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` on the loop with every committed event, in order."""
        self._listeners.append(listener)

    def get(self, resource: str, namespace: str, name: str) -> Stored | None:
        """Return one object or None."""
        return self._objects[resource].get((namespace, name))

    def by_uid(self, uid: str) -> Stored | None:
        """Return the object with a uid or None."""
        key = self._uids.get(uid)
        return self.get(*key) if key else None

    def resources(self) -> list[str]:
        """Return the resources that have objects."""
        return [resource for resource, rows in self._objects.items() if rows]

    def count(self, resource: str) -> int:
        """Return how many objects a resource has."""
        return len(self._objects[resource])

    def select(self, resource: str, namespace: str | None = None, *, after: tuple[str, str] | None = None) -> Iterable[Stored]:
        """Yield the objects of a resource by namespace and name, of one namespace if given, beyond the key `after`."""
        rows, order = self._objects[resource], self._order[resource]
        start = bisect.bisect_left(order, (namespace, "")) if namespace is not None else 0
        if after is not None:
            start = max(start, bisect.bisect_right(order, after))
        for at in range(start, len(order)):
            key = order[at]
            if namespace is not None and key[0] != namespace:
                return
            yield rows[key]

    def holds(self, namespace: str) -> int:
        """Return how many objects a namespace has."""
        return self._per_namespace[namespace]

    def dependents(self, uid: str) -> list[Stored]:
        """Return the objects that name `uid` in their ownerReferences."""
        found = (self.get(*key) for key in sorted(self._dependents.get(uid, ())))
        return [row for row in found if row is not None]

    def within(self, namespace: str) -> list[Stored]:
        """Return everything in a namespace."""
        return [row for resource in list(self._objects) for row in self.select(resource, namespace)]

    def since(self, resource: str, version: int) -> list[Event]:
        """Return the committed events of a resource after `version`. Raises Refused 410 when they are no longer known."""
        history = self._history[resource]
        lost = history[0].version - 1 if len(history) == history.maxlen else self.floor
        if version < min(lost, self.version):
            raise expired(f"too old resource version: {version} ({lost + 1})")
        return [event for event in history if event.version > version]

    async def put(self, resource: str, obj: Object) -> Stored:
        """Create or replace an object under the next resourceVersion; returns after the commit. Raises Refused 500."""
        self._check()
        row = stored(resource, self.version + 1, obj)
        self.version += 1
        old = self.get(resource, row.namespace, row.name)
        self._keep(row)
        await self._commit(Event("MODIFIED" if old else "ADDED", row.version, row, old))
        return row

    async def delete(self, row: Stored, obj: Object | None = None) -> Stored:
        """Remove an object; the event carries its last form (`obj`, if it changed) under a new resourceVersion. Raises Refused 500."""
        self._check()
        self.version += 1
        last = stored(row.resource, self.version, obj or row.load())
        self._objects[row.resource].pop((row.namespace, row.name), None)
        order = self._order[row.resource]
        del order[bisect.bisect_left(order, (row.namespace, row.name))]
        self._per_namespace[row.namespace] -= 1
        self._uids.pop(row.uid, None)
        self._unlink(row)
        await self._commit(Event("DELETED", self.version, last, row))
        return last

    def _check(self) -> None:
        if self._failed:
            raise Refused(
                500, "InternalError", f"the state cannot be written: {self._failed}; free space in {self._path.parent} and restart"
            )

    async def _commit(self, event: Event) -> None:
        job = _Job(event, self._loop.create_future())
        self._jobs.put(job)
        await job.done

    def _write_all(self) -> None:
        connection = self._connect()
        try:
            while (job := self._jobs.get()) is not None:
                batch, ended = [job], False
                while len(batch) < BATCH and not self._jobs.empty():
                    following = self._jobs.get()
                    if following is None:
                        ended = True
                        break
                    batch.append(following)
                error = self._write(connection, batch)
                self._loop.call_soon_threadsafe(self._settle, batch, error)
                if ended:
                    return
        finally:
            connection.close()

    def _write(self, connection: sqlite3.Connection, batch: list[_Job]) -> str | None:
        try:
            connection.execute("BEGIN")
            for job in batch:
                row = job.event.new
                if job.event.type == "DELETED":
                    connection.execute(self._sql["delete"], (row.resource, row.namespace, row.name))
                else:
                    connection.execute(self._sql["put"], (row.resource, row.namespace, row.name, row.version, row.body))
            connection.execute(self._sql["count_to"], (batch[-1].event.version,))
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            return str(error)
        return None

    def _settle(self, batch: list[_Job], error: str | None) -> None:
        self._failed = self._failed or error
        for job in batch:
            if self._failed:
                if not job.done.done():
                    job.done.set_exception(Refused(500, "InternalError", f"the state cannot be written: {self._failed}"))
                continue
            self._history[job.event.new.resource].append(job.event)
            self.committed = job.event.version
            for listener in self._listeners:
                listener(job.event)
            if not job.done.done():
                job.done.set_result(None)

    async def close(self) -> None:
        """Write what is queued and end the writer."""
        self._jobs.put(None)
        await self._loop.run_in_executor(None, self._thread.join)
