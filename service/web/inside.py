"""For others in the cluster: Flux's event intake, and artifacts for Flux's own consumers.

In: POST of an event on any path, as Flux's controllers do; GET of an artifact, see artifacts.py. Out: 202, 400, 413, 429 as
notification-controller.
https://fluxcd.io/flux/components/notification/events/
Events can be added here, not read, changed or taken back. An address that posts too fast is told 503 and when to come back, which Flux's
emitters do: 429 says to them that the event is known. They cannot send a token; others can, where one is asked for.
"""

import asyncio
import hmac
import json
import math
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

from aiohttp import web

from service.kinds.event import Event
from service.log import new_trace
from service.metrics import Metrics
from service.settings import BodyLimits
from service.triggers.refusals import BadRequest
from service.web.answers import KNOWN, answer, said
from service.web.artifacts import PATH, Artifacts
from service.web.bodies import InFlight, check_headers, pieces
from service.web.posting import PostingRates

EVENT_BYTES = 256 * 1024  # 39,000 characters of message and some metadata; small enough to parse on the loop
EVENT_TIMEOUT = timedelta(seconds=30)
STORE_TIMEOUT = timedelta(seconds=10)

Intake = Callable[[Event], Awaitable[bool]]


class EventSink:
    """Hands events to `intake`, which stores them and returns False for one that it had within the last minutes."""

    def __init__(
        self, intake: Intake, metrics: Metrics, limits: BodyLimits | None = None, *, per_second: float = 100, token: str = ""
    ) -> None:
        self._in_flight = InFlight(limits or BodyLimits(body_bytes=EVENT_BYTES, body_timeout=EVENT_TIMEOUT))
        self._intake = intake
        self._metrics = metrics
        self._rates = PostingRates(per_second)
        self._authorization = f"Bearer {token}".encode() if token else b""

    async def answered(self, request: web.Request) -> web.Response:
        """Take one event."""
        began, trace = time.perf_counter(), new_trace()
        try:
            check_headers(request)
            response = self._stopped(request, trace) or await self._taken(request, trace)
        except KNOWN as error:
            response = answer(error, trace)
        self._metrics.event_seconds.labels(str(response.status)).observe(time.perf_counter() - began)
        return response

    def _stopped(self, request: web.Request, trace: str) -> web.Response | None:
        """An answer for a caller that may not post, or not now."""
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if self._authorization and not hmac.compare_digest(given, self._authorization):
            response = said(401, "a token is needed", trace)
            response.headers["WWW-Authenticate"] = 'Bearer realm="sluice"'
        elif wait := self._rates.wait_of(request.remote or "", time.monotonic()):
            response = said(503, "too many events from this address, try again", trace)
            response.headers["Retry-After"] = str(math.ceil(wait.total_seconds()))
        else:
            return None
        response.force_close()  # part of the body may be unread
        return response

    async def _taken(self, request: web.Request, trace: str) -> web.Response:
        with self._in_flight.share() as share:
            body = b"".join([chunk async for chunk in pieces(request, share)])
        try:
            event = Event.from_json(json.loads(body))
        except (ValueError, RecursionError) as error:
            raise BadRequest("the event is not JSON") from error
        async with asyncio.timeout(STORE_TIMEOUT.total_seconds()):
            is_new = await self._intake(event)
        if is_new:
            return said(202, "accepted", trace)
        response = said(429, "had this event already", trace)
        response.headers["Retry-After"] = "300"
        return response


_SINK = web.AppKey("sink", EventSink)
_ARTIFACTS = web.AppKey("artifacts", Artifacts)


def application(sink: EventSink, artifacts: Artifacts) -> web.Application:
    """Return the application of the port for others in the cluster."""
    app = web.Application()
    app[_SINK], app[_ARTIFACTS] = sink, artifacts
    app.router.add_get(PATH, _artifact)
    app.router.add_post("/{rest:.*}", _event)
    return app


async def _event(request: web.Request) -> web.Response:
    return await request.app[_SINK].answered(request)


async def _artifact(request: web.Request) -> web.StreamResponse:
    return await request.app[_ARTIFACTS].answered(request)
