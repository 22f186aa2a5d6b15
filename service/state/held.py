"""Messages that are held back for a while, to be sent as one: a burst with one cause, a digest, what came while an Alert was mute.

In: messages that say how long they are held, inside the transaction that marks their event matched. Out: one queued message for each
bundle, at its time, or at once where something about one of its objects must not be told before it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from service.kinds.meta import ObjectKey
from service.state import keys, moments
from service.state.store import Connection, Store

if TYPE_CHECKING:
    from service.state.outbox import OutMessage

KEEP_TIME = timedelta(days=60)

Compose = Callable[[Sequence[str]], str]
"""The payloads of a bundle, oldest first -> the payload that stands for all of them. Quick, and pure."""

SERIAL = "all of "


def newest_of(payloads: Sequence[str]) -> str:
    """The simplest way to compose: the last stands for all."""
    return payloads[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """`bundle` names what is sent together; the first that comes sets the time. `why` is for people."""

    until: datetime
    bundle: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What is held."""

    name: str
    alert: ObjectKey
    until: datetime
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldMessage:
    """A held message, for people."""

    alert: ObjectKey
    provider: ObjectKey
    why: str
    until: datetime
    event: str


class HeldWriter:
    """Puts messages into the outbox, or holds them, inside somebody's transaction."""

    def __init__(self, store: Store) -> None:
        outbox = store.statements("outbox")
        self._sql, self._queue, self._is_held = store.statements("held"), outbox["message"], outbox["is_held"]

    def put_all(self, connection: Connection, messages: Sequence[tuple[int, "OutMessage"]], compose: Compose) -> None:
        """Queue or hold messages of events, given in their order: all at once where nothing is held or told once."""
        if any(each.hold is not None or each.once for _, each in messages) or connection.execute(self._is_held).fetchone()[0]:
            for event, each in messages:
                self._put(connection, event, each, compose)
        else:
            connection.executemany(self._queue, [_row(event, each, moments.now()) for event, each in messages])

    def _put(self, connection: Connection, event: int, message: "OutMessage", compose: Compose) -> None:
        """Hold the message, or queue it behind what is held about the same object; nothing where it is told once and has been."""
        now = moments.now()
        if message.once and not self._is_first(connection, message.once, now):
            return
        row = _row(event, message, now)
        if message.hold is not None:
            hold = {"until": moments.to_stored(message.hold.until), "bundle": message.hold.bundle, "why": message.hold.why}
            connection.execute(self._sql["hold"], row | hold | {"about": message.about or message.object})
            return
        values = {"alert": row["alert"], "about": message.about or message.object}
        for (bundle,) in connection.execute(self._sql["bundles_about"], values).fetchall():
            self.release(connection, bundle, compose)
        connection.execute(self._queue, row)

    def release(self, connection: Connection, bundle: str, compose: Compose) -> int:
        """Queue one message for a bundle; return how many it stands for."""
        rows = connection.execute(self._sql["bundle"], {"bundle": bundle}).fetchall()
        if rows:
            event, alert, provider, object_, payload = rows[-1]
            row = {"event": event, "now": moments.to_stored(moments.now()), "alert": alert, "provider": provider, "object": object_}
            connection.execute(self._queue, row | {"payload": payload if len(rows) == 1 else compose([each[4] for each in rows])})
            connection.execute(self._sql["release"], {"bundle": bundle})
        return len(rows)

    def _is_first(self, connection: Connection, key: str, now: datetime) -> bool:
        connection.execute(self._sql["forget_once"], {"before": moments.to_stored(now - KEEP_TIME)})
        return connection.execute(self._sql["tell_once"], {"key": key, "now": moments.to_stored(now)}).rowcount > 0


def _row(event: int, message: "OutMessage", now: datetime) -> dict[str, Any]:
    return {
        "event": event, "now": moments.to_stored(now), "alert": keys.to_stored(message.alert),
        "provider": keys.to_stored(message.provider), "object": message.object, "payload": message.payload,
    }  # fmt: skip


class Held:
    """Rows of `state.db`. All methods raise as `Database.write` does."""

    def __init__(self, store: Store, compose: Compose) -> None:
        self._store, self._sql, self._writer, self._compose = store, store.statements("held"), HeldWriter(store), compose

    async def bundles(self) -> list[Bundle]:
        """Everything that is held."""
        rows = await self._store.read(lambda connection: connection.execute(self._sql["bundles"]).fetchall())
        return [Bundle(name=row[0], alert=keys.from_stored(row[1]), until=moments.from_stored(row[2]), count=row[3]) for row in rows]

    async def release(self, bundle: str) -> int:
        """Queue one message for all of a bundle; return how many it stands for."""
        return await self._store.write(lambda connection: self._writer.release(connection, bundle, self._compose))

    async def about(self, key: ObjectKey, *, limit: int = 5) -> list[HeldMessage]:
        """The newest held messages about an object, of an Alert or for a Provider."""
        values: Mapping[str, Any] = {"key": keys.to_stored(key), "kind": key.kind, "about": str(key), "limit": limit}
        return await self._read("held_about", values)

    async def newest(self, *, provider: ObjectKey | None = None, limit: int) -> list[HeldMessage]:
        """The newest held messages, of all or of one Provider."""
        return await self._read("held_newest", {"provider": keys.to_stored(provider) if provider else "", "limit": limit})

    async def _read(self, statement: str, values: Mapping[str, Any]) -> list[HeldMessage]:
        rows = await self._store.read(lambda connection: connection.execute(self._sql[statement], values).fetchall())
        return [
            HeldMessage(
                alert=keys.from_stored(alert), provider=keys.from_stored(provider), why=why, until=moments.from_stored(until), event=event
            )
            for alert, provider, why, until, event in rows
        ]
