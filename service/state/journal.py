"""The journal: runs that have begun to write, so that one that was cut off is run again and its event is raised all the same.

In: a row before a run's first write. Out: what is unfinished after a start. Closing the row and storing the run's events is one
transaction: there is never a change without its event, nor an event for nothing.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from service.kinds.meta import ObjectKey
from service.state import keys, moments
from service.state.outbox import EventRow, EventWriter
from service.state.store import Connection, Store

__all__ = ["EventRow", "Journal", "Run", "event_key"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that is about to write. `planned`: what it means to change, for people."""

    object: ObjectKey
    uid: str
    generation: int
    revision: str
    planned: tuple[str, ...]
    trace: str = ""
    opened_at: datetime = field(default_factory=moments.now)


def event_key(*, uid: str, generation: int, revision: str, reason: str, changes: Iterable[str]) -> str:
    """The key that makes an event of a run unique. What may rightly happen twice at one revision needs something more in `changes`."""
    parts = [uid, str(generation), revision, reason, hashlib.sha256(json.dumps(sorted(changes)).encode()).hexdigest()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class Journal:
    """Rows of `state.db`. All methods raise as `Database.write` does. Who listens to the outbox hears of the events that `close` stores."""

    def __init__(self, store: Store) -> None:
        self._store, self._sql, self._events = store, store.statements("journal"), EventWriter(store)

    async def open(self, run: Run) -> int:
        """Store a run before its first write and return its id."""
        values = {
            "opened_at": moments.to_stored(run.opened_at), "object": keys.to_stored(run.object), "uid": run.uid,
            "generation": run.generation, "revision": run.revision, "planned": json.dumps(run.planned), "trace": run.trace,
        }  # fmt: skip
        [(row_id,)] = await self._store.write(lambda connection: connection.execute(self._sql["open"], values).fetchall())
        return int(row_id)

    async def close(self, run_id: int | None, events: Sequence[EventRow]) -> int:
        """End a run (None: one that never opened a row) and store its events, in one transaction; return how many events were new.

        Older rows of the same uid end with it: the later run has done what they had planned. Events whose key is there already are dropped.
        """

        def work(connection: Connection) -> int:
            if run_id is not None:
                connection.execute(self._sql["close"], {"id": run_id})
            return sum(self._events.add(connection, event) for event in events)

        if run_id is None and not events:
            return 0
        stored = await self._store.write(work)
        if stored:
            self._store.on_events()
        return stored

    async def unfinished(self) -> list[tuple[int, Run]]:
        """The runs that opened and did not close, with their ids, oldest first."""
        rows = await self._store.read(lambda connection: connection.execute(self._sql["unfinished"]).fetchall())
        return [
            (row[0], Run(
                opened_at=moments.from_stored(row[1]), object=keys.from_stored(row[2]), uid=row[3], generation=row[4],
                revision=row[5], planned=tuple(json.loads(row[6])), trace=row[7],
            ))
            for row in rows
        ]  # fmt: skip
