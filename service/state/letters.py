"""Single messages for people, and the state of what sends them: each Provider, and each Alert.

In: the rows that `outbox.py` keeps. Out: letters to list, show and send again; for each Provider and Alert what was sent last, what failed
last, how much waits. Also in: messages of our own that no Alert has to match, stored with their event in one transaction.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from service.kinds.meta import ObjectKey
from service.state import keys, moments
from service.state.outbox import EventRow, OutMessage
from service.state.store import Connection, Store

State = Literal["", "queued", "sent", "folded", "rejected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message with all that is known of it. `at`: when it ended, or is due. `folded_into`: the message that stands for it."""

    id: int
    state: str
    stored_at: datetime
    at: datetime
    asked_at: datetime
    alert: ObjectKey
    provider: ObjectKey
    object: str
    attempts: int
    error: str
    folded: int
    folded_into: int | None
    event: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """What became of all messages of a Provider or an Alert. `failed` counts attempts, the others messages; all since the state began.

    `failing_since`: the first attempt that failed since the last that did not. `refused`: a person has to correct the Provider.
    """

    key: ObjectKey
    sent: int = 0
    failed: int = 0
    dead: int = 0
    folded: int = 0
    queued: int = 0
    last_sent_at: datetime | None = None
    last_error: str = ""
    last_error_at: datetime | None = None
    failing_since: datetime | None = None
    refused: bool = False
    told_failing: int = 0
    told_dead: int = 0


class Letters:
    """Rows of `state.db`. All methods raise as `Database.write` does."""

    def __init__(self, store: Store) -> None:
        self._store, self._sql = store, store.statements("letters")

    async def newest(self, *, state: State = "", provider: ObjectKey | None = None, limit: int = 200) -> Sequence[Letter]:
        """The newest letters, newest first; of one state or all, for one Provider or all."""
        values = {"state": state, "provider": keys.to_stored(provider) if provider else "", "limit": limit}
        rows = await self._store.read(lambda connection: connection.execute(self._sql["list"], values).fetchall())
        return [_letter(row) for row in rows]

    async def show(self, number: int) -> Letter | None:
        """One letter, None where there is none (any more)."""
        row = await self._store.read(lambda connection: connection.execute(self._sql["show"], {"id": number}).fetchone())
        return _letter(row) if row else None

    async def resend(self, number: int) -> bool:
        """Queue a letter again that has ended; False where there is none. Its time to be given up begins anew."""
        values = {"id": number, "now": moments.to_stored(moments.now())}
        changed = await self._store.write(lambda connection: connection.execute(self._sql["resend"], values).rowcount)
        return self._changed(changed) > 0

    async def resend_dead(self, provider: ObjectKey | None = None) -> int:
        """Queue every dead letter again, of one Provider or all; return how many."""
        values = {"provider": keys.to_stored(provider) if provider else "", "now": moments.to_stored(moments.now())}
        return self._changed(await self._store.write(lambda connection: connection.execute(self._sql["resend_dead"], values).rowcount))

    async def senders(self) -> Mapping[ObjectKey, Sender]:
        """Each Provider and Alert that had a message, by its key."""

        def work(connection: Connection) -> tuple[list[Any], dict[str, int]]:
            return connection.execute(self._sql["senders"]).fetchall(), dict(connection.execute(self._sql["queue_lengths"]).fetchall())

        rows, queued = await self._store.read(work)
        found = [_sender(row, queued.pop(row[0], 0)) for row in rows]
        found += [Sender(key=keys.from_stored(name), queued=count) for name, count in queued.items()]
        return {each.key: each for each in found}

    async def told(self, key: ObjectKey, *, failing: int, dead: int, direct: tuple[EventRow, OutMessage] | None) -> None:
        """Keep what was told of a Provider's troubles, with the message that tells it, in one transaction."""
        row = {"object": keys.to_stored(key), "failing": failing, "dead": dead}

        def work(connection: Connection) -> None:
            connection.execute(self._sql["told"], row)
            if direct is not None:
                self._add(connection, *direct)

        await self._store.write(work)
        self._changed(1)

    async def direct(self, event: EventRow, message: OutMessage, *, unless_waiting: bool = False) -> bool:
        """Store a message past all Alerts; False if its event's key is there, or one about its object waits and that is not wanted."""
        where = {"provider": keys.to_stored(message.provider), "object": message.object}

        def work(connection: Connection) -> bool:
            if unless_waiting and connection.execute(self._sql["waits_for"], where).fetchone()[0]:
                return False
            return self._add(connection, event, message)

        return bool(self._changed(await self._store.write(work)))

    async def forget(self, key: ObjectKey) -> None:
        """A Provider or Alert is gone: what was counted of it goes."""
        row = {"object": keys.to_stored(key)}
        await self._store.write(lambda connection: connection.execute(self._sql["forget_sender"], row).rowcount)

    def _changed(self, count: int) -> int:
        if count:
            self._store.on_events()
        return count

    def _add(self, connection: Connection, event: EventRow, message: OutMessage) -> bool:
        now = moments.to_stored(moments.now())
        values = {"now": now, "key": event.key, "json": json.dumps(event.json)}
        row = {"now": now, "object": message.object, "payload": message.payload}
        row |= {"alert": keys.to_stored(message.alert), "provider": keys.to_stored(message.provider)}
        stored = connection.execute(self._sql["direct_event"], values).fetchall()
        for (number,) in stored:
            connection.execute(self._sql["direct_message"], row | {"event": number})
        return bool(stored)


def _letter(row: Sequence[Any]) -> Letter:
    number, stored_at, alert, provider, object_, payload, state, due_at, asked_at, attempts, error, ended_at, folded, into = row
    return Letter(
        id=number, state=state, stored_at=moments.from_stored(stored_at), at=moments.from_stored(due_at if ended_at is None else ended_at),
        asked_at=moments.from_stored(asked_at), alert=keys.from_stored(alert), provider=keys.from_stored(provider), object=object_,
        attempts=attempts, error=error, folded=folded, folded_into=into, event=_event(payload),
    )  # fmt: skip


def _event(payload: str) -> Mapping[str, Any]:
    try:
        found = json.loads(payload)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _sender(row: Sequence[Any], queued: int) -> Sender:
    name, sent, failed, dead, folded, last_sent_at, last_error, last_error_at, failing_since, refused, told_failing, told_dead = row
    return Sender(
        key=keys.from_stored(name), sent=sent, failed=failed, dead=dead, folded=folded, queued=queued, last_sent_at=_time(last_sent_at),
        last_error=last_error, last_error_at=_time(last_error_at), failing_since=_time(failing_since), refused=bool(refused),
        told_failing=told_failing, told_dead=told_dead,
    )  # fmt: skip


def _time(stored: int | None) -> datetime | None:
    return None if stored is None else moments.from_stored(stored)
