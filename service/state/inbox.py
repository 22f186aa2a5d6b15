"""The inbox: webhook deliveries that were verified and stored, until every object that they name has been looked at.

In: deliveries, and the outcomes of runs. Out: what is pending. A delivery is done when each of its targets has an
outcome from a run that began after it was stored, or is gone or suspended.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from service.kinds.meta import ObjectKey
from service.state import keys, moments
from service.state.deliverylog import DETAIL_LIMIT, DeliveryLog, TargetState, target_of
from service.state.errors import StateBusy
from service.state.store import Connection, Store

ATTEMPTS = 10
BACKLOG = 10_000
FORGET_EVERY = 8  # rows; up to 20 go then


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDelivery:
    """A verified delivery. `delivery_id` is the sender's, "" where it has none; `body_digest` any digest of the body.

    `replay_of` is the row that it repeats on somebody's order, who knows that it does.
    """

    receiver: ObjectKey
    sender_type: str
    delivery_id: str
    body_digest: str
    events_json: str
    trace: str
    replay_of: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The row that holds a delivery. `duplicate`: it was there before, the same id with the same body, and is queued or has succeeded."""

    row: int
    duplicate: bool
    stored_at: datetime


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
class Retention:
    """How many deliveries are kept and for how long; what is not done is kept in any case."""

    rows: int = 10_000
    age: timedelta = timedelta(days=14)


