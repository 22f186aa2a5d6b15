"""What every provider takes and gives: an event, the target, HTTP requests, and the ways in which a target says no.

In: an event with the Alert's metadata merged in, and where to send it. Out: requests that somebody else sends. Nothing here does I/O.
"""

import asyncio
import hmac
import ssl
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Generic, Literal, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Secret:
    """A text that must not be seen: nothing but `reveal` shows it."""

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the request and nothing else."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._text.encode(errors="replace"), other._text.encode(errors="replace"))

    __hash__ = None  # type: ignore[assignment]  # not a key of anything

    def __repr__(self) -> str:
        return "Secret(***)" if self._text else "Secret()"

    __str__ = __repr__


class Rejected(Exception):
    """The target will never take this as things stand. The message says what to do; it holds no address and no credentials."""


class Misconfigured(Rejected):
    """The Provider or its Secret lacks something: messages wait until it is corrected. The message says what to set."""


class Busy(Exception):
    """The target may take this later; `retry_after` is its own wish, None where it has none."""

    def __init__(self, message: str, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event, ready to be told. `metadata` keys have no group; all texts are foreign and may hold anything.

    `recovery_only`: the Alert asks for failures only, and this one is told just to end an alarm that such a failure raised.
    `id` is the same in every attempt, and of no other message; "" where nothing is told for good, as in a trial.
    `options`: what the Alert's annotations say of the look and the place. `title`: a template's, in place of the built-in one; then
    `message` is a template's too. `members`: what one message tells of, where it stands for several events.
    """

    kind: str
    namespace: str
    name: str
    severity: Literal["info", "error"]
    reason: str
    message: str
    timestamp: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)
    alert: str = ""
    controller: str = ""
    instance: str = ""
    api_version: str = ""
    uid: str = ""
    resource_version: str = ""
    alert_uid: str = ""
    recovery_only: bool = False
    id: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    title: str = ""
    members: tuple["Event", ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who sends: a token that the cluster has signed for a ServiceAccount, and the account's annotations."""

    token: Secret
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant(Generic[T_co]):
    """What a cloud has given to an identity. `valid`: for how long it is good, from when it was asked for."""

    value: T_co = field(repr=False)
    valid: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to send, out of the Provider and its Secret; what is not given is empty.

    `uid` is the Provider's; `keys` holds what else of the Secret the type uses; `now` is the time of the attempt; `options` is what its
    annotations say of the look and the place (an event's own come first).
    `status_id` is what a commit's status is called where the Provider says so;
    `granted`: token or keys are what a cloud has given to a ServiceAccount.
    """

    address: Secret = field(default_factory=Secret)
    token: Secret = field(default_factory=Secret)
    username: str = ""
    password: Secret = field(default_factory=Secret)
    channel: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    uid: str = ""
    keys: Mapping[str, Secret] = field(default_factory=dict)
    now: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    options: Mapping[str, str] = field(default_factory=dict)
    status_id: str = ""
    granted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request. The address may be a secret itself."""

    method: Literal["GET", "POST", "PUT", "PATCH"]
    url: Secret
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What came back. Header names are lower case; the body may be cut."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """What a Provider's certSecretRef holds, in PEM; empty where it is not given."""

    ca: bytes = b""
    certificate: bytes = b""
    key: bytes = field(default=b"", repr=False)


class Means(Protocol):
    """What a target that is not spoken to by requests is reached with; both ways keep to the rules on which addresses may be reached."""

    @property
    def tls(self) -> ssl.SSLContext | None:
        """The TLS that the Provider names, None for the system's authorities."""

    @property
    def certificates(self) -> Certificates | None:
        """What that TLS is made of, for a process of its own."""

    @property
    def timeout(self) -> timedelta:
        """What the attempt may take."""

    async def connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection. Raises Misconfigured where the address must not be reached, OSError."""

    async def apart(self, function: Callable[..., T], *args: object) -> T:
        """Return `function(*args)` out of a process of its own, which reads no files of ours and starts no programs.

        For libraries that block, and that make connections themselves; function and arguments must pickle. Raises Misconfigured where
        it reached for an address that must not be reached, Busy where it did not end in time, and what the function raises.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """Asks for a note that an earlier `Remember` left, or None."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remember:
    """Notes to keep before anything else is done; None forgets one. They outlive the process."""

    notes: Mapping[str, str | None]


Dialogue = Generator[Request, Response, None]
Exchange = Generator[Request, Response, Grant[T]]
Lent = str | dict[str, Secret]
Step = Request | Recall | Remember
Reply = Response | str | None
Placing = Generator[Step, Reply, None]
Wants = Literal["news", "all", "commit_status", "change_request"]
Cloud = Literal["", "aws", "azure", "gcp"]
Address = Literal["url", "git", "dsn", "nats", "free", "unused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One line of the table. A module has one of four forms.

    `render` makes the one request (raises Rejected) and `settle` judges the response (raises Rejected, Busy). `converse` is a generator
    that yields requests and is sent their responses; `place` is one that keeps notes between events, for messages that are changed later.
    `publish` talks to the target itself, where that is not HTTP, or where a library does it; `preview` is what of it people see in a dry
    run.

    `verbatim`: the event itself is sent, for programs: no template changes it, and none is held back for others. `library`: what must be
    installed, by the extra of the type's name. `wants`: which events: news; all, with those that only refresh a commit's status; those of a
    commit; those of a change request. `alarms`: a failure raises an alarm there that the recovery ends. `address`: what form the address
    has. `secret_keys`: keys of the Secret beside address, token, username and password that the type uses. `headers`: whether it sends the
    Secret's headers. `proxies`, `tls`: whether a proxy and TLS of the Provider's own are used. `identity`: the cloud whose identity of a
    ServiceAccount can stand for credentials; `exchange` leads to what it lends: a token, which becomes the target's, or keys. `folds`:
    people read it, so that after an outage the newest state of an object may stand for those before it, and a late message says so.
    `at_once`: how many messages, each about another object, may be under way together.
    """

    render: Callable[[Event, Target], Request] | None = None
    settle: Callable[[Response], None] | None = None
    converse: Callable[[Event, Target], Dialogue] | None = None
    place: Callable[[Event, Target], Placing] | None = None
    publish: Callable[[Event, Target, Means], Awaitable[None]] | None = None
    preview: Callable[[Event, Target], str] | None = None
    wants: Wants = "news"
    verbatim: bool = False
    library: str = ""
    alarms: bool = False
    address: Address = "url"
    secret_keys: tuple[str, ...] = ()
    headers: bool = False
    proxies: bool = True
    tls: bool = True
    identity: Cloud = ""
    exchange: Callable[[Identity, Target], Exchange[Lent]] | None = None
    folds: bool = False
    at_once: int = 1

    def dialogue(self, event: Event, target: Target) -> Dialogue:
        """The requests of one event, whichever of the first three forms the module has, without notes. Raises Rejected, Busy."""
        if self.place is not None:
            yield from _without_notes(self.place(event, target))
        elif self.converse is not None:
            yield from self.converse(event, target)
        elif self.render is not None and self.settle is not None:
            self.settle((yield self.render(event, target)))


def _without_notes(placing: Placing) -> Dialogue:
    """The requests as if nothing had been told before."""
    kept: dict[str, str | None] = {}
    reply: Reply = None
    while True:
        try:
            step = placing.send(reply)
        except StopIteration:
            return
        match step:
            case Request():
                reply = yield step
            case Recall():
                reply = kept.get(step.name)
            case Remember():
                kept |= step.notes
                reply = None


_RECOVERIES = frozenset(("NewArtifact", "DriftCorrected"))


def recovers(severity: str, reason: str) -> bool:
    """Whether an event says that its object is well again: `Progressing` or `DependencyNotReady` is info too, and does not say so."""
    return severity == "info" and (reason.endswith("Succeeded") or reason in _RECOVERIES)


LONGEST_WAIT = timedelta(hours=1)


def retry_after(response: Response) -> timedelta | None:
    """The Retry-After header, in seconds or as a date (read against the answer's own Date), 0 to LONGEST_WAIT; None if unreadable."""
    text = response.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=int(text[:9])), LONGEST_WAIT)
    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(response.headers.get("date", ""))
    except (ValueError, TypeError):  # TypeError: only one of them has an offset
        return None
    return min(max(wait, timedelta(0)), LONGEST_WAIT)
