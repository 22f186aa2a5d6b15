"""The inbox: webhook deliveries that were verified and stored, until every object that they name has been looked at.

In: deliveries, and the outcomes of runs. Out: what is pending, and the delivery log. A delivery is done when each of its targets has an
outcome from a run that began after it was stored, or is gone or suspended.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from service.kinds.meta import ObjectKey
from service.state import keys, moments, statements
from service.state.errors import StateBusy
from service.state.store import Connection, Store

TARGET_STATES = ("waiting", "reconciled", "gone", "suspended")
ATTEMPTS = 10
BACKLOG = 10_000
KEEP_ROWS, KEEP_TIME = 10_000, timedelta(days=14)
KEEP_REFUSALS = 1_000
_DETAIL_LIMIT = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDelivery:
    """A verified delivery. `delivery_id` is the sender's, "" where it has none; `body_digest` any digest of the body."""

    receiver: ObjectKey
    sender_type: str
    delivery_id: str
    body_digest: str
    events_json: str
    trace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The row that holds a delivery. `duplicate`: it was there before, from the same delivery with the same body, queued or done."""

    row: int
    duplicate: bool
    stored_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """One object that a delivery concerns. `result` and `detail` are for the delivery log."""

    object: ObjectKey
    state: Literal["waiting", "reconciled", "gone", "suspended"]
    result: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDelivery:
    """A delivery that is not done. `targets` is empty until they were determined."""

    row: int
    stored_at: datetime
    receiver: ObjectKey
    sender_type: str
    delivery_id: str
    body_digest: str
    events_json: str
    trace: str
    attempts: int
    targets: tuple[TargetState, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One line of the delivery log. `state` is queued, done, aside or refused; `row` is 0 for a refusal."""

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


