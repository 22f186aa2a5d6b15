"""The outbox: events until they were matched with Alerts, and the messages that came of them until they are sent or set aside.

In: events (from the journal, or from other controllers). Out: messages that are due. A message is a stored row before it is sent, so
delivery is at least once: a kill between the answer and `sent` sends it again.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from service.kinds.meta import ObjectKey
from service.state import keys, moments
from service.state.held import Compose, HeldWriter, Hold, newest_of
from service.state.store import Connection, Store

KEEP_ROWS, KEEP_TIME = 20_000, timedelta(days=7)
SEARCHED = 2_000
FORGET_EVERY = 32
_ERROR_LIMIT = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """An event to store. An equal `key` drops it, for as long as the first is kept, or only within `window` where that is given."""

    key: str
    json: Mapping[str, object]
    window: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event that was not matched with Alerts yet."""

    id: int
    key: str
    json: str
    stored_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OutMessage:
    """One event for one Alert, as JSON; what a provider needs beside it is looked up when it is sent.

    `object`: what it is about; messages about one object reach a Provider in their order. "" is one object, too; with SERIAL in front all
    messages of an Alert are. `about` is the object itself where that is something else. `hold`: to be sent later, with others. `once`:
    only the first message with this key is stored.
    """

    alert: ObjectKey
    provider: ObjectKey
    payload: str
    object: str = ""
    about: str = ""
    hold: Hold | None = None
    once: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What there is to do: events to match, Providers that messages wait for; `holds`: some messages are held."""

    events: Sequence[StoredEvent]
    providers: frozenset[ObjectKey]
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """A message that waits. `attempts` have failed since `asked_at`, the last with `error`; it stands for `folded` earlier ones."""

    id: int
    event: int
    stored_at: datetime
    alert: ObjectKey
    provider: ObjectKey
    payload: str
    due_at: datetime
    attempts: int
    error: str
    asked_at: datetime
    folded: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What became of a message: `state` is queued, sent, folded or rejected; `at` is when it ended, or is due."""

    alert: ObjectKey
    provider: ObjectKey
    state: str
    attempts: int
    error: str
    at: datetime
    event: Mapping[str, Any]


class EventWriter:
    """Stores events inside somebody's transaction."""

    def __init__(self, store: Store) -> None:
        self._sql = store.statements("outbox")

    def add(self, connection: Connection, event: EventRow) -> bool:
        """Store an event; False if its key is there already."""
        now = moments.now()
        if event.window is not None:
            connection.execute(self._sql["release_key"], {"key": event.key, "before": moments.to_stored(now - event.window)})
        row = {"stored_at": moments.to_stored(now), "key": event.key, "json": json.dumps(event.json)}
        added = connection.execute(self._sql["add"], row).fetchall()
        for (newest,) in added:
            if newest % FORGET_EVERY == 0:
                before = moments.to_stored(now - KEEP_TIME)
                connection.execute(self._sql["forget"], {"newest": newest, "keep": KEEP_ROWS, "before": before, "limit": 4 * FORGET_EVERY})
        return bool(added)


