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
from typing import Literal

from receivers import RECEIVERS
from receivers.contract import BadPayload, BadSignature, Delivery, Event, Sender, Verifier
from receivers.record import dump
from service import crash
from service.kinds.meta import ObjectKey
from service.state.errors import StateError
from service.state.inbox import Accepted as Row
from service.state.inbox import Inbox, NewDelivery
from service.triggers.index import Entry, ReceiverIndex
from service.triggers.refusals import BadRequest, NotReady, NotStored, Unavailable, UnknownPath
from service.workers import Workers

log = logging.getLogger(__name__)

INLINE_BYTES = 256 * 1024  # json.loads takes 20 ms a MiB: more than this is parsed in a worker process
INLINE_FORM_BYTES = 32 * 1024  # undoing the percent signs takes ten times as long
PARSE_TIMEOUT = timedelta(seconds=20)
STORE_TIMEOUT = timedelta(seconds=10)
LONGEST_ID = 128


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
    """What a verified caller is told: `stored`, or `filtered` by `spec.events`."""

    verdict: Literal["stored", "filtered"]
    trace: str


class Intake:
    """Opens one Reception for each request. `is_ready` is True once the watches are synced; the index knows all Receivers soon after."""

    def __init__(
        self,
        *,
        index: ReceiverIndex,
        inbox: Inbox,
        workers: Workers,
        is_ready: Callable[[], bool],
        on_stored: Callable[[Stored], None],
        is_open: Callable[[int], bool],
    ) -> None:
        self.index = index
        self.inbox = inbox
        self.workers = workers
        self.on_stored = on_stored
        self.is_open = is_open
        self._is_ready = is_ready

    def open(self, path: str, headers: Mapping[str, str], trace: str) -> "Reception":
        """Look up the path. Header names are lower case. Raises NotReady, UnknownPath."""
        if not self._is_ready() or not self.index.is_complete:
            raise NotReady("the service has just started and does not know all Receivers yet")
        entry = self.index.find(path)
        if entry is None:
            raise UnknownPath("no Receiver has this path: compare the hook's address with the Receiver's status.webhookPath")
        return Reception(self, entry, headers, trace)


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
            self._verifier = self._sender.verifier(self._headers, self._entry.credentials)
        except BadSignature as error:
            raise BadRequest(str(error)) from error

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the body."""
        self._verifier.feed(chunk)
        self._digest.update(chunk)
        self._pieces.append(chunk)

    async def finish(self) -> Accepted:
        """The body is complete: verify, filter, read, store. Raises BadRequest, NotStored."""
        body = b"".join(self._pieces)
        self._pieces.clear()
        await self._verify(body)
        crash.point("hook.verified")
        if not self._counts():
            return Accepted(verdict="filtered", trace=self.trace)
        try:
            events = await self._read(body)
        except BadPayload as error:
            raise BadRequest(str(error)) from error
        await self._store(events)
        return Accepted(verdict="stored", trace=self.trace)

    async def _verify(self, body: bytes) -> None:
        """Check the signature; where it does not fit, once more with a token that may have been changed meanwhile."""
        try:
            self._verifier.check()
        except BadSignature as error:
            newer = await self._intake.index.refreshed(self._entry)
            if newer is None:
                raise BadRequest(str(error)) from error
            try:
                again = self._sender.verifier(self._headers, newer.credentials)
                again.feed(body)
                again.check()
            except BadSignature as still:
                raise BadRequest(str(still)) from still

    def _counts(self) -> bool:
        """Whether `spec.events` lets the event through, compared as Flux does: whole, without regard to case."""
        wanted = {name.lower() for name in self._entry.receiver.spec.events}
        return not wanted or self._sender.name(self._headers).lower() in wanted

    async def _read(self, body: bytes) -> tuple[Event, ...]:
        """Parse here what is small, in a worker process what is not. Raises BadPayload, NotStored."""
        is_form = self._headers.get("content-type", "").lower().startswith("application/x-www-form-urlencoded")
        if len(body) <= (INLINE_FORM_BYTES if is_form else INLINE_BYTES):
            return read_body(self.sender_type, self._headers, body)
        try:
            return await self._intake.workers.run(read_body, self.sender_type, dict(self._headers), body, timeout=PARSE_TIMEOUT)
        except TimeoutError as error:
            raise BadPayload("", f"reading the body takes longer than {PARSE_TIMEOUT.total_seconds():g} s") from error
        except ChildProcessError as error:
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
            if self._intake.is_open(row.row):
                return
            row = await self._accepted(replace(new, delivery_id=f"{new.delivery_id} again {self.trace}"))  # somebody pressed "redeliver"
        crash.point("hook.stored")
        stored = Stored(row=row.row, stored_at=datetime.now(UTC), receiver=self.receiver, events=events, trace=self.trace)
        self._intake.on_stored(stored)

    async def _accepted(self, new: NewDelivery) -> Row:
        try:
            async with asyncio.timeout(STORE_TIMEOUT.total_seconds()):
                return await self._intake.inbox.accept(new)
        except (StateError, TimeoutError) as error:
            raise NotStored(str(error) or "the disk did not answer in time") from error


def read_body(sender_type: str, headers: Mapping[str, str], body: bytes) -> tuple[Event, ...]:
    """Return the events of a verified body; a module-level function, so that it runs in a worker process too. Raises BadPayload."""
    return RECEIVERS[sender_type].read(Delivery(headers=headers, body=body))
