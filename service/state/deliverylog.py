"""The delivery log: what came to the hook paths, accepted or not, what it caused and how long that took.

In: the rows of the inbox, and notes of what was refused, filtered or repeated, which are kept in cache.db, so that a flood of them never
makes an accepted delivery wait. Out: entries, newest first.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from service.kinds.meta import ObjectKey
from service.state import keys, moments
from service.state.store import Connection, Store

KEEP_REFUSALS = 1_000  # of each state
DETAIL_LIMIT = 2_000
AGED_AT_ONCE = 500

NoteState = Literal["refused", "filtered", "duplicate", "missed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A delivery that was not stored, or one that never came (`missed`). `receiver` is None where the path named none."""

    state: NoteState
    reason: str
    detail: str
    trace: str
    receiver: ObjectKey | None = None
    sender_type: str = ""
    delivery_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """One object that a delivery concerns. `result` and `detail` are for the delivery log, as are the times of the run that counted."""

    object: ObjectKey
    state: Literal["waiting", "reconciled", "gone", "suspended"]
    result: str = ""
    detail: str = ""
    began_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One line of the delivery log. `state` is queued, done, aside, or that of a note; `row` is 0 for a note.

    `ended_at` is when the last target had its outcome; `replay_of` the row that a replay repeats.
    """

    row: int
    at: datetime
    receiver: ObjectKey | None
    sender_type: str
    delivery_id: str
    state: str
    verdict: str
    detail: str
    trace: str
    targets: tuple[TargetState, ...] = ()
    ended_at: datetime | None = None
    replay_of: int | None = None


class DeliveryLog:
    """Each method is one transaction of each file; all raise as `Database.read` and `Database.write` do."""

    def __init__(self, store: Store) -> None:
        self._store, self._sql, self._notes = store, store.statements("inbox"), store.cache.statements("log")

    async def note(self, note: Note) -> None:
        """Log a delivery that was not stored; the newest KEEP_REFUSALS of a state are kept.

        Not durable: a flood of them must not slow what is accepted.
        """
        values = {
            "at": moments.to_stored(moments.now()), "receiver": keys.to_stored(note.receiver) if note.receiver else "",
            "sender_type": note.sender_type, "delivery_id": note.delivery_id[:200], "reason": note.reason,
            "detail": note.detail[:DETAIL_LIMIT], "trace": note.trace, "state": note.state,
        }  # fmt: skip

        def work(connection: Connection) -> None:
            connection.execute(self._notes["refuse"], values)
            connection.execute(self._notes["forget_refusals"], {"keep": KEEP_REFUSALS, "state": note.state})

        await self._store.cache.write(work)

    async def newest(self, limit: int = 100, receiver: str = "") -> list[LogEntry]:
        """The newest entries, newest first; with `receiver`, which is `name` or `namespace/name`, those of it alone."""
        values = {"limit": limit, "receiver": f"/{receiver}" if receiver else ""}

        def accepted(connection: Connection) -> list[LogEntry]:
            return list(self._entries(connection, connection.execute(self._sql["log"], values).fetchall()))

        notes = await self._store.cache.read(lambda connection: connection.execute(self._notes["refusals"], values).fetchall())
        found = await self._store.read(accepted) + [_note_entry(row) for row in notes]
        return sorted(found, key=lambda entry: entry.at, reverse=True)[:limit]

    async def find(self, wanted: str) -> LogEntry | None:
        """The newest entry with this row, trace or sender's id."""
        values = {"wanted": wanted, "number": int(wanted) if re.fullmatch("[1-9][0-9]{0,17}", wanted) else 0}

        def accepted(connection: Connection) -> list[LogEntry]:
            return list(self._entries(connection, connection.execute(self._sql["found"], values).fetchall()))

        for entry in await self._store.read(accepted):
            return entry
        notes = await self._store.cache.read(lambda connection: connection.execute(self._notes["refusal"], values).fetchall())
        return _note_entry(notes[0]) if notes else None

    async def counts(self) -> Mapping[str, int]:
        """How many deliveries are queued, done, aside and refused (of those still kept)."""
        found: dict[str, int] = {"queued": 0, "done": 0, "aside": 0}
        found.update(await self._store.read(lambda connection: connection.execute(self._sql["counts"]).fetchall()))
        refusals = await self._store.cache.read(lambda connection: connection.execute(self._notes["count_refusals"]).fetchone())
        return found | {"refused": refusals[0]}

    async def age(self, *, keep: int, longest: timedelta) -> int:
        """Forget what is older than `longest` or beyond the newest `keep`; return how many deliveries that were."""
        before, gone = moments.to_stored(moments.now() - longest), 0

        def work(connection: Connection) -> int:
            newest = connection.execute(self._sql["newest"]).fetchone()[0]
            values = {"newest": newest, "keep": keep, "before": before, "limit": AGED_AT_ONCE}
            return connection.execute(self._sql["forget_aged"], values).rowcount

        def tidy(connection: Connection) -> None:
            connection.execute(self._notes["age_refusals"], {"before": before})

        while (some := await self._store.write(work)) > 0:
            gone += some
        await self._store.cache.write(tidy)
        return gone

    def _entries(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> Iterator[LogEntry]:
        for row in rows:
            yield _entry(row, connection.execute(self._sql["log_targets"], {"row": row[0]}).fetchall())


def target_of(row: Sequence[Any]) -> TargetState:
    """A row of `log_targets`, or its first four columns."""
    key, state, result, detail, *times = row
    began_at, ended_at = (moments.from_stored(each) if each is not None else None for each in times or (None, None))
    return TargetState(object=keys.from_stored(key), state=state, result=result, detail=detail, began_at=began_at, ended_at=ended_at)


def _entry(row: Sequence[Any], targets: Sequence[Sequence[Any]]) -> LogEntry:
    number, at, receiver, sender_type, delivery_id, state, verdict, detail, trace, ended_at, replay_of = row
    return LogEntry(
        row=number, at=moments.from_stored(at), receiver=keys.from_stored(receiver), sender_type=sender_type, delivery_id=delivery_id,
        state=state, verdict=verdict, detail=detail, trace=trace, targets=tuple(map(target_of, targets)),
        ended_at=moments.from_stored(ended_at) if ended_at is not None else None, replay_of=replay_of,
    )  # fmt: skip


def _note_entry(row: Sequence[Any]) -> LogEntry:
    at, receiver, sender_type, delivery_id, reason, detail, trace, state = row
    return LogEntry(
        row=0, at=moments.from_stored(at), receiver=keys.from_stored(receiver) if receiver else None, sender_type=sender_type,
        delivery_id=delivery_id, state=state, verdict=reason, detail=detail, trace=trace,
    )  # fmt: skip
