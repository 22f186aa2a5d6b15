"""The delivery log on the admin port: look at it, have a delivery carried out again, see what each Receiver saw last.

In: GET /deliveries?limit=&receiver=[NAMESPACE/]NAME, GET /deliveries/ID, POST /deliveries/ID/replay, GET /receivers. Out: JSON.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web

from service.state.deliverylog import DeliveryLog, LogEntry, TargetState
from service.state.errors import StateError
from service.triggers.kept import NoReplay, Replayed

LIST_LIMIT, MOST_LISTED = 200, 1000

Shown = Mapping[str, object]


async def _no_replay(_wanted: str) -> Replayed:
    raise NoReplay("this process carries no deliveries out")


def _nothing(_trace: str) -> Sequence[Shown]:
    return ()


def _nobody() -> Sequence[Shown]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """`replay` carries a delivery out again and raises NoReplay, StateError; `followed` has the runs that a trace led to, since the start;
    `receivers` what each of them saw last."""

    log: DeliveryLog
    replay: Callable[[str], Awaitable[Replayed]] = _no_replay
    followed: Callable[[str], Sequence[Shown]] = _nothing
    receivers: Callable[[], Sequence[Shown]] = _nobody

    def add_to(self, app: web.Application) -> None:
        """Add its pages."""
        app.router.add_get("/deliveries", self._list)
        app.router.add_get("/deliveries/{id}", self._one)
        app.router.add_post("/deliveries/{id}/replay", self._replayed)
        app.router.add_get("/receivers", self._seen)

    async def _list(self, request: web.Request) -> web.Response:
        """The newest deliveries, accepted and refused; `?limit=` up to 1000, `?receiver=` for one."""
        asked = request.query.get("limit", "")
        limit = min(int(asked), MOST_LISTED) if asked.isascii() and asked.isdigit() and len(asked) < 10 else LIST_LIMIT
        entries = await self.log.newest(limit, request.query.get("receiver", ""))
        return web.json_response({"deliveries": [_shown(entry) for entry in entries]})

    async def _one(self, request: web.Request) -> web.Response:
        """One delivery: by its row, by the id that the caller was given, or by the id that the sender shows."""
        entry = await self.log.find(request.match_info["id"])
        if entry is None:
            return web.json_response({"error": "no such delivery in the log"}, status=404)
        return web.json_response(_shown(entry) | {"followed": list(self.followed(entry.trace))})

    async def _replayed(self, request: web.Request) -> web.Response:
        """Carry one out again."""
        try:
            made = await self.replay(request.match_info["id"])
        except NoReplay as error:
            return web.json_response({"error": str(error)}, status=409)
        except StateError as error:
            return web.json_response({"error": str(error)}, status=503)
        return web.json_response({"id": made.trace, "row": made.row, "replayOf": made.replay_of, "readAgain": made.read_again}, status=202)

    async def _seen(self, _request: web.Request) -> web.Response:
        """What each Receiver saw last."""
        return web.json_response({"receivers": list(self.receivers())})


def _shown(entry: LogEntry) -> dict[str, object]:
    return {
        "id": entry.trace,
        "row": entry.row or None,
        "at": _time(entry.at),
        "endedAt": _time(entry.ended_at),
        "seconds": _seconds(entry.at, entry.ended_at),
        "receiver": str(entry.receiver) if entry.receiver else None,
        "type": entry.sender_type,
        "senderId": entry.delivery_id,
        "state": entry.state,
        "verdict": entry.verdict,
        "detail": entry.detail,
        "replayOf": entry.replay_of,
        "targets": [_target_shown(target) for target in entry.targets],
    }


def _target_shown(target: TargetState) -> dict[str, object]:
    """`seconds` is how long the run took that counted."""
    return {
        "object": str(target.object),
        "state": target.state,
        "result": target.result,
        "detail": target.detail,
        "beganAt": _time(target.began_at),
        "seconds": _seconds(target.began_at, target.ended_at),
    }


def _time(at: datetime | None) -> str | None:
    return at.isoformat(timespec="milliseconds") if at is not None else None


def _seconds(begin: datetime | None, end: datetime | None) -> float | None:
    return round((end - begin).total_seconds(), 4) if begin is not None and end is not None else None
