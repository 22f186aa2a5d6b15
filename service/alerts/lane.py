"""One Provider's messages, one after another, until the Provider has them.

In: messages that are due. Out: each sent, put off, or set aside. One at a time, so that what happened first is told first; a Provider
that is away or asks to wait is tried with one message, the others wait behind it and cost nothing. A message that is refused for good, or
was not taken for a day, is set aside and blocks nothing.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from providers import PROVIDERS, contract
from providers.contract import Busy, Misconfigured, Rejected
from service import crash
from service.alerts.catalog import Catalog, Unusable
from service.alerts.credentials import BadCredentials
from service.alerts.message import event_of
from service.alerts.route import ReadSecret, Route, route_of
from service.alerts.sending import Wire, send
from service.cluster.client import ClusterError
from service.kinds.duration import format_duration
from service.kinds.meta import ObjectKey
from service.kinds.notification import Provider
from service.log import trace
from service.metrics import Metrics
from service.state import moments
from service.state.errors import StateError
from service.state.outbox import Outbox, StoredMessage

log = logging.getLogger(__name__)

GIVE_UP = timedelta(hours=24)
FIRST_WAIT, LONGEST_WAIT, LONGEST_PAUSE = timedelta(seconds=2), timedelta(minutes=15), timedelta(minutes=1)
SHORTEST_WAIT, STATE_WAIT = timedelta(seconds=1), timedelta(seconds=5)
BATCH = 20

Warn = Callable[[ObjectKey, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What every lane needs. `warn(alert, text)` tells of a message that could not be sent."""

    outbox: Outbox
    catalog: Catalog
    wire: Wire
    read_secret: ReadSecret
    warn: Warn
    metrics: Metrics