class Inbox:
    """Rows of `state.db`. Each method is one transaction; all raise as `Database.write` does. `log` looks at them."""

    def __init__(self, store: Store, retention: Retention | None = None) -> None:
        self._store, self._sql = store, store.statements("inbox")
        self.retention = retention or Retention()
        self.log = DeliveryLog(store)

    async def put(self, new: NewDelivery) -> int:
        """Store a delivery and return its row, on disk when this returns. See `accept`."""
        return (await self.accept(new)).row

    async def accept(self, new: NewDelivery) -> Accepted:
        """Store a delivery, or find the one that it repeats. Raises StateBusy when BACKLOG deliveries are not done."""
        now = moments.now()
        row = {
            "stored_at": moments.to_stored(now), "receiver": keys.to_stored(new.receiver), "sender_type": new.sender_type,
            "delivery_id": new.delivery_id, "body_digest": new.body_digest, "events": new.events_json, "trace": new.trace,
            "replay_of": new.replay_of,
        }  # fmt: skip

        def work(connection: Connection) -> Accepted:
            first = connection.execute(self._sql["same"], row).fetchone() if new.replay_of is None else None
            if first is not None:
                return Accepted(row=first[0], duplicate=True, stored_at=moments.from_stored(first[1]))
            stored = connection.execute(self._sql["put"], row | {"most": BACKLOG}).fetchall()
            if not stored:
                raise StateBusy(f"{BACKLOG} deliveries are not done yet; try again in some minutes")
            [(newest,)] = stored
            if newest % FORGET_EVERY == 0:
                before = moments.to_stored(now - self.retention.age)
                connection.execute(self._sql["forget"], {"newest": newest, "keep": self.retention.rows, "before": before})
            return Accepted(row=newest, duplicate=False, stored_at=now)

        return await self._store.write(work)

    async def pending(self) -> list[StoredDelivery]:
        """All deliveries that are neither done nor set aside, oldest first, with the targets known so far."""

        def work(connection: Connection) -> list[StoredDelivery]:
            targets: dict[int, list[TargetState]] = {}
            for row, *target in connection.execute(self._sql["pending_targets"]):
                targets.setdefault(row, []).append(target_of(target))
            return [_delivery(row, tuple(targets.get(row[0], ()))) for row in connection.execute(self._sql["pending"])]

        return await self._store.read(work)

    async def waiting(self) -> list[int]:
        """The rows of all deliveries that are neither done nor set aside, oldest first."""
        return await self._store.read(lambda connection: [row for (row,) in connection.execute(self._sql["waiting"])])

    async def waits(self, row: int) -> StoredDelivery | None:
        """A delivery that is neither done nor set aside, None where it is. `targets` is left out."""
        found = await self._store.read(lambda connection: connection.execute(self._sql["waits"], {"row": row}).fetchone())
        return _delivery(found, ()) if found is not None else None

    async def targets(self, row: int, states: Sequence[TargetState]) -> bool:
        """Note which objects a delivery concerns and where each stands; return whether that ends the delivery.

        Targets that are named again are replaced, others stay. Without any target the delivery stays queued: end it with `done`.
        """
        now = moments.to_stored(moments.now())

        def work(connection: Connection) -> bool:
            for each in states:
                values = {"row": row, "object": keys.to_stored(each.object), "state": each.state, "result": each.result}
                connection.execute(self._sql["target"], values | {"detail": each.detail[:DETAIL_LIMIT]})
            return bool(self._finish(connection, (row,), now))

        return await self._store.write(work)

    async def settle(self, outcome: TargetState, *, began_at: datetime, rows: Iterable[int] = ()) -> list[int]:
        """Note how a run of an object ended and return the deliveries that are done with it.

        It counts for every delivery that waits for the object and was stored before the run began, and for `rows`, the ones that caused the
        run (a clock that was set back does not make those wait). Costs nothing but the commit where none waits.
        """
        now = moments.to_stored(outcome.ended_at or moments.now())
        values = {
            "object": keys.to_stored(outcome.object), "state": outcome.state, "result": outcome.result,
            "detail": outcome.detail[:DETAIL_LIMIT], "began_at": moments.to_stored(began_at), "rows": json.dumps(sorted(rows)),
            "ran_at": moments.to_stored(outcome.began_at or began_at), "now": now,
        }  # fmt: skip

        def work(connection: Connection) -> list[int]:
            settled = [row for (row,) in connection.execute(self._sql["settle"], values)]
            return self._finish(connection, settled, now)

        return await self._store.write(work)

    async def done(self, row: int, verdict: str, detail: str) -> None:
        """End a delivery: `verdict` is one word, such as `ignored`; nothing happens to one that has ended."""
        values = {"row": row, "verdict": verdict, "detail": detail[:DETAIL_LIMIT], "now": moments.to_stored(moments.now())}

        def work(connection: Connection) -> None:
            connection.execute(self._sql["done"], values)

        await self._store.write(work)

    async def failed(self, row: int, error: str) -> int:
        """Count a failure to handle a delivery and return how many there were; the ATTEMPTS-th sets it aside, where it blocks nothing."""
        values = {"row": row, "error": error[:DETAIL_LIMIT], "now": moments.to_stored(moments.now())}

        def work(connection: Connection) -> int:
            counted = connection.execute(self._sql["failed"], values).fetchall()
            found = counted or connection.execute(self._sql["attempts"], values).fetchall()
            attempts = int(found[0][0]) if found else 0
            if attempts >= ATTEMPTS:
                connection.execute(self._sql["set_aside"], values)
            return attempts

        return await self._store.write(work)

    async def stored(self, row: int) -> StoredDelivery | None:
        """A delivery as it was stored, done or not; None where it is forgotten. `targets` is left out."""
        found = await self._store.read(lambda connection: connection.execute(self._sql["stored"], {"row": row}).fetchone())
        return _delivery(found, ()) if found is not None else None

    async def age(self) -> int:
        """Forget what is beyond the retention; return how many deliveries that were."""
        return await self.log.age(keep=self.retention.rows, longest=self.retention.age)

    def _finish(self, connection: Connection, rows: Iterable[int], now: int) -> list[int]:
        ended: list[int] = []
        for row in rows:
            values = {"row": row, "verdict": "reconciled", "detail": "", "now": now}
            ended += [found for (found,) in connection.execute(self._sql["finish"], values).fetchall()]
        return ended


def _delivery(row: Sequence[Any], targets: tuple[TargetState, ...]) -> StoredDelivery:
    number, stored_at, receiver, sender_type, delivery_id, body_digest, events, trace, attempts = row
    return StoredDelivery(
        row=number, stored_at=moments.from_stored(stored_at), receiver=keys.from_stored(receiver), sender_type=sender_type,
        delivery_id=delivery_id, body_digest=body_digest, events_json=events, trace=trace, attempts=attempts, targets=targets,
    )  # fmt: skip
