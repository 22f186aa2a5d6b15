"""Events as JSON and back: what the inbox keeps of a delivery, and what the recordings beside the tests expect.

In: events of `contract`. Out: a JSON list of `{"type": "GitPush", ...}` with the fields in their own names.
"""

import json
from collections.abc import Sequence
from dataclasses import fields

from receivers.contract import BadPayload, BucketChange, ChartPush, Confirmation, Event, GitPush, ImagePush, Ping, Request, Unchanged
from receivers.payload import flag, length_of, text, text_or, texts

_WHOLE = "events"


def dump(events: Sequence[Event]) -> str:
    """Return the events as one line of JSON."""
    return json.dumps([_fields(event) for event in events], separators=(",", ":"))


def load(recorded: str) -> tuple[Event, ...]:
    """Return the events that `dump` has written. Raises BadPayload on anything else."""
    try:
        whole = {_WHOLE: json.loads(recorded)}
    except ValueError as error:
        raise BadPayload("", "the recorded events are not JSON") from error
    return tuple(_event(whole, number) for number in range(length_of(whole, _WHOLE) or 0))


def _fields(event: Event) -> dict[str, object]:
    """Like `asdict`, which copies every path of a push one by one."""
    if isinstance(event, Request):  # longer than a text may be that somebody sends
        return {"type": "Request", "packed": [event.packed], "claims": [event.claims]}
    return {"type": type(event).__name__} | {each.name: getattr(event, each.name) for each in fields(event)}


def _event(whole: object, number: int) -> Event:
    at = (_WHOLE, number)
    match text(whole, *at, "type"):
        case "Ping":
            return Ping()
        case "Unchanged":
            return Unchanged(what=text_or(whole, *at, "what"))
        case "Confirmation":
            return Confirmation(url=text(whole, *at, "url"))
        case "Request":
            return Request(packed=(texts(whole, *at, "packed") or ("",))[0], claims=(texts(whole, *at, "claims") or ("",))[0])
        case "GitPush":
            return _git_push(whole, number)
        case "ImagePush":
            return ImagePush(
                names=texts(whole, *at, "names") or (),
                tag=text_or(whole, *at, "tag"),
                digest=text_or(whole, *at, "digest"),
                deleted=flag(whole, *at, "deleted"),
            )
        case "ChartPush":
            return ChartPush(
                urls=texts(whole, *at, "urls") or (),
                name=text_or(whole, *at, "name"),
                version=text_or(whole, *at, "version"),
                deleted=flag(whole, *at, "deleted"),
            )
        case "BucketChange":
            return BucketChange(bucket=text_or(whole, *at, "bucket"), key=text_or(whole, *at, "key"), deleted=flag(whole, *at, "deleted"))
        case other:
            raise BadPayload(f"{_WHOLE}.{number}.type", f"{other} is not an event of this version")


def _git_push(whole: object, number: int) -> GitPush:
    at = (_WHOLE, number)
    return GitPush(
        urls=texts(whole, *at, "urls") or (),
        ref=text(whole, *at, "ref"),
        before=text_or(whole, *at, "before"),
        after=text_or(whole, *at, "after"),
        deleted=flag(whole, *at, "deleted"),
        forced=flag(whole, *at, "forced"),
        paths=texts(whole, *at, "paths"),
        default_branch=text_or(whole, *at, "default_branch"),
    )