class Inbox:
    """Rows of `state.db`. Each method is one transaction; all raise as `Database.write` does."""

    def __init__(self, store: Store) -> None:
        self._store, self._sql = store, statements.load("inbox")

    async def put(self, new: NewDelivery) -> int:
        """Store a delivery and return its row, on disk when this returns. See `accept`."""
        return (await self.accept(new)).row

    async def accept(self, new: NewDelivery) -> Accepted:
        """Store a delivery, or find the one that it repeats. Raises StateBusy when BACKLOG deliveries are not done."""
        now = moments.now()
        row = {
            "stored_at": moments.to_stored(now), "receiver": keys.to_stored(new.receiver), "sender_type": new.sender_type,
            "delivery_id": new.delivery_id, "body_digest": new.body_digest, "events": new.events_json, "trace": new.trace,
        }  # fmt: skip

        def work(connection: Connection) -> Accepted:
            first = connection.execute(self._sql["same"], row).fetchone()
            if first is not None:
                return Accepted(row=first[0], duplicate=True, stored_at=moments.from_stored(first[1]))
            if connection.execute(self._sql["queued"], {"limit": BACKLOG}).fetchone()[0] >= BACKLOG:
                raise StateBusy(f"{BACKLOG} deliveries are not done yet; try again in some minutes")
            newest = connection.execute(self._sql["put"], row).lastrowid or 0
            before = moments.to_stored(now - KEEP_TIME)
            connection.execute(self._sql["forget"], {"newest": newest, "keep": KEEP_ROWS, "before": before})
            return Accepted(row=newest, duplicate=False, stored_at=now)

        return await self._store.write(work)

    async def pending(self) -> list[StoredDelivery]:
        """All deliveries that are neither done nor set aside, oldest first, with the targets known so far."""

        def work(connection: Connection) -> list[StoredDelivery]:
            targets: dict[int, list[TargetState]] = {}
            for row, *target in connection.execute(self._sql["pending_targets"]):
                targets.setdefault(row, []).append(_target(target))
            return [_delivery(row, tuple(targets.get(row[0], ()))) for row in connection.execute(self._sql["pending"])]

        return await self._store.read(work)

    async def targets(self, row: int, states: Sequence[TargetState]) -> bool:
        """Note which objects a delivery concerns and where each stands; return whether that ends the delivery.

        Targets that are named again are replaced, others stay. Without any target the delivery stays queued: end it with `done`.
        """
        now = moments.to_stored(moments.now())

        def work(connection: Connection) -> bool:
            for each in states:
                values = {"row": row, "object": keys.to_stored(each.object), "state": each.state, "result": each.result}
                connection.execute(self._sql["target"], values | {"detail": each.detail[:_DETAIL_LIMIT]})
            return bool(self._finish(connection, (row,), now))

        return await self._store.write(work)

    async def settle(self, outcome: TargetState, *, began_at: datetime, rows: Iterable[int] = ()) -> list[int]:
        """Note how a run of an object ended and return the deliveries that are done with it.

        It counts for every delivery that waits for the object and was stored before the run began, and for `rows`, the ones that caused the
        run (a clock that was set back does not make those wait). Costs nothing but the commit where none waits.
        """
        values = {
            "object": keys.to_stored(outcome.object), "state": outcome.state, "result": outcome.result,
            "detail": outcome.detail[:_DETAIL_LIMIT], "began_at": moments.to_stored(began_at), "rows": json.dumps(sorted(rows)),
        }  # fmt: skip
        now = moments.to_stored(moments.now())

        def work(connection: Connection) -> list[int]:
            settled = [row for (row,) in connection.execute(self._sql["settle"], values)]
            return self._finish(connection, settled, now)

        return await self._store.write(work)

    async def done(self, row: int, verdict: str, detail: str) -> None:
        """End a delivery: `verdict` is one word, such as `ignored`; nothing happens to one that has ended."""
        values = {"row": row, "verdict": verdict, "detail": detail[:_DETAIL_LIMIT], "now": moments.to_stored(moments.now())}

        def work(connection: Connection) -> None:
            connection.execute(self._sql["done"], values)

        await self._store.write(work)

    async def failed(self, row: int, error: str) -> int:
        """Count a failure to handle a delivery and return how many there were; the ATTEMPTS-th sets it aside, where it blocks nothing."""
        values = {"row": row, "error": error[:_DETAIL_LIMIT], "now": moments.to_stored(moments.now())}

        def work(connection: Connection) -> int:
            counted = connection.execute(self._sql["failed"], values).fetchall()
            found = counted or connection.execute(self._sql["attempts"], values).fetchall()
            attempts = int(found[0][0]) if found else 0
            if attempts >= ATTEMPTS:
                connection.execute(self._sql["set_aside"], values)
            return attempts

        return await self._store.write(work)

    async def refused(
        self, *, receiver: ObjectKey | None, sender_type: str, delivery_id: str, reason: str, detail: str, trace: str
    ) -> None:
        """Log a delivery that was not accepted (`receiver`: None where the path named none); the newest KEEP_REFUSALS are kept.

        Not durable: a flood of them must not slow what is accepted.
        """
        values = {
            "at": moments.to_stored(moments.now()), "receiver": keys.to_stored(receiver) if receiver else "", "sender_type": sender_type,
            "delivery_id": delivery_id[:200], "reason": reason, "detail": detail[:_DETAIL_LIMIT], "trace": trace,
        }  # fmt: skip

        def work(connection: Connection) -> None:
            connection.execute(self._sql["refuse"], values)
            connection.execute(self._sql["forget_refusals"], {"keep": KEEP_REFUSALS})

        await self._store.cache.write(work)

    async def counts(self) -> Mapping[str, int]:
        """How many deliveries are queued, done, aside and refused (of those still kept)."""
        found: dict[str, int] = {"queued": 0, "done": 0, "aside": 0}
        found.update(await self._store.read(lambda connection: connection.execute(self._sql["counts"]).fetchall()))
        refusals = await self._store.cache.read(lambda connection: connection.execute(self._sql["count_refusals"]).fetchone())
        return found | {"refused": refusals[0]}

    async def log(self, limit: int = 100) -> list[LogEntry]:
        """The newest entries of the delivery log, accepted and refused, newest first."""

        def accepted(connection: Connection) -> list[LogEntry]:
            rows = connection.execute(self._sql["log"], {"limit": limit}).fetchall()
            return [_entry(row, connection.execute(self._sql["log_targets"], {"row": row[0]}).fetchall()) for row in rows]

        refusals = await self._store.cache.read(lambda connection: connection.execute(self._sql["refusals"], {"limit": limit}).fetchall())
        found = await self._store.read(accepted) + [_refused_entry(row) for row in refusals]
        return sorted(found, key=lambda entry: entry.at, reverse=True)[:limit]

    def _finish(self, connection: Connection, rows: Iterable[int], now: int) -> list[int]:
        ended: list[int] = []
        for row in rows:
            values = {"row": row, "verdict": "reconciled", "detail": "", "now": now}
            ended += [found for (found,) in connection.execute(self._sql["finish"], values).fetchall()]
        return ended


def _target(row: Sequence[Any]) -> TargetState:
    key, state, result, detail = row
    return TargetState(object=keys.from_stored(key), state=state, result=result, detail=detail)


def _delivery(row: Sequence[Any], targets: tuple[TargetState, ...]) -> StoredDelivery:
    number, stored_at, receiver, sender_type, delivery_id, body_digest, events, trace, attempts = row
    return StoredDelivery(
        row=number, stored_at=moments.from_stored(stored_at), receiver=keys.from_stored(receiver), sender_type=sender_type,
        delivery_id=delivery_id, body_digest=body_digest, events_json=events, trace=trace, attempts=attempts, targets=targets,
    )  # fmt: skip


def _entry(row: Sequence[Any], targets: Sequence[Sequence[Any]]) -> LogEntry:
    number, at, receiver, sender_type, delivery_id, state, verdict, detail, trace = row
    return LogEntry(
        row=number, at=moments.from_stored(at), receiver=keys.from_stored(receiver), sender_type=sender_type, delivery_id=delivery_id,
        state=state, verdict=verdict, detail=detail, trace=trace, targets=tuple(map(_target, targets)),
    )  # fmt: skip


def _refused_entry(row: Sequence[Any]) -> LogEntry:
    at, receiver, sender_type, delivery_id, reason, detail, trace = row
    return LogEntry(
        row=0, at=moments.from_stored(at), receiver=keys.from_stored(receiver) if receiver else None, sender_type=sender_type,
        delivery_id=delivery_id, state="refused", verdict=reason, detail=detail, trace=trace,
    )  # fmt: skip
