"""What every receiver takes and gives: the delivery, the credentials, the events, and the two errors.

In: the headers and, once its signature is checked, the body of one webhook. Out: events, which are hints: they may narrow what is
looked at, never decide what is fetched. A sender is mainly two functions: `verifier` is fed with the body while it streams, `read` gets the
verified whole.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol


class BadSignature(Exception):
    """The delivery does not prove that it comes from the sender. The message is for the delivery log, never for the caller."""


class BadPayload(Exception):
    """The delivery is not what its sender sends. `path` names the place, such as `repository.clone_url`, "" for the whole body."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.message = message

    def __reduce__(self) -> tuple[type["BadPayload"], tuple[str, str]]:
        return (BadPayload, (self.path, self.message))


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What the Receiver's Secret holds."""

    token: bytes = field(repr=False)


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
class Ping:
    """The sender tries out the address."""


Event = GitPush | Ping


class Verifier(Protocol):
    """Checks one body while it arrives."""

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the body."""

    def check(self) -> None:
        """The body is complete. Raises BadSignature where it is not signed with the token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """One type of Receiver.

    `verifier` raises BadSignature at once where a header is missing or malformed. `name` is the event's name in the sender's words, ""
    where the delivery has none: what `spec.events` is compared with. `delivery_id` is the sender's own id, to be found again on its pages,
    or "". `read` returns () for an event that says nothing about what changed; it raises BadPayload.
    """

    type: str
    verifier: Callable[[Mapping[str, str], Credentials], Verifier]
    name: Callable[[Mapping[str, str]], str]
    delivery_id: Callable[[Mapping[str, str]], str]
    read: Callable[[Delivery], tuple[Event, ...]]
