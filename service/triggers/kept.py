"""What is kept of accepted deliveries beside their events, for whoever asks for it: the bodies, and the way to carry one out again.

In: verified bodies; the id of a delivery in the log. Out: kept bodies up to a size; a new delivery, marked as a replay, which goes the same
way as the first. No secret is kept: of the headers only those that say what the body is, and no body that holds the Receiver's token.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from receivers import RECEIVERS
from receivers.contract import BadPayload, Confirmation, Event, Request, Unchanged
from receivers.record import dump, load
from service import crash
from service.log import new_trace
from service.state.bodies import Bodies, KeptBody
from service.state.errors import StateError
from service.state.inbox import Inbox, NewDelivery, StoredDelivery
from service.triggers.index import Entry, ReceiverIndex
from service.triggers.intake import Carrier, Stored
from service.triggers.reading import Reading
from service.triggers.refusals import Refused, Unavailable

log = logging.getLogger(__name__)

TOLD_HEADERS = ("content-type", "ce-type", "ce-source", "ce-subject", "ce-specversion")
TOLD_ENDS = ("-event", "-event-key", "-event-type")  # the event's name in the senders' own headers


class NoReplay(Exception):
    """The delivery cannot be carried out again; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A delivery that was stored again. `read_again`: its events come from the kept body, else they are those that were read before."""

    row: int
    trace: str
    replay_of: int
    read_again: bool


class Keeping:
    """Keeps bodies of up to `most_bytes`; 0 keeps none."""

    def __init__(self, bodies: Bodies, *, most_bytes: int) -> None:
        self._bodies = bodies
        self._most_bytes = most_bytes

    async def keep(self, stored: Stored, headers: Mapping[str, str], pieces: Sequence[bytes], *, tokens: Sequence[bytes]) -> None:
        """Keep the body of a delivery, where it may be. A disk that refuses loses no more than that."""
        if not self._most_bytes or sum(map(len, pieces)) > self._most_bytes:
            return
        body = b"".join(pieces)
        if any(token in body for token in tokens):
            return
        told = {name: value for name, value in headers.items() if name in TOLD_HEADERS or name.endswith(TOLD_ENDS)}
        try:
            await self._bodies.keep(stored.row, stored.trace, KeptBody(headers=told, body=body))
        except StateError as error:
            log.warning("a body cannot be kept", extra={"delivery": stored.row, "reason": str(error)})


class Replays:
    """Carries deliveries out again on somebody's order."""

    def __init__(self, *, inbox: Inbox, bodies: Bodies, reading: Reading, index: ReceiverIndex, carrier: Carrier) -> None:
        self._inbox = inbox
        self._bodies = bodies
        self._reading = reading
        self._index = index
        self._carrier = carrier

    async def replay(self, wanted: str) -> Replayed:
        """Store a delivery of the log once more, by its row, trace or sender's id. Raises NoReplay, StateError."""
        entry = await self._inbox.log.find(wanted)
        if entry is None:
            raise NoReplay("no such delivery in the log")
        first = await self._inbox.stored(entry.row) if entry.row else None
        if first is None:
            raise NoReplay(f"it was {entry.state}: only what was stored can be carried out again; let the sender send it again")
        served = self._index.entry(first.receiver)
        if served is None:
            raise NoReplay(f"{first.receiver} is not there, or takes no deliveries")
        try:
            served.check()
        except Unavailable as error:
            raise NoReplay(str(error)) from error
        events, read_again = await self._events(first, served)
        trace = new_trace()
        new = NewDelivery(
            receiver=first.receiver,
            sender_type=first.sender_type,
            delivery_id=first.delivery_id,
            body_digest=first.body_digest,
            events_json=dump(events),
            trace=trace,
            replay_of=first.row,
        )
        accepted = await self._inbox.accept(new)
        crash.point("hook.stored")
        log.info(
            "delivery replayed", extra={"object": str(first.receiver), "delivery": accepted.row, "replay_of": first.row, "trace": trace}
        )
        self._carrier.stored(Stored(row=accepted.row, stored_at=datetime.now(UTC), receiver=first.receiver, events=events, trace=trace))
        return Replayed(row=accepted.row, trace=trace, replay_of=first.row, read_again=read_again)

    async def _events(self, first: StoredDelivery, served: Entry) -> tuple[tuple[Event, ...], bool]:
        """The events, read again by this version where the body is kept and the Receiver's type is still the same."""
        try:
            before = load(first.events_json)
        except BadPayload as error:
            raise NoReplay(f"its events were stored by another version: {error}") from error
        kept = await self._bodies.of(first.row, first.trace)
        sender = RECEIVERS.get(first.sender_type)
        if kept is None or sender is None or served.receiver.spec.type != first.sender_type:
            return before, False
        try:
            read = await self._reading.events(sender, kept.headers, [kept.body], None)
        except (BadPayload, Refused) as error:
            log.warning("a kept body cannot be read again", extra={"delivery": first.row, "reason": str(error)})
            return before, False
        asked = tuple(event for event in before if isinstance(event, Request))  # with the claims of a token that is not kept
        return (*(event for event in read if not isinstance(event, Unchanged | Confirmation)), *asked), True
