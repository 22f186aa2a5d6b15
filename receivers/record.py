"""Events as JSON and back: what the inbox keeps of a delivery, and what the recordings beside the tests expect.

In: events of `contract`. Out: a JSON list of `{"type": "GitPush", ...}` with the fields in their own names.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict

from receivers.contract import BadPayload, Event, GitPush, Ping
from receivers.payload import flag, length_of, text, text_or

_WHOLE = "events"


def dump(events: Sequence[Event]) -> str:
    """Return the events as one line of JSON."""
    return json.dumps([{"type": type(event).__name__, **asdict(event)} for event in events], separators=(",", ":"))


def load(recorded: str) -> tuple[Event, ...]:
    """Return the events that `dump` has written. Raises BadPayload on anything else."""
    try:
        whole = {_WHOLE: json.loads(recorded)}
    except ValueError as error:
        raise BadPayload("", "the recorded events are not JSON") from error
    return tuple(_event(whole, number) for number in range(length_of(whole, _WHOLE) or 0))


def _event(whole: object, number: int) -> Event:
    at = (_WHOLE, number)
    match text(whole, *at, "type"):
        case "Ping":
            return Ping()
        case "GitPush":
            return GitPush(
                urls=_texts(whole, *at, "urls") or (),
                ref=text(whole, *at, "ref"),
                before=text_or(whole, *at, "before"),
                after=text_or(whole, *at, "after"),
                deleted=flag(whole, *at, "deleted"),
                forced=flag(whole, *at, "forced"),
                paths=_texts(whole, *at, "paths"),
                default_branch=text_or(whole, *at, "default_branch"),
            )
        case other:
            raise BadPayload(f"{_WHOLE}.{number}.type", f"{other} is not an event of this version")


def _texts(whole: object, *at: str | int) -> tuple[str, ...] | None:
    count = length_of(whole, *at)
    return None if count is None else tuple(text(whole, *at, place) for place in range(count))