class Lane:
    """Runs from the first message of a Provider until none is left; `Dispatcher` makes a new one for the next."""

    def __init__(self, provider: ObjectKey, way: Way) -> None:
        self.provider = provider
        self._way = way
        self._woken, self._stopping = asyncio.Event(), False
        self._failures = 0
        self._paused_until: datetime | None = None
        self._version = way.catalog.version(provider)

    def wake(self) -> None:
        """There is a new message, or the Provider has changed."""
        self._woken.set()

    def stop(self) -> None:
        """Send what is due and can be sent now, then return from `run`."""
        self._stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Send until no message is left, or until stopped."""
        while True:
            self._woken.clear()
            try:
                until = await self._send_due()
            except StateError as error:
                log.error("the outbox cannot be used", extra={"provider": str(self.provider), "error": str(error)})
                until = moments.now() + STATE_WAIT
            if self._stopping or (until is None and not self._woken.is_set()):
                return
            await self._sleep(until)

    async def _sleep(self, until: datetime | None) -> None:
        try:
            async with asyncio.timeout(None if until is None else max((until - moments.now()).total_seconds(), 0)):
                await self._woken.wait()
        except TimeoutError:
            pass

    async def _send_due(self) -> datetime | None:
        """Send what is due and return when to go on: None if nothing is left."""
        await self._look_for_change()
        while True:
            if self._paused_until is not None and moments.now() < self._paused_until:
                return self._paused_until
            due = await self._way.outbox.due(moments.now(), BATCH, provider=self.provider)
            if not due:
                return (await self._way.outbox.lanes()).get(self.provider)
            for message in due:
                await self._attempt(message)
                if self._paused_until is not None:
                    break

    async def _look_for_change(self) -> None:
        """A Provider that was corrected is tried at once, not after the next wait."""
        version = self._way.catalog.version(self.provider)
        if version is not self._version:
            self._version, self._paused_until, self._failures = version, None, 0
            await self._way.outbox.hurry(self.provider, moments.now())

    async def _attempt(self, message: StoredMessage) -> None:
        outbox, metrics, kind = self._way.outbox, self._way.metrics, "unknown"
        fields = {"provider": str(self.provider), "alert": str(message.alert), "message_id": message.id}
        try:
            event, of_trace = _readable(message)
            trace.set(of_trace)
            provider = self._found()
            kind = provider.spec.type
            await self._send(provider, event)
        except Rejected as error:
            await outbox.rejected(message.id, str(error))
            metrics.alerts_total.labels(kind, "rejected").inc()
            log.warning("message refused for good", extra=fields | {"error": str(error)})
            self._way.warn(message.alert, f"{self.provider}: {error}; the message is not sent")
        except Busy as error:
            metrics.alerts_total.labels(kind, "retried").inc()
            await self._put_off(message, error)
        else:
            await outbox.sent(message.id)
            crash.point("outbox.sent")
            self._failures, self._paused_until = 0, None
            metrics.alerts_total.labels(kind, "sent").inc()
            seconds = round((moments.now() - message.stored_at).total_seconds(), 3)
            log.info("message sent", extra=fields | {"seconds": seconds, "attempts": message.attempts + 1})

    def _found(self) -> Provider:
        """The Provider as it is now. Raises Rejected, Busy."""
        try:
            provider = self._way.catalog.provider(self.provider)
        except Unusable as error:
            raise Busy(str(error)) from error
        if provider is None:
            raise Busy("there is no such Provider: create it, or name another one in the Alert")
        if provider.spec.suspend:
            raise Rejected("it is suspended")
        if provider.spec.type not in PROVIDERS:
            raise Rejected(f"this version of sluice does not send to the type {provider.spec.type}")
        return provider

    async def _send(self, provider: Provider, event: contract.Event) -> None:
        route = await self._route(provider)
        try:
            await send(self._way.wire, PROVIDERS[provider.spec.type], event, route=route, timeout=provider.spec.timeout)
        except Misconfigured as error:  # a person corrects it, and the message goes
            raise Busy(route.masked(str(error))) from None
        except Rejected as error:
            raise Rejected(route.masked(str(error))) from None
        except Busy as error:
            raise Busy(route.masked(str(error)), error.retry_after) from None

    async def _route(self, provider: Provider) -> Route:
        try:
            return await route_of(provider, self._way.read_secret, now=moments.now())
        except BadCredentials as error:
            raise Busy(str(error)) from error
        except ClusterError as error:
            raise Busy(f"the Provider's Secret cannot be read: {error}") from error

    async def _put_off(self, message: StoredMessage, error: Busy) -> None:
        """The message is tried again later, and so is the Provider as a whole."""
        now = moments.now()
        fields = {"provider": str(self.provider), "alert": str(message.alert), "message_id": message.id, "error": str(error)}
        pause = back_off(self._failures, LONGEST_PAUSE) if error.retry_after is None else max(error.retry_after, SHORTEST_WAIT)
        if now - message.stored_at >= GIVE_UP:
            await self._way.outbox.rejected(message.id, f"given up after {format_duration(GIVE_UP)}: {error}")
            log.warning("message given up", extra=fields)
            self._way.warn(message.alert, f"{self.provider}: {error}; tried for {format_duration(GIVE_UP)}, the message is not sent")
        else:
            # While the Provider is away its oldest message stays the first; one that fails where others pass waits longer and longer.
            wait = pause if message.attempts <= self._failures else max(pause, back_off(message.attempts, LONGEST_WAIT))
            await self._way.outbox.retry(message.id, now + wait, str(error))
            log.warning("message put off", extra=fields | {"attempts": message.attempts + 1, "seconds": round(wait.total_seconds(), 1)})
            if self._failures == 0 and message.attempts == 0:
                self._way.warn(message.alert, f"{self.provider}: {error}; the message is tried again for {format_duration(GIVE_UP)}")
        self._paused_until = now + pause
        self._failures += 1


def back_off(failures: int, longest: timedelta) -> timedelta:
    """2, 4, 8, ... seconds up to `longest`, less up to a third at random so that many do not come back together."""
    wait: timedelta = min(FIRST_WAIT * 2 ** min(failures, 20), longest)
    return wait * random.uniform(0.67, 1)  # noqa: S311 - spreads load, guards nothing


def _readable(message: StoredMessage) -> tuple[contract.Event, str]:
    try:
        return event_of(message.payload)
    except (ValueError, KeyError, TypeError) as error:
        raise Rejected(f"the stored message {message.id} cannot be read: it is from another version") from error
