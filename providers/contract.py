"""What every provider takes and gives: an event, the target, one HTTP request, and the two ways in which a target says no.

In: an event with the Alert's metadata merged in, and where to send it. Out: a request that somebody else sends. Nothing here does I/O.
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Literal


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


class Busy(Exception):
    """The target may take this later; `retry_after` is its own wish, None where it has none."""

    def __init__(self, message: str, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event, ready to be told. `metadata` keys have no group; all texts are foreign and may hold anything."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to send, out of the Provider and its Secret; what is not given is empty."""

    address: Secret = field(default_factory=Secret)
    token: Secret = field(default_factory=Secret)
    username: str = ""
    channel: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request. The address may be a secret itself."""

    method: Literal["POST", "PUT"]
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
class Provider:
    """One line of the table: `render` makes the request (raises Rejected), `settle` judges the response (raises Rejected, Busy)."""

    render: Callable[[Event, Target], Request]
    settle: Callable[[Response], None]


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
