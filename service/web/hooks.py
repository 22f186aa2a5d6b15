"""Webhooks: the only port that faces outside. POST /hook/<64 hex digits>, with any query string; nothing else.

In: requests of senders. Out: 200 once the delivery is on disk (or verified and not wanted), else the status of `answers.STATUS` with a
fixed phrase. Where the path alone proves something (type generic) a GET is a delivery too; a HEAD never is. The reason of a refusal goes to
the delivery log, the path goes nowhere. https://fluxcd.io/flux/components/notification/receivers/
"""

import logging
import time

from aiohttp import web

from service.log import new_trace
from service.log import trace as trace_of_log
from service.metrics import Metrics
from service.state.errors import StateError
from service.state.inbox import Inbox
from service.triggers.intake import LONGEST_ID, Accepted, Intake, Reception
from service.triggers.refusals import FilterFailed, Refused
from service.web.answers import answer, said
from service.web.bodies import InFlight, Limits, check_headers, pieces

log = logging.getLogger(__name__)

UNKNOWN_PER_MINUTE = 30  # refusals of strangers in both logs: enough to find a typo, too few to flood them


class Hooks:
    """What the handlers share."""

    def __init__(self, intake: Intake, inbox: Inbox, metrics: Metrics, limits: Limits | None = None) -> None:
        self.in_flight = InFlight(limits or Limits())
        self._intake = intake
        self._inbox = inbox
        self._metrics = metrics
        self._since, self._unknown = time.monotonic(), 0

    async def answered(self, request: web.Request) -> web.Response:
        """Take one delivery and say what came of it."""
        began, trace = time.perf_counter(), new_trace()
        trace_of_log.set(trace)
        headers = {name.lower(): value for name, value in request.headers.items()}
        reception: Reception | None = None
        try:
            check_headers(request)
            reception = self._intake.open(request.path, headers, trace)
            accepted = await self._received(request, reception)
            response = said(200, accepted.verdict, trace)
        except Refused as error:
            await self._refused(error, reception, headers, trace)
            response = answer(error, trace)
        seconds = time.perf_counter() - began
        if reception is not None and response.status == 200:
            log.info("hook accepted", extra={"object": str(reception.receiver), "verdict": accepted.verdict, "seconds": round(seconds, 5)})
        self._metrics.hook_seconds.labels(str(response.status)).observe(seconds)
        return response

    def may_ask(self, path: str) -> bool:
        """Whether senders of CloudEvents are told that they may deliver to this path; they ask before the first time."""
        return self._intake.may_ask(path)

    def may_get(self, path: str) -> bool:
        """Whether the Receiver at this path asks for nothing but the path, so that a GET is a delivery, as with Flux."""
        return self._intake.may_get(path)

    async def _received(self, request: web.Request, reception: Reception) -> Accepted:
        reception.begin()
        with self.in_flight.share() as share:
            async for chunk in pieces(request, share):
                reception.feed(chunk)
            return await reception.finish()

    async def _refused(self, error: Refused, reception: Reception | None, headers: dict[str, str], trace: str) -> None:
        """Write the reason to the delivery log; a full disk must not make the answer wait for it."""
        if reception is None and not self._is_worth_a_row():  # a stranger, who knows no path
            return
        if isinstance(error, FilterFailed):  # it is stored, and has its row
            return
        log.info("delivery refused", extra={"object": str(reception.receiver) if reception else "", "reason": str(error)})
        try:
            await self._inbox.refused(
                receiver=reception.receiver if reception else None,
                sender_type=reception.sender_type if reception else "",
                delivery_id=reception.delivery_id if reception else headers.get("x-github-delivery", "")[:LONGEST_ID],
                reason=type(error).__name__,
                detail=str(error),
                trace=trace,
            )
        except StateError as failure:
            log.warning("the delivery log cannot be written", extra={"reason": str(failure)})

    def _is_worth_a_row(self) -> bool:
        now = time.monotonic()
        if now - self._since >= 60:
            self._since, self._unknown = now, 0
        self._unknown += 1
        return self._unknown <= UNKNOWN_PER_MINUTE


HOOKS = web.AppKey("hooks", Hooks)


def application(hooks: Hooks) -> web.Application:
    """Return the application of the outward port."""
    app = web.Application()
    app[HOOKS] = hooks
    app.router.add_post("/hook/{digest:[0-9a-f]{64}}", _post)
    app.router.add_route("*", "/hook/{digest:[0-9a-f]{64}}", _other_method)
    app.router.add_route("*", "/{rest:.*}", _nothing)
    return app


async def _post(request: web.Request) -> web.Response:
    return await request.app[HOOKS].answered(request)


async def _other_method(request: web.Request) -> web.Response:
    if request.method in ("GET", "HEAD") and request.app[HOOKS].may_get(request.path):
        allowed = {"Allow": "GET, HEAD, POST", "Cache-Control": "no-store"}
        return await _post(request) if request.method == "GET" else web.Response(headers=allowed)
    origin = request.headers.get("WebHook-Request-Origin", "")
    if request.method == "OPTIONS" and origin and request.app[HOOKS].may_ask(request.path):
        return web.Response(headers={"Allow": "POST", "WebHook-Allowed-Origin": "*", "WebHook-Allowed-Rate": "*"})
    return web.Response(status=405, text="webhooks are sent with POST\n", headers={"Allow": "POST"})


async def _nothing(request: web.Request) -> web.Response:
    return web.Response(status=404, text="not found\n")
