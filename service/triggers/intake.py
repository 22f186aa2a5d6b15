"""One delivery from its first byte to the inbox: which Receiver, is it signed, does it count, what does it say, stored.

In: the path, the headers, the body in pieces. Out: Accepted once the row is on disk, or a Refused whose kind decides the answer and whose
message is for the delivery log alone. What an event name may be and what a signature is: `receivers/`.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, Protocol

from receivers import RECEIVERS
from receivers.contract import BadPayload, BadSignature, Delivery, Event, Sender, Unchanged, UnknownKey, Verifier
from receivers.record import dump
from service import crash
from service.kinds.meta import ObjectKey
from service.state.errors import StateError
from service.state.inbox import Accepted as Row
from service.state.inbox import Inbox, NewDelivery
from service.triggers.index import Entry, ReceiverIndex
from service.triggers.refusals import BadRequest, KeysUnknown, NotReady, NotStored, Unavailable, UnknownPath
from service.triggers.spool import Spool
from service.workers import Workers

log = logging.getLogger(__name__)

INLINE_BYTES = 64 * 1024  # what is made to be slow takes some milliseconds at this size: more is parsed in a worker process
INLINE_FORM_BYTES = 32 * 1024  # undoing the percent signs takes ten times as long
PARSE_TIMEOUT = timedelta(seconds=8)  # GitHub waits for ten
STORE_TIMEOUT = timedelta(seconds=10)
LONGEST_ID = 128
LEEWAY = timedelta(seconds=10)  # clocks differ a little
REPLAY_WINDOW = timedelta(minutes=5)  # of Standard Webhooks, for clocks that differ and senders that try again at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A delivery on disk, as whoever carries it out gets it."""

    row: int
    stored_at: datetime
    receiver: ObjectKey
    events: tuple[Event, ...]
    trace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What a verified caller is told: `stored`, or `filtered`: by `spec.events`, or since the sender says that nothing has changed."""

    verdict: Literal["stored", "filtered"]
    trace: str


class Carrier(Protocol):
    """Who carries deliveries out."""

    def stored(self, new: Stored) -> None:
        """A delivery was made durable."""

    def is_open(self, row: int) -> bool:
        """Whether a row is under way."""


class Intake:
    """Opens one Reception for each request. `is_ready` is True once the watches are synced; the index knows all Receivers soon after."""

    def __init__(
        self,
        *,
        index: ReceiverIndex,
        inbox: Inbox,
        workers: Workers,
        spool: Spool,
        is_ready: Callable[[], bool],
        carrier: Carrier,
    ) -> None:
        self.index = index
        self.inbox = inbox
        self.workers = workers
        self.spool = spool
        self.carrier = carrier
        self._is_ready = is_ready

    def open(self, path: str, headers: Mapping[str, str], trace: str) -> "Reception":
        """Look up the path. Header names are lower case. Raises NotReady, UnknownPath."""
        entry = self.index.find(path)
        if entry is None and not (self._is_ready() and self.index.is_complete):  # what is known is served all the same
            raise NotReady("the service has just started, or a Receiver has just come, and not all are known yet")
        if entry is None:
            raise UnknownPath("no Receiver has this path: compare the hook's address with the Receiver's status.webhookPath")
        return Reception(self, entry, headers, trace)

    def may_ask(self, path: str) -> bool:
        """Whether a sender may ask with OPTIONS if it may deliver to this path, and is told yes."""
        entry = self.index.find(path)
        return entry is not None and not entry.problem and entry.sender is not None and entry.sender.asks_first


class Reception:
    """One body on its way in. `receiver`, `sender_type` and `delivery_id` (the sender's own, "" without one) are for the delivery log."""

    def __init__(self, intake: Intake, entry: Entry, headers: Mapping[str, str], trace: str) -> None:
        self.trace = trace
        self.receiver: ObjectKey = entry.key
        self.sender_type: str = entry.receiver.spec.type
        self._intake = intake
        self._entry = entry
        self._headers = headers
        self._sender: Sender
        self._pieces: list[bytes] = []
        self._bytes = 0
        self._digest = hashlib.sha256()
        self._verifier: Verifier
        self.delivery_id = entry.sender.delivery_id(headers)[:LONGEST_ID] if entry.sender else ""

    def begin(self) -> None:
        """Check what can be checked before the body. Raises Unavailable, BadRequest."""
        if self._entry.receiver.spec.suspend:
            raise Unavailable("the Receiver is suspended: set spec.suspend to false")
        if self._entry.problem or self._entry.sender is None:
            raise Unavailable(self._entry.problem)
        self._sender = self._entry.sender
        try:
            self._verifier = self._sender.verifier(self._headers, self._intake.index.credentials(self._entry))
        except BadSignature as error:
            raise BadRequest(str(error)) from error

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the body."""
        self._verifier.feed(chunk)
        self._digest.update(chunk)
        self._pieces.append(chunk)
        self._bytes += len(chunk)

    async def finish(self) -> Accepted:
        """The body is complete: verify, filter, read, store. Raises BadRequest, NotStored."""
        await self._verify()
        self._check_time()
        crash.point("hook.verified")
        if not self._counts():
            return Accepted(verdict="filtered", trace=self.trace)
        try:
            events = await self._read()
        except BadPayload as error:
            raise BadRequest(str(error)) from error
        if events and all(isinstance(event, Unchanged) for event in events):
            return Accepted(verdict="filtered", trace=self.trace)
        await self._store(tuple(event for event in events if not isinstance(event, Unchanged)))
        return Accepted(verdict="stored", trace=self.trace)

    async def _verify(self) -> None:
        """Check the signature; where it does not fit, once more with a token that may have been changed meanwhile."""
        try:
            self._verifier.check()
        except UnknownKey as error:
            self._intake.index.keys.unknown()
            raise KeysUnknown(str(error)) from error
        except BadSignature as error:
            newer = await self._intake.index.refreshed(self._entry)
            if newer is None:
                raise BadRequest(str(error)) from error
            try:
                again = self._sender.verifier(self._headers, self._intake.index.credentials(newer))
                for chunk in self._pieces:
                    again.feed(chunk)
                    await asyncio.sleep(0)
                again.check()
            except BadSignature as still:
                raise BadRequest(str(still)) from still

    def _check_time(self) -> None:
        """Where the sender signs a time, an old delivery is one that somebody has heard and sends again. Raises BadRequest."""
        now = datetime.now(UTC)
        try:
            signed_at = self._sender.signed_at(self._headers) if self._sender.signed_at is not None else None
            expires_at = self._sender.expires_at(self._headers) if self._sender.expires_at is not None else None
        except BadSignature as error:
            raise BadRequest(str(error)) from error
        if expires_at is not None and expires_at < now - LEEWAY:
            raise BadRequest(f"the token in Authorization has ended at {expires_at.isoformat()}")
        if signed_at is not None and abs(now - signed_at) > REPLAY_WINDOW:
            minutes = REPLAY_WINDOW.total_seconds() / 60
            raise BadRequest(
                f"signed at {signed_at.isoformat()}, more than {minutes:g} minutes from now: a replay, or a clock that is wrong"
            )

    def _counts(self) -> bool:
        """Whether `spec.events` lets the event through, compared as Flux does: whole, without regard to case."""
        if self._sender.name is None:
            return True
        wanted = {name.lower() for name in self._entry.receiver.spec.events}
        return not wanted or self._sender.name(self._headers).lower() in wanted

    async def _read(self) -> tuple[Event, ...]:
        """Parse here what is small, in a worker process what is not. Raises BadPayload, NotStored."""
        is_form = self._headers.get("content-type", "").lower().startswith("application/x-www-form-urlencoded")
        if self._bytes <= (INLINE_FORM_BYTES if is_form else INLINE_BYTES):
            return self._sender.read(Delivery(headers=self._headers, body=b"".join(self._pieces)))
        try:
            async with asyncio.timeout(PARSE_TIMEOUT.total_seconds()), self._intake.spool.file(self._pieces) as path:
                return await self._intake.workers.run(read_file, self.sender_type, dict(self._headers), path, timeout=PARSE_TIMEOUT)
        except TimeoutError as error:
            raise NotStored(f"no worker process has read the body within {PARSE_TIMEOUT.total_seconds():g} s") from error
        except OSError as error:  # the disk is full, or the worker process died
            raise NotStored(str(error)) from error

    async def _store(self, events: tuple[Event, ...]) -> None:
        """Make the delivery durable and hand it on. One that is repeated while the first is under way is that first one."""
        new = NewDelivery(
            receiver=self.receiver,
            sender_type=self.sender_type,
            delivery_id=self.delivery_id,
            body_digest=f"sha256:{self._digest.hexdigest()}",
            events_json=dump(events),
            trace=self.trace,
        )
        row = await self._accepted(new)
        if row.duplicate:
            if self._intake.carrier.is_open(row.row):
                return
            row = await self._accepted(replace(new, delivery_id=f"{new.delivery_id} again {self.trace}"))  # somebody pressed "redeliver"
        crash.point("hook.stored")
        stored = Stored(row=row.row, stored_at=datetime.now(UTC), receiver=self.receiver, events=events, trace=self.trace)
        self._intake.carrier.stored(stored)

    async def _accepted(self, new: NewDelivery) -> Row:
        try:
            async with asyncio.timeout(STORE_TIMEOUT.total_seconds()):
                return await self._intake.inbox.accept(new)
        except (StateError, TimeoutError) as error:
            raise NotStored(str(error) or "the disk did not answer in time") from error


def read_file(sender_type: str, headers: Mapping[str, str], path: Path) -> tuple[Event, ...]:
    """Return the events of a verified body in a file; runs in a worker process. Raises BadPayload."""
    return RECEIVERS[sender_type].read(Delivery(headers=headers, body=path.read_bytes()))
