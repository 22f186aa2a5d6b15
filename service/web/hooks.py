"""Webhooks: the only port that faces outside. POST /hook/<64 hex digits>, with any query string; nothing else.

In: requests of senders. Out: 200 once the delivery is on disk (or verified and not wanted), else the status of `answers.STATUS` with a
fixed phrase. Where the path alone proves something (type generic) a GET is a delivery too; a HEAD never is. The reason of a refusal goes to
the delivery log, the path goes nowhere. https://fluxcd.io/flux/components/notification/receivers/
"""

import logging
import time
from dataclasses import replace

from aiohttp import web

from service.log import new_trace
from service.log import trace as trace_of_log
from service.metrics import Metrics
from service.settings import HookSettings
from service.state.deliverylog import DeliveryLog, Note
from service.state.errors import StateError
from service.triggers.intake import LONGEST_ID, Accepted, Intake, Reception
from service.triggers.lastseen import LastSeen
from service.triggers.refusals import FilterFailed, Refused, TooMany, UnknownPath
from service.web.answers import answer, said
from service.web.bodies import InFlight, check_headers, pieces
from service.web.callers import Callers
from service.web.rates import Rates

log = logging.getLogger(__name__)

UNKNOWN_PER_MINUTE = 30  # refusals of strangers in both logs: enough to find a typo, too few to flood them


class Hooks:
    """What the handlers share. `seen` hears of each delivery to a Receiver."""

    def __init__(self, intake: Intake, deliveries: DeliveryLog, metrics: Metrics, settings: HookSettings | None = None) -> None:
        settings = settings or HookSettings()
        self.in_flight = InFlight(settings.limits)
        self.seen = LastSeen()
        self._callers = Callers(trusted=settings.trusted_proxies, allowed=settings.allow_from)
        self._rates = Rates(settings)
        self._intake = intake
        self._log = deliveries
        self._metrics = metrics
        self._since, self._unknown = time.monotonic(), 0

    async def answered(self, request: web.Request) -> web.Response:
        """Take one delivery and say what came of it."""
        began, trace = time.perf_counter(), new_trace()
        trace_of_log.set(trace)
        headers = {name.lower(): value for name, value in request.headers.items()}
        source = self._callers.of(request)
        reception: Reception | None = None
        refusal: Refused | None = None
        try:
            check_headers(request)
            self._callers.check(source)
            reception = self._open(request.path, headers, trace, source)
            self._rates.check(source, reception.receiver)
            accepted = await self._received(request, reception)
            response = said(200, accepted.verdict, trace)
        except Refused as error:
            refusal = error
            response = answer(error, trace)
        if refusal is not None:
            await self._refused(refusal, reception, headers, trace)
        elif reception is not None:
            await self._taken(accepted, reception, time.perf_counter() - began)
        self._rates.count(source, reception.receiver if reception is not None else None, refusal)
        self._metrics.hook_seconds.labels(str(response.status)).observe(time.perf_counter() - began)
        return response

    def _open(self, path: str, headers: dict[str, str], trace: str, source: str) -> Reception:
        """Raises UnknownPath, NotReady; TooMany for who has guessed paths too often."""
        try:
            return self._intake.open(path, headers, trace, source)
        except UnknownPath:
            self._rates.check(source, None)
            raise

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

    async def _taken(self, accepted: Accepted, reception: Reception, seconds: float) -> None:
        """What is stored has its row; the rest is noted."""
        log.info("hook accepted", extra={"object": str(reception.receiver), "verdict": accepted.verdict, "seconds": round(seconds, 5)})
        self.seen.taken(reception.receiver, accepted.verdict)
        if accepted.verdict != "stored":
            note = Note(state=accepted.verdict, reason=accepted.verdict, detail=accepted.detail, trace=accepted.trace)
            await self._noted(_about(note, reception))

    async def _refused(self, error: Refused, reception: Reception | None, headers: dict[str, str], trace: str) -> None:
        """Write the reason to the delivery log; a full disk must not make the answer wait for it."""
        if reception is not None:
            self.seen.refused(reception.receiver, str(error))
        if (reception is None or isinstance(error, TooMany)) and not self._is_worth_a_row():  # a stranger, or a flood
            return
        if isinstance(error, FilterFailed):  # it is stored, and has its row
            return
        log.info("delivery refused", extra={"object": str(reception.receiver) if reception else "", "reason": str(error)})
        note = Note(state="refused", reason=type(error).__name__, detail=str(error), trace=trace)
        await self._noted(
            _about(note, reception) if reception else replace(note, delivery_id=headers.get("x-github-delivery", "")[:LONGEST_ID])
        )

    async def _noted(self, note: Note) -> None:
        try:
            await self._log.note(note)
        except StateError as failure:
            log.warning("the delivery log cannot be written", extra={"reason": str(failure)})

    def _is_worth_a_row(self) -> bool:
        now = time.monotonic()
        if now - self._since >= 60:
            self._since, self._unknown = now, 0
        self._unknown += 1
        return self._unknown <= UNKNOWN_PER_MINUTE


def _about(note: Note, reception: Reception) -> Note:
    return replace(note, receiver=reception.receiver, sender_type=reception.sender_type, delivery_id=reception.delivery_id)


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
