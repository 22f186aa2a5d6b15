"""The messages on the admin port: what waits, what was sent, what was given up, and sending it again.

In: GET /alerts, GET /alerts/{id}, GET /senders; POST /alerts/{id}/resend, POST /alerts/resend. Out: JSON. The token and the Host header are
checked by `admin`, whose application this adds to.
"""

import json
from datetime import datetime

from aiohttp import web

from service.kinds.meta import NOTIFICATION_GROUP, ObjectKey
from service.state.held import Held, HeldMessage
from service.state.letters import Letter, Letters, Sender, State
from service.state.outbox import Outbox

LIST_LIMIT, MOST = 200, 1000
STATES: tuple[State, ...] = ("", "queued", "sent", "folded", "rejected")
_LETTERS = web.AppKey("letters", Letters)
_OUTBOX = web.AppKey("outbox", Outbox)
_HELD = web.AppKey("held", Held)


def add_routes(app: web.Application, letters: Letters, outbox: Outbox, held: Held) -> None:
    """Add the routes to the application of the admin port."""
    app[_LETTERS], app[_OUTBOX], app[_HELD] = letters, outbox, held
    app.router.add_get("/alerts", _list)
    app.router.add_post("/alerts/resend", _resend_dead)
    app.router.add_get(r"/alerts/{id:\d{1,18}}", _show)
    app.router.add_post(r"/alerts/{id:\d{1,18}}/resend", _resend)
    app.router.add_get("/senders", _senders)


async def _list(request: web.Request) -> web.Response:
    """The newest, newest first, beside them what is held back; `?state=`, `?provider=namespace/name`, `?limit=` up to 1000."""
    state = next((each for each in STATES if each == request.query.get("state", "")), None)
    if state is None:
        return web.json_response({"error": f"state is one of {', '.join(filter(None, STATES))}"}, status=400)
    asked = request.query.get("limit", "")
    limit = min(int(asked), MOST) if asked.isascii() and asked.isdigit() and len(asked) < 10 else LIST_LIMIT
    provider = _provider(request)
    found = await request.app[_LETTERS].newest(state=state, provider=provider, limit=limit)
    held = await request.app[_HELD].newest(provider=provider, limit=limit) if state in ("", "queued") else []
    counts = dict(await request.app[_OUTBOX].counts())
    return web.json_response({"alerts": [_shown(each) for each in found], "held": [_held(each) for each in held], "counts": counts})


async def _show(request: web.Request) -> web.Response:
    """One, with the event that it tells."""
    found = await request.app[_LETTERS].show(int(request.match_info["id"]))
    if found is None:
        return _missing(request)
    return web.json_response(_shown(found) | {"event": dict(found.event)})


async def _resend(request: web.Request) -> web.Response:
    """Queue one again that has ended."""
    if not await request.app[_LETTERS].resend(int(request.match_info["id"])):
        return _missing(request)
    return web.json_response({"resent": 1})


async def _resend_dead(request: web.Request) -> web.Response:
    """Queue every dead letter again; `?provider=namespace/name` those of one."""
    return web.json_response({"resent": await request.app[_LETTERS].resend_dead(_provider(request))})


async def _senders(request: web.Request) -> web.Response:
    """What became of the messages of each Provider and Alert."""
    found = await request.app[_LETTERS].senders()
    return web.json_response({"senders": [_sender(found[key]) for key in sorted(found) if key.kind in ("Provider", "Alert")]})


def _provider(request: web.Request) -> ObjectKey | None:
    namespace, _, name = request.query.get("provider", "").partition("/")
    return ObjectKey(group=NOTIFICATION_GROUP, kind="Provider", namespace=namespace, name=name.replace("/", "")) if name else None


def _missing(request: web.Request) -> web.Response:
    number = request.match_info["id"]
    return web.json_response(
        {"error": f"no message {number} that could be shown or sent again: it waits, or is no longer kept"}, status=404
    )


def _shown(letter: Letter) -> dict[str, object]:
    event = letter.event
    return {
        "id": letter.id,
        "state": letter.state,
        "storedAt": _time(letter.stored_at),
        "at": _time(letter.at),
        "alert": str(letter.alert),
        "provider": str(letter.provider),
        "object": letter.object,
        "severity": event.get("severity", ""),
        "reason": event.get("reason", ""),
        "message": str(event.get("message", ""))[:500],
        "happenedAt": event.get("timestamp", ""),
        "trace": event.get("trace", ""),
        "attempts": letter.attempts,
        "error": letter.error,
        "folded": letter.folded,
        "foldedInto": letter.folded_into,
    }


def _held(message: HeldMessage) -> dict[str, object]:
    event = json.loads(message.event)
    involved = event.get("involvedObject", {})
    return {
        "until": _time(message.until),
        "why": message.why,
        "alert": str(message.alert),
        "provider": str(message.provider),
        "object": "/".join(str(involved[name]) for name in ("kind", "namespace", "name") if involved.get(name)),
        "severity": event.get("severity", ""),
        "reason": event.get("reason", ""),
        "message": str(event.get("message", ""))[:500],
    }


def _sender(sender: Sender) -> dict[str, object]:
    return {
        "object": str(sender.key),
        "sent": sender.sent,
        "failedAttempts": sender.failed,
        "dead": sender.dead,
        "folded": sender.folded,
        "queued": sender.queued,
        "lastSentAt": _time(sender.last_sent_at),
        "lastError": sender.last_error,
        "lastErrorAt": _time(sender.last_error_at),
        "failingSince": _time(sender.failing_since),
        "refused": sender.refused,
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds")
