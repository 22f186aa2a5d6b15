"""What a message that people read says of its own delay, and of the earlier ones that it stands for.

In: an event as it was stored, the payloads of those that were folded into it, the time. Out: the event as it is told. Nothing is said to
machines: they have the event's own time, and nothing is folded for them.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from providers import contract

LATE = timedelta(minutes=2)


def noted(event: contract.Event, *, folded: int, earlier: Sequence[str], now: datetime) -> contract.Event:
    """The event with a note on when it happened, where that is a while ago, and on the `folded` messages that it stands for.

    `earlier`: the payloads of the last of these, newest first.
    """
    notes = [*_lateness(event, now), *_folding(folded, earlier)]
    return replace(event, message="\n\n".join(filter(None, (event.message, *notes)))) if notes else event


def _lateness(event: contract.Event, now: datetime) -> list[str]:
    late = now - event.timestamp
    if late < LATE:
        return []
    hours, minutes = divmod(late // timedelta(minutes=1), 60)
    shown = f"{hours} h {minutes} min" if hours else f"{minutes} min"
    return [f"This happened at {_shown(event.timestamp)}; it is told {shown} late."]


def _folding(folded: int, earlier: Sequence[str]) -> list[str]:
    if not folded:
        return []
    counted = "1 earlier message about this object is" if folded == 1 else f"{folded} earlier messages about this object are"
    listed = ", ".join(filter(None, map(_one, reversed(earlier))))
    more = ", before them others" if folded > len(earlier) else ""
    return [f"{counted} folded into this one, since the target did not take messages: {listed}{more}."]


def _one(payload: str) -> str:
    try:
        body = json.loads(payload)
        return f"{body['reason']} at {_shown(datetime.fromisoformat(body['timestamp']))}"
    except (ValueError, KeyError, TypeError):
        return ""


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
