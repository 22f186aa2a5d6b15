"""One delivery from its first byte to the inbox: which Receiver, is it signed, does it count, what does it say, stored.

In: the path, the headers, the body in pieces. Out: Accepted once the row is on disk, or a Refused whose kind decides the answer and whose
message is for the delivery log alone. What an event name may be and what a signature is: `receivers/`.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

from receivers.contract import BadPayload, BadSignature, Confirmation, Event, Request, Sender, Unchanged, UnknownKey, Verifier
from receivers.record import dump
from service import crash
from service.cel import Evaluator
from service.kinds.meta import ObjectKey
from service.networks import lies_in
from service.state.errors import StateError
from service.state.inbox import Accepted as Row
from service.state.inbox import Inbox, NewDelivery
from service.triggers.certificates import Unconfirmed
from service.triggers.filters import tells_errors
from service.triggers.index import Entry, ReceiverIndex
from service.triggers.oidc import objections
from service.triggers.overlap import verifier_of
from service.triggers.problems import ALLOW_ANNOTATION
from service.triggers.reading import Reading
from service.triggers.refusals import (
    BadRequest,
    FilterFailed,
    KeysUnknown,
    NotAllowed,
    NotFromThere,
    NotReady,
    NotStored,
    UnknownPath,
)

log = logging.getLogger(__name__)

DECIDE_TIMEOUT = timedelta(seconds=8)
STORE_TIMEOUT = timedelta(seconds=10)
LONGEST_ID = 128
LONGEST_DETAIL = 500
LEEWAY = timedelta(seconds=10)  # clocks differ a little
REPLAY_WINDOW = timedelta(minutes=5)  # of Standard Webhooks, for clocks that differ and senders that try again at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A delivery on disk, as whoever carries it out gets it. `decided` wants to hear what was wrong with its filters, "" for nothing."""

    row: int
    stored_at: datetime
    receiver: ObjectKey
    events: tuple[Event, ...]
    trace: str
    decided: Callable[[str], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What a verified caller is told: `stored`; `filtered`: by `spec.events`, or since the sender says that nothing has changed;
    `duplicate`: of one that is under way or has succeeded. `detail` says which, for the delivery log."""

    verdict: Literal["stored", "filtered", "duplicate"]
    trace: str
    detail: str = ""


class Carrier(Protocol):
    """Who carries deliveries out."""

    def stored(self, new: Stored) -> None:
        """A delivery was made durable."""


class Keep(Protocol):
    """Keeps bodies of what was stored, where it may."""

    async def __call__(self, stored: Stored, headers: Mapping[str, str], pieces: Sequence[bytes], *, tokens: Sequence[bytes]) -> None: ...


class Intake:
    """Opens one Reception for each request. `is_ready` is True once the watches are synced; the index knows all Receivers soon after."""

    def __init__(
        self,
        *,
        index: ReceiverIndex,
        inbox: Inbox,
        reading: Reading,
        is_ready: Callable[[], bool],
        carrier: Carrier,
        evaluator: Evaluator,
    ) -> None:
        self.index = index
        self.inbox = inbox
        self.reading = reading
        self.carrier = carrier
        self.evaluator = evaluator
        self.keep: Keep | None = None
        self._is_ready = is_ready

    def open(self, path: str, headers: Mapping[str, str], trace: str, source: str = "") -> "Reception":
        """Look up the path. Header names are lower case, `source` is the caller's address. Raises NotReady, UnknownPath."""
        entry = self.index.find(path)
        if entry is None and not (self._is_ready() and self.index.is_complete):  # what is known is served all the same
            raise NotReady("the service has just started, or a Receiver has just come, and not all are known yet")
        if entry is None:
            raise UnknownPath("no Receiver has this path: compare the hook's address with the Receiver's status.webhookPath")
        return Reception(self, entry, headers, trace=trace, source=source)

    def may_ask(self, path: str) -> bool:
        """Whether a sender may ask with OPTIONS if it may deliver to this path, and is told yes."""
        entry = self.index.find(path)
        return entry is not None and not entry.problem and entry.sender is not None and entry.sender.asks_first

    def may_get(self, path: str) -> bool:
        """Whether the Receiver at this path asks for nothing but the path and reads nothing of the body."""
        entry = self.index.find(path)
        return entry is not None and entry.receiver.spec.type == "generic"


class Reception:
    """One body on its way in. `receiver`, `sender_type` and `delivery_id` (the sender's own, "" without one) are for the delivery log."""

    def __init__(self, intake: Intake, entry: Entry, headers: Mapping[str, str], *, trace: str, source: str) -> None:
        self.trace = trace
        self._source = source
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
        """Check what can be checked before the body. Raises NotFromThere, Unavailable, BadRequest."""
        if self._entry.allowed and not lies_in(self._source, self._entry.allowed):
            raise NotFromThere(f"it comes from {self._source}, which {ALLOW_ANNOTATION} does not name")
        self._entry.check()
        assert self._entry.sender is not None  # checked
        self._sender = self._entry.sender
        try:
            self._verifier = verifier_of(self._sender, self._headers, self._intake.index.credentials(self._entry))
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
        claims = await self._authorise()
        crash.point("hook.verified")
        if not self._counts():
            return Accepted(verdict="filtered", trace=self.trace, detail=f"spec.events does not name {self._event()[:LONGEST_ID]}")
        try:
            asked = claims if self._entry.filters.need_request else None
            events = await self._intake.reading.events(self._sender, self._headers, self._pieces, asked)
        except BadPayload as error:
            packed = self._headers.get("content-encoding", "identity").lower() != "identity"
            raise BadRequest(f"{error}{'; it is compressed, and nothing is unpacked here' if packed else ''}") from error
        for event in events:
            if isinstance(event, Confirmation):
                await self._confirm(event.url)
        events = tuple(Unchanged(what="confirmation") if isinstance(event, Confirmation) else event for event in events)
        told = [event for event in events if not isinstance(event, Request)]
        if told and all(isinstance(event, Unchanged) for event in told):
            said = ", ".join(dict.fromkeys(event.what for event in told if isinstance(event, Unchanged)))
            return Accepted(
                verdict="filtered", trace=self.trace, detail=f"nothing has changed that anyone follows: {said}"[:LONGEST_DETAIL]
            )
        return await self._store(tuple(event for event in events if not isinstance(event, Unchanged)))

    async def _verify(self) -> None:
        """Check the signature; where it does not fit, once more with a token that may have been changed meanwhile."""
        try:
            self._verifier.check()
        except UnknownKey as error:
            self._intake.index.unknown_key(self._entry, error.key)
            raise KeysUnknown(str(error)) from error
        except BadSignature as error:
            newer = await self._intake.index.refreshed(self._entry)
            if newer is None:
                raise BadRequest(str(error)) from error
            try:
                again = verifier_of(self._sender, self._headers, self._intake.index.credentials(newer))
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
            begins_at = self._sender.begins_at(self._headers) if self._sender.begins_at is not None else None
        except BadSignature as error:
            raise BadRequest(str(error)) from error
        if expires_at is not None and expires_at < now - LEEWAY:
            raise BadRequest(f"the token in Authorization has ended at {expires_at.isoformat()}")
        if begins_at is not None and begins_at > now + LEEWAY:
            raise BadRequest(f"the token in Authorization counts only from {begins_at.isoformat()} on")
        if signed_at is not None and abs(now - signed_at) > REPLAY_WINDOW:
            minutes = REPLAY_WINDOW.total_seconds() / 60
            raise BadRequest(
                f"signed at {signed_at.isoformat()}, more than {minutes:g} minutes from now: a replay, or a clock that is wrong"
            )

    async def _authorise(self) -> Mapping[str, object]:
        """Return the claims of a token that is good and good enough, {} for types without. Raises NotAllowed."""
        if self._sender.claims is None:
            return {}
        claims = self._sender.claims(self._headers, self._intake.index.credentials(self._entry)[0])
        refused = await objections(self._intake.evaluator, self._entry.rules[str(claims["iss"])], claims)
        if refused:
            raise NotAllowed("; ".join(refused))
        return claims

    def _counts(self) -> bool:
        """Whether `spec.events` lets the event through, compared as Flux does: whole, without regard to case."""
        if self._sender.name is None:
            return True
        wanted = {name.lower() for name in self._entry.receiver.spec.events}
        return not wanted or self._event().lower() in wanted

    def _event(self) -> str:
        """The event's name in the sender's words."""
        return self._sender.name(self._headers) if self._sender.name is not None else ""

    async def _confirm(self, url: str) -> None:
        """Raises NotStored, so that the sender asks again."""
        try:
            await self._intake.index.certificates.confirm(url)
        except Unconfirmed as error:
            raise NotStored(str(error)) from error

    async def _store(self, events: tuple[Event, ...]) -> Accepted:
        """Make the delivery durable and hand it on. One that repeats another, which is under way or has succeeded, is that other one."""
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
            return Accepted(verdict="duplicate", trace=self.trace, detail=f"of {row.row}, with the same id and the same body")
        crash.point("hook.stored")
        stored = Stored(row=row.row, stored_at=datetime.now(UTC), receiver=self.receiver, events=events, trace=self.trace)
        if not tells_errors(self._entry.receiver):
            self._intake.carrier.stored(stored)
        else:
            await self._carried(stored)
        if self._intake.keep is not None:
            await self._intake.keep(stored, self._headers, self._pieces, tokens=self._tokens())
        return Accepted(verdict="stored", trace=self.trace)

    def _tokens(self) -> list[bytes]:
        held = self._entry.held
        return [each.token for each in (held.current, held.previous) if each is not None and each.token]

    async def _carried(self, stored: Stored) -> None:
        """Hand it on, and wait for what becomes of its filters. Raises FilterFailed."""
        decided: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def decide(problem: str) -> None:
            if not decided.done():
                decided.set_result(problem)

        self._intake.carrier.stored(replace(stored, decided=decide))
        with suppress(TimeoutError):  # it is stored, and carried out later
            async with asyncio.timeout(DECIDE_TIMEOUT.total_seconds()):
                problem = await decided
                if problem:
                    raise FilterFailed(problem)

    async def _accepted(self, new: NewDelivery) -> Row:
        try:
            async with asyncio.timeout(STORE_TIMEOUT.total_seconds()):
                return await self._intake.inbox.accept(new)
        except (StateError, TimeoutError) as error:
            raise NotStored(str(error) or "the disk did not answer in time") from error
