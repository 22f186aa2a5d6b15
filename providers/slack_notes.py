"""What is kept of a Slack message, so that it can be changed later, and of an alarm, so that its end can be told on it.

In and out: our own JSON, as notes under names that hold the channel, the Alert, the object and the revision.
"""

import hashlib
import json
from collections.abc import Generator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from providers.contract import Event, Placing, Recall, Remember, Reply, Request, Response, Step
from providers.slack_words import Outcome, Told, object_of

MARKS, ROOTS, MEMBERS = 30, 20, 200


@dataclass(slots=True, kw_only=True)
class Entry:
    """How one object stands in a message. `details` is markup already; `ended` says when and by what a failure was over."""

    told: Told
    details: str = ""
    ended: str = ""


@dataclass(slots=True, kw_only=True)
class Root:
    """A message in a channel. `marks` are the events that it shows, `replies` what its thread still lacks, `shown` a digest of its body."""

    channel: str
    ts: str
    commit: str = ""
    members: dict[str, Entry] = field(default_factory=dict)
    marks: list[str] = field(default_factory=list)
    replies: list[dict[str, Any]] = field(default_factory=list)
    shown: str = ""

    def mark(self, mark: str) -> None:
        """The event is shown."""
        self.marks = [*self.marks, mark][-MARKS:]

    def dumped(self) -> str:
        """As a note."""
        return json.dumps(asdict(self))


@dataclass(slots=True, kw_only=True)
class Alarm:
    """A failure that is not over: since when, at which revision, and the notes of the messages that show it."""

    since: datetime
    revision: str
    roots: list[str] = field(default_factory=list)

    def dumped(self) -> str:
        """As a note."""
        return json.dumps({"since": self.since.isoformat(), "revision": self.revision, "roots": self.roots[-ROOTS:]})


def root_of(note: str | None) -> Root | None:
    """The message of a note; None where there is none, or one of another version."""
    try:
        body = json.loads(note or "null")
        members = {
            name: Entry(
                told=Told(**each["told"] | {"notes": tuple(each["told"]["notes"]), "details": ()}),
                details=each["details"],
                ended=each["ended"],
            )
            for name, each in body["members"].items()
        }
        return Root(**body | {"members": members})
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def alarm_of(note: str | None) -> Alarm | None:
    """The alarm of a note; None where there is none, or one of another version."""
    try:
        body = json.loads(note or "null")
        return Alarm(
            since=datetime.fromisoformat(body["since"]), revision=str(body["revision"]), roots=[str(each) for each in body["roots"]]
        )
    except (ValueError, TypeError, KeyError):
        return None


def mark_of(event: Event) -> str:
    """The same for an event and its repetition."""
    if event.id:
        return event.id
    parts = [object_of(event), event.severity, event.reason, event.message, event.timestamp.isoformat(), event.alert]
    parts += [mark_of(each) for each in event.members]
    return hashlib.sha256(json.dumps(parts).encode(errors="replace")).hexdigest()[:16]


def digest_of(body: dict[str, Any]) -> str:
    """The same for the same message."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]


def recall(name: str) -> Generator[Step, Reply, str | None]:
    """A note."""
    reply = yield Recall(name=name)
    return reply if isinstance(reply, str) else None


def remember(**notes: str | None) -> Placing:
    """Keep notes."""
    yield Remember(notes=notes)


def ask(request: Request) -> Generator[Step, Reply, Response]:
    """The response to a request."""
    reply = yield request
    if not isinstance(reply, Response):
        raise TypeError("a request is answered by a response")
    return reply


def line_of(entry: Entry) -> tuple[Outcome, str]:
    """An object in a list."""
    if entry.ended:
        return "well", f"{entry.told.head}: {entry.ended}"
    first = entry.told.line.partition("\n")[0]
    return entry.told.outcome, f"{entry.told.head} {first}".strip()
