"""Muting an Alert for a while: an annotation with an end, an owner and a reason.

In and out: the annotation's JSON, `{"until": "2026-11-22T08:00:00Z", "by": "ann", "reason": "database migration"}`. Nothing is lost: what
comes meanwhile is held, and told as one digest when the mute ends.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from service.kinds.meta import format_time, parse_time

MUTE = "notification.sluice.dev/mute"
LONGEST = timedelta(days=30)


class BadMute(ValueError):
    """The annotation cannot be used; the message says what it lacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mute:
    """Until when, on whose word, and why."""

    until: datetime
    by: str
    reason: str

    def to_text(self) -> str:
        """As the annotation holds it."""
        return json.dumps({"until": format_time(self.until), "by": self.by, "reason": self.reason})

    def words(self) -> str:
        """For people."""
        return f"muted until {format_time(self.until)} by {self.by}: {self.reason}"


def mute_of(annotations: Mapping[str, str], now: datetime) -> Mute | None:
    """The mute that holds now, None where there is none or it is over. Raises BadMute."""
    said = annotations.get(MUTE)
    if not said:
        return None
    try:
        body = json.loads(said)
        until, by, reason = parse_time(str(body["until"])), str(body["by"]).strip(), str(body["reason"]).strip()
    except (ValueError, TypeError, KeyError) as error:
        raise BadMute(f"annotation {MUTE} must be JSON with until (a time like 2026-01-31T12:00:00Z), by and reason") from error
    if not by or not reason:
        raise BadMute(f"annotation {MUTE} must name who mutes (by) and why (reason)")
    if until - now > LONGEST:
        raise BadMute(f"annotation {MUTE} must end within {LONGEST.days} days")
    return Mute(until=until, by=by[:100], reason=reason[:500]) if until > now else None
