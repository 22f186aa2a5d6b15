"""What every receiver takes and gives: the delivery, the credentials, the events, and the two errors.

In: the headers and, once its signature is checked, the body of one webhook. Out: events, which are hints: they may narrow what is
looked at, never decide what is fetched. A sender is mainly two functions: `verifier` is fed with the body while it streams, `read` gets the
verified whole.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


class BadSignature(Exception):
    """The delivery does not prove that it comes from the sender. The message is for the delivery log, never for the caller."""


class UnknownKey(BadSignature):
    """The delivery is signed with a key that is not known, perhaps a new one: it can be tried again once the keys are fetched.

    `key` is where the key is, where the delivery says so.
    """

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


class BadPayload(Exception):
    """The delivery is not what its sender sends. `path` names the place, such as `repository.clone_url`, "" for the whole body."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.message = message

    def __reduce__(self) -> tuple[type["BadPayload"], tuple[str, str]]:
        return (BadPayload, (self.path, self.message))


@dataclass(frozen=True, slots=True, kw_only=True)
class RsaKey:
    """A public key of someone who signs tokens."""

    id: str
    modulus: int
    exponent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Somebody who signs tokens for many: its address, the audience that a token must be for, and its keys, () while they are not known."""

    url: str
    audience: str
    keys: tuple[RsaKey, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What the Receiver's Secret holds, and the keys of whoever signs for the sender: both for the types that need them."""

    token: bytes = field(repr=False)
    email: str = ""
    audience: str = ""
    keys: tuple[RsaKey, ...] = ()
    issuers: tuple[Issuer, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One webhook whose signature is good. Header names are lower case; the body is exactly what was signed."""

    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GitPush:
    """A ref of a repository moved.

    `urls` are all addresses under which the sender knows the repository. `before` and `after` are commit ids, "" where there is none (a new
    or a deleted ref). `paths` are the changed files, sorted; None where the sender does not tell all of them.
    """

    urls: tuple[str, ...]
    ref: str
    before: str = ""
    after: str = ""
    deleted: bool = False
    forced: bool = False
    paths: tuple[str, ...] | None = None
    default_branch: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePush:
    """A tag or a manifest of an image repository was pushed, moved or deleted. OCI artifacts of every kind are images here.

    `names` are all names of the repository without tag: `ghcr.io/acme/shop`, or `/acme/shop` where the sender does not tell its host.
    `tag` is "" for a push by digest, `digest` is "" where the sender does not tell it.
    """

    names: tuple[str, ...]
    tag: str = ""
    digest: str = ""
    deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartPush:
    """A version of a chart in a Helm repository (one with an index.yaml) was pushed or deleted.

    `urls` are the addresses of the Helm repository, () where the sender does not tell them.
    """

    urls: tuple[str, ...]
    name: str
    version: str = ""
    deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketChange:
    """An object of a bucket was written or deleted. `key` is its name, "" where the sender does not tell it."""

    bucket: str
    key: str = ""
    deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """The sender tries out the address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchanged:
    """Something happened that changes nothing that anyone follows: a pull, a scan, a layer. `what` says it in the sender's words.

    A delivery of nothing else runs nothing: our own fetches cause pulls, which must not cause fetches.
    """

    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """No event, but what a Receiver's expressions read: `packed` is the JSON body, by zlib and base64; `claims` are a token's."""

    packed: str = field(default="", repr=False)
    claims: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """The sender wants to hear, at an address of its own, that its deliveries are wanted."""

    url: str


Event = GitPush | ImagePush | ChartPush | BucketChange | Ping | Unchanged | Request | Confirmation


class Verifier(Protocol):
    """Checks one body while it arrives."""

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the body."""

    def check(self) -> None:
        """The body is complete. Raises BadSignature where it is not signed with the token."""


def no_delivery_id(_headers: Mapping[str, str]) -> str:
    """The sender gives its deliveries no id."""
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """One type of Receiver.

    `verifier` raises BadSignature at once where a header is missing or malformed. `read` returns () for an event that says nothing about
    what changed; it raises BadPayload. `name` is the event's name in the sender's words: what `spec.events` is compared with; None where a
    header does not carry one, so that `spec.events` has no effect, as with Flux. `delivery_id` is the sender's own id, to be found again on
    its pages, or "". `signed_at` is when the sender signed, where the signature covers that: an old delivery is a replay. `expires_at` is
    when the proof ends, `begins_at` when it begins. `claims` are those of its token, once checked. `issuers`: `spec.oidcProviders` takes
    the Secret's place. `needs_keys`: the Secret must hold `email` and `audience` too, and Google's keys are needed.
    `needs_topic`: it must hold `topic`, and certificates of AWS SNS are needed. `asks_first`: it may ask with OPTIONS whether it may
    deliver (https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md).
    """

    type: str
    verifier: Callable[[Mapping[str, str], Credentials], Verifier]
    read: Callable[[Delivery], tuple[Event, ...]]
    name: Callable[[Mapping[str, str]], str] | None = None
    delivery_id: Callable[[Mapping[str, str]], str] = no_delivery_id
    signed_at: Callable[[Mapping[str, str]], datetime | None] | None = None
    expires_at: Callable[[Mapping[str, str]], datetime] | None = None
    begins_at: Callable[[Mapping[str, str]], datetime | None] | None = None
    claims: Callable[[Mapping[str, str], Credentials], Mapping[str, object]] | None = None
    issuers: bool = False
    needs_keys: bool = False
    needs_topic: bool = False
    asks_first: bool = False
