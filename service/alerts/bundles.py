"""Several messages as one: the last state of each object, what failed first, and how many messages it stands for.

In: stored messages, oldest first. Out: one stored message. Pure and quick: it runs where the messages are stored.
"""

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from service.kinds.meta import ObjectKey
from service.state import moments
from service.state.held import Held

log = logging.getLogger(__name__)

MEMBERS, LISTED, LINE = 200, 40, 200
SOON = timedelta(milliseconds=20)
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")


def composed(payloads: Sequence[str]) -> str:
    """The payload that stands for all of these."""
    bodies = [json.loads(each) for each in payloads]
    last: dict[str, dict[str, Any]] = {}
    for body in bodies:
        last.pop(_name(body), None)
        last[_name(body)] = body
    if len(last) == 1:
        counted = f"{len(bodies) - 1} earlier message{'s' if len(bodies) > 2 else ''} about this object came before and stand in this one."
        return json.dumps({**bodies[-1], "message": "\n\n".join(filter(None, (bodies[-1]["message"], counted)))})
    members = sorted(last.values(), key=lambda body: body["severity"] != "error")
    title = _title(members, len(bodies))
    lines = [f"- {_name(body)}: {_words(body)}{_first(body)}" for body in members[:LISTED]]
    more = [f"- and {len(members) - LISTED} more"] if len(members) > LISTED else []
    reasons = {body["reason"] for body in members}
    return json.dumps(
        {
            **bodies[-1],
            "severity": members[0]["severity"],
            "reason": reasons.pop() if len(reasons) == 1 else "Digest",
            "title": "",
            "message": "\n".join([title, *lines, *more]),
            "metadata": _shared([body["metadata"] for body in members]),
            "recovery_only": all(body["recovery_only"] for body in members),
            "members": [{name: value for name, value in body.items() if name not in ("trace", "members")} for body in members[:MEMBERS]],
        }
    )


async def release_due(held: Held, is_mute: Callable[[ObjectKey], bool]) -> timedelta | None:
    """Queue what has been held long enough, or by a mute that is over; return when to come back, None where nothing is held."""
    waits: list[timedelta] = []
    for bundle in await held.bundles():
        left = bundle.until - moments.now()
        muted = bundle.name.endswith("|mute")
        if is_mute(bundle.alert) if muted else left > timedelta(0):
            waits.append(max(left, SOON))
            continue
        count = await held.release(bundle.name)
        log.info("held messages released", extra={"alert": str(bundle.alert), "count": count})
    return min(waits, default=None)


def _title(members: Sequence[Mapping[str, Any]], count: int) -> str:
    failed = [body for body in members if body["severity"] == "error"]
    if failed and len(failed) == len(members) and len({body["reason"] for body in failed}) == 1:
        return f"{len(failed)} objects: {_words(failed[0])}"
    parts = [f"{len(failed)} failed"] if failed else []
    parts += [f"{len(members) - len(failed)} did not"] if failed and len(failed) < len(members) else []
    return f"{count} messages about {len(members)} objects" + (f": {', '.join(parts)}" if parts else "")


def _name(body: Mapping[str, Any]) -> str:
    return "/".join(filter(None, (body["kind"], body["namespace"], body["name"])))


def _words(body: Mapping[str, Any]) -> str:
    return _WORDS.sub(" ", body["reason"]).lower()


def _first(body: Mapping[str, Any]) -> str:
    line = next((line.strip() for line in body["message"].splitlines() if line.strip()), "")
    return f": {line[:LINE]}" if line else ""


def _shared(all_metadata: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first, *others = all_metadata
    return {name: value for name, value in first.items() if all(each.get(name) == value for each in others)}