class Outbox:
    """Rows of `state.db`. All methods raise as `Database.write` does."""

    def __init__(self, store: Store) -> None:
        self._store, self._sql, self._events, self._held = store, store.statements("outbox"), EventWriter(store), HeldWriter(store)

    def listen(self, on_events: Callable[[], None]) -> None:
        """Call `on_events` on the loop whenever an event was stored, by `add` or by the journal. One listener."""
        self._store.on_events = on_events

    async def add(self, event: EventRow) -> bool:
        """Store an event that no run of ours made; False if it is a double."""
        added = await self._store.write(lambda connection: self._events.add(connection, event))
        if added:
            self._store.on_events()
        return added

    async def work(self, limit: int) -> Work:
        """The oldest events that were not matched, and who waits for messages, in one look."""

        def work(connection: Connection) -> tuple[list[Any], list[Any], bool]:
            events = connection.execute(self._sql["unmatched"], {"limit": limit, "after": 0}).fetchall()
            lanes = connection.execute(self._sql["lanes"]).fetchall()
            return events, lanes, bool(connection.execute(self._sql["is_held"]).fetchone()[0])

        events, lanes, holds = await self._store.read(work)
        providers = frozenset(keys.from_stored(provider) for provider, _ in lanes)
        return Work(events=[_event(row) for row in events], providers=providers, holds=holds)

    async def unmatched(self, limit: int = 100, *, after: int = 0) -> list[StoredEvent]:
        """The oldest events that were not matched, of those with an id above `after`."""
        values = {"limit": limit, "after": after}
        rows = await self._store.read(lambda connection: connection.execute(self._sql["unmatched"], values).fetchall())
        return [_event(row) for row in rows]

    async def match(self, event_id: int, deliveries: Sequence[OutMessage]) -> None:
        """Store an event's messages, due at once, and mark it matched, in one transaction. A second time changes nothing."""
        await self.match_all([(event_id, deliveries)])

    async def match_all(self, matched: Sequence[tuple[int, Sequence[OutMessage]]], compose: Compose = newest_of) -> None:
        """The same for several events, given in their order. `compose` makes one payload of what was held and must go now."""
        values = {"events": json.dumps([event for event, _ in matched]), "now": moments.to_stored(moments.now())}

        def work(connection: Connection) -> None:
            new = {event for (event,) in connection.execute(self._sql["match"], values).fetchall()}
            messages = [(event, each) for event, deliveries in matched if event in new for each in deliveries]
            self._held.put_all(connection, messages, compose)

        await self._store.write(work)

    async def lanes(self) -> dict[ObjectKey, datetime]:
        """The Providers that messages wait for, and when the first of each is due."""
        rows = await self._store.read(lambda connection: connection.execute(self._sql["lanes"]).fetchall())
        return {keys.from_stored(provider): moments.from_stored(due_at) for provider, due_at in rows}

    async def hurry(self, provider: ObjectKey, now: datetime) -> None:
        """Make all messages for a Provider due at once."""
        await self._end(("hurry",), {"provider": keys.to_stored(provider), "now": moments.to_stored(now)})

    async def due(self, now: datetime, limit: int = 1000) -> list[StoredMessage]:
        """Messages whose time has come, in the order in which they were stored."""
        return await self._messages("due", {"now": moments.to_stored(now), "limit": limit})

    async def heads(self, provider: ObjectKey, now: datetime, limit: int) -> list[StoredMessage]:
        """The first message about each object that waits for a Provider, where its time has come; never a later one before it."""
        return await self._messages("heads", {"provider": keys.to_stored(provider), "now": moments.to_stored(now), "limit": limit})

    async def work_for(self, provider: ObjectKey, now: datetime, limit: int) -> tuple[list[StoredMessage], datetime | None]:
        """The heads that are due; where there are none, when the first will be, None where nothing waits."""
        values = {"provider": keys.to_stored(provider), "now": moments.to_stored(now), "limit": limit}

        def work(connection: Connection) -> tuple[list[Any], int | None]:
            rows = connection.execute(self._sql["heads"], values).fetchall()
            return rows, None if rows else connection.execute(self._sql["next_due"], values).fetchone()[0]

        rows, due = await self._store.read(work)
        return [_message(row) for row in rows], None if due is None else moments.from_stored(due)

    async def queued(self, *, after: int = 0, limit: int = 1000) -> list[StoredMessage]:
        """Messages that are neither sent nor set aside, due or not, in the order of their ids from `after` on."""
        return await self._messages("queued_of", {"after": after, "limit": limit})

    async def sent(self, message: int) -> None:
        """The provider has it."""
        await self._store.write_together(self._sent_all, message)

    def _sent_all(self, connection: Connection, messages: Sequence[int]) -> None:
        values = {"ids": json.dumps(messages), "now": moments.to_stored(moments.now())}
        for name in ("count_sent", "sent"):
            connection.execute(self._sql[name], values)

    async def retry(self, message: int, at: datetime, error: str, *, refused: bool = False) -> None:
        """An attempt failed; the next is due at `at`. `error` must not hold secrets. `refused`: a person has to correct the Provider."""
        now = moments.to_stored(moments.now())
        values = {"id": message, "at": moments.to_stored(at), "error": error[:_ERROR_LIMIT], "now": now, "refused": int(refused)}
        await self._end(("count_failed", "retry"), values)

    async def rejected(self, message: int, error: str) -> None:
        """Set a message aside as a dead letter. `error` must not hold secrets."""
        values = {"id": message, "error": error[:_ERROR_LIMIT], "now": moments.to_stored(moments.now())}
        await self._end(("count_dead", "rejected"), values)

    async def expire(self, provider: ObjectKey, before: datetime, error: str) -> list[ObjectKey]:
        """Set aside what has been tried, or has waited behind what was tried, since `before`; return the Alert of each."""
        values = {"provider": keys.to_stored(provider), "before": moments.to_stored(before)}
        ended = {"error": error[:_ERROR_LIMIT], "now": moments.to_stored(moments.now())}

        def work(connection: Connection) -> list[ObjectKey]:
            rows = connection.execute(self._sql["overdue"], values).fetchall()
            for number, *_ in rows:
                for name in ("count_dead", "rejected"):
                    connection.execute(self._sql[name], ended | {"id": number})
            return [keys.from_stored(row[1]) for row in rows]

        return await self._store.write(work)

    async def fold(self, provider: ObjectKey) -> int:
        """Let the newest queued message of each object and Alert stand for those before it; return how many it stands for."""
        provider_key, now = keys.to_stored(provider), moments.to_stored(moments.now())

        def work(connection: Connection) -> int:
            total = 0
            for object_, alert, newest, count, before in connection.execute(self._sql["foldable"], {"provider": provider_key}).fetchall():
                row = {"provider": provider_key, "object": object_, "alert": alert, "into": newest, "now": now}
                for name in ("move_folded", "fold", "folded"):
                    connection.execute(self._sql[name], row | {"folded": before + count - 1})
                for sender in (provider_key, alert):
                    connection.execute(self._sql["count_folded"], {"object": sender, "count": count - 1})
                total += count - 1
            return total

        return await self._store.write(work)

    async def folded_into(self, message: int, limit: int = 5) -> list[str]:
        """The payloads of the last messages that this one stands for, newest first."""
        values = {"id": message, "limit": limit}
        rows = await self._store.read(lambda connection: connection.execute(self._sql["folded_into"], values).fetchall())
        return [payload for (payload,) in rows]

    async def told_about(self, key: ObjectKey, *, limit: int = 5) -> list[Told]:
        """The newest messages about an object, of an Alert or for a Provider, newest first; of the last SEARCHED events."""
        values: dict[str, object] = {"key": keys.to_stored(key), "kind": key.kind, "namespace": key.namespace, "name": key.name}
        values |= {"limit": limit, "window": SEARCHED}
        rows = await self._store.read(lambda connection: connection.execute(self._sql["told_about"], values).fetchall())
        return [_told(row) for row in rows]

    async def counts(self) -> Mapping[str, int]:
        """How many messages are queued, sent, folded and rejected (of those still kept), and how many events are unmatched."""

        def work(connection: Connection) -> dict[str, int]:
            found = {"queued": 0, "sent": 0, "folded": 0, "rejected": 0} | dict(connection.execute(self._sql["counts"]).fetchall())
            return found | {"unmatched": connection.execute(self._sql["count_unmatched"]).fetchone()[0]}

        return await self._store.read(work)

    async def pending(self) -> int:
        """How many messages are queued."""
        (count,) = await self._store.read(lambda connection: connection.execute(self._sql["count_queued"]).fetchone())
        return int(count)

    async def unmatched_since(self) -> datetime | None:
        """When the oldest event was stored that was not matched yet."""
        (found,) = await self._store.read(lambda connection: connection.execute(self._sql["oldest_unmatched"]).fetchone())
        return None if found is None else moments.from_stored(found)

    async def _messages(self, name: str, values: Mapping[str, object]) -> list[StoredMessage]:
        rows = await self._store.read(lambda connection: connection.execute(self._sql[name], values).fetchall())
        return [_message(row) for row in rows]

    async def _end(self, names: Sequence[str], values: Mapping[str, object]) -> None:
        def work(connection: Connection) -> None:
            for name in names:
                connection.execute(self._sql[name], values)

        await self._store.write(work)


def _event(row: Sequence[Any]) -> StoredEvent:
    return StoredEvent(id=row[0], key=row[1], json=row[2], stored_at=moments.from_stored(row[3]))


def _message(row: Sequence[Any]) -> StoredMessage:
    number, event, stored_at, alert, provider, payload, due_at, attempts, error, asked_at, folded = row
    return StoredMessage(
        id=number, event=event, stored_at=moments.from_stored(stored_at), alert=keys.from_stored(alert),
        provider=keys.from_stored(provider), payload=payload, due_at=moments.from_stored(due_at), attempts=attempts, error=error,
        asked_at=moments.from_stored(asked_at), folded=folded,
    )  # fmt: skip


def _told(row: Sequence[Any]) -> Told:
    alert, provider, state, attempts, error, due_at, ended_at, event = row
    return Told(
        alert=keys.from_stored(alert), provider=keys.from_stored(provider), state=state, attempts=attempts, error=error,
        at=moments.from_stored(due_at if ended_at is None else ended_at), event=json.loads(event),
    )  # fmt: skip
