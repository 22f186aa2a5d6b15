"""One Provider's messages: those about one object one after another, until the Provider has them.

In: messages that are due. Out: each sent, put off, or set aside. What happened first to an object is told first. A Provider that is away,
or asks to wait, is tried with one message at a time (the circuit is open), the others wait behind it and cost nothing; meanwhile, where
people read, the newest state of an object takes the place of those before it. A message that is refused for good, or was not taken within
its time, is set aside as a dead letter and blocks nothing.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from providers import contract
from providers.contract import Busy, Misconfigured, Rejected
from service import crash
from service.alerts.catalog import Catalog, Unusable
from service.alerts.courtesy import Courtesy
from service.alerts.credentials import BadCredentials
from service.alerts.lateness import noted
from service.alerts.lending import lent, wanted_of
from service.alerts.message import event_of
from service.alerts.placing import Memory
from service.alerts.route import ReadSecret, Route, route_of
from service.alerts.sending import Wire, send
from service.alerts.statusid import status_id
from service.cel import Evaluator
from service.cluster.client import ClusterError
from service.identities.grants import Grants, NotGranted
from service.kinds.duration import format_duration
from service.kinds.meta import ObjectKey
from service.kinds.notification import Provider
from service.log import trace
from service.metrics import Metrics
from service.state import moments
from service.state.errors import StateError
from service.state.notes import Notes
from service.state.outbox import Outbox, StoredMessage

log = logging.getLogger(__name__)

GIVE_UP = timedelta(hours=24)
FIRST_WAIT, LONGEST_WAIT, LONGEST_PAUSE = timedelta(seconds=2), timedelta(minutes=15), timedelta(minutes=1)
SHORTEST_WAIT, STATE_WAIT = timedelta(seconds=1), timedelta(seconds=5)
BATCH = 32

Warn = Callable[[ObjectKey, str], None]


class Uncorrected(Busy):
    """A person has to correct the Provider or its Secret; until then its messages wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What every lane needs. `warn(alert, text)` tells of a message that could not be sent; `ttl`: how long a message is tried; `may_send`:
    whether messages are ours to send."""

    outbox: Outbox
    catalog: Catalog
    wire: Wire
    read_secret: ReadSecret
    warn: Warn
    metrics: Metrics
    notes: Notes
    evaluator: Evaluator
    grants: Grants | None
    may_send: Callable[[], bool]
    courtesy: Courtesy
    ttl: timedelta = GIVE_UP

    async def status_id(self, event: contract.Event, provider: Provider, alert: ObjectKey) -> str:
        """Return the name that the Provider gives the event's commit status. Raises Misconfigured, Busy."""
        raw = {"provider": self.catalog.raw(provider.key), "alert": self.catalog.raw(alert)}
        return await status_id(provider.spec.commit_status_expr, event, **raw, evaluator=self.evaluator)


class Lane:
    """Runs from the first message of a Provider until it is stopped."""

    def __init__(self, provider: ObjectKey, way: Way) -> None:
        self.provider = provider
        self._way = way
        self._woken, self._stopping = asyncio.Event(), False
        self._failures = 0
        self._paused_until: datetime | None = None
        self._last_error = ""
        self._version = way.catalog.version(provider)

    def wake(self) -> None:
        """There is a new message, or the Provider has changed."""
        self._woken.set()

    def stop(self) -> None:
        """Send what is due and can be sent now, then return from `run`."""
        self._stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Send until stopped."""
        while True:
            try:
                until = await self._send_due()
            except StateError as error:
                log.error("the outbox cannot be used", extra={"provider": str(self.provider), "error": str(error)})
                until = moments.now() + STATE_WAIT
            if self._stopping:
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
        while True:
            self._woken.clear()  # what wakes from here on may come too late for this look
            await self._look_for_change()
            if not self._way.may_send():
                return None
            if self._is_paused():
                return self._paused_until
            if self._failures:
                await self._thin_out()
            due, first = await self._way.outbox.work_for(self.provider, moments.now(), BATCH)
            if not due:
                return first
            await self._attempt_all(due)

    async def _attempt_all(self, due: Sequence[StoredMessage]) -> None:
        """Messages about different objects: as many at once as the type allows, one by one while the circuit is open."""
        while due and not self._is_paused() and self._way.may_send():
            if not self._stopping:
                await self._way.courtesy.give_way()
            some = 1 if self._failures else self._at_once()
            await self._attempt_together(due[:some])
            due = due[some:]

    def _is_paused(self) -> bool:
        return self._paused_until is not None and moments.now() < self._paused_until

    async def _attempt_together(self, some: Sequence[StoredMessage]) -> None:
        if len(some) == 1:
            await self._attempt(some[0])
            return
        failed: BaseExceptionGroup[StateError] | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                for each in some:
                    tasks.create_task(self._attempt(each), name=f"message {each.id} to {self.provider}")
        except* StateError as group:
            failed = group
        if failed is not None:
            raise failed.exceptions[0]

    def _at_once(self) -> int:
        by_type = self._way.catalog.by_type(self.provider)
        return by_type.at_once if by_type is not None else 1

    def _folds(self) -> bool:
        by_type = self._way.catalog.by_type(self.provider)
        return by_type is not None and by_type.folds

    async def _thin_out(self) -> None:
        """The Provider was away: give up what is too old, and let the newest state of each object stand for the others."""
        outbox, metrics, ttl = self._way.outbox, self._way.metrics, self._way.ttl
        alerts = await outbox.expire(self.provider, moments.now() - ttl, f"given up after {format_duration(ttl)}: {self._last_error}")
        if alerts:
            metrics.delivered(self.provider, "dead", len(alerts))
            log.warning("messages given up", extra={"provider": str(self.provider), "count": len(alerts), "error": self._last_error})
            for alert in sorted(set(alerts)):
                text = f"{self.provider}: {self._last_error}; tried for {format_duration(ttl)}, {alerts.count(alert)} messages are not sent"
                self._way.warn(alert, text)
        if self._folds() and (folded := await outbox.fold(self.provider)):
            metrics.delivered(self.provider, "folded", folded)
            log.info("messages folded", extra={"provider": str(self.provider), "count": folded})

    async def _look_for_change(self) -> None:
        """A Provider that was corrected is tried at once, not after the next wait."""
        version = self._way.catalog.version(self.provider)
        if version != self._version:
            if self._failures:
                await self._thin_out()
            self._version, self._paused_until, self._failures = version, None, 0
            await self._way.outbox.hurry(self.provider, moments.now())

    async def _attempt(self, message: StoredMessage) -> None:
        outbox, metrics, kind = self._way.outbox, self._way.metrics, "unknown"
        fields = {"provider": str(self.provider), "alert": str(message.alert), "message_id": message.id}
        began = asyncio.get_running_loop().time()
        try:
            event, of_trace = _readable(message)
            trace.set(of_trace)
            provider = self._found()
            kind = provider.spec.type
            await self._send(provider, await self._told(provider, event, message), message.alert)
        except Rejected as error:
            await outbox.rejected(message.id, str(error))
            metrics.alerts_total.labels(kind, "rejected").inc()
            metrics.delivered(self.provider, "dead")
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
            metrics.delivered(self.provider, "sent")
            metrics.took(self.provider, asyncio.get_running_loop().time() - began)
            seconds = round((moments.now() - message.stored_at).total_seconds(), 3)
            log.info("message sent", extra=fields | {"seconds": seconds, "attempts": message.attempts + 1})

    async def _told(self, provider: Provider, event: contract.Event, message: StoredMessage) -> contract.Event:
        """The event with a note, where people read it, on its delay and on what it stands for."""
        if not self._way.catalog.types[provider.spec.type].folds:
            return event
        earlier = await self._way.outbox.folded_into(message.id) if message.folded else ()
        return noted(event, folded=message.folded, earlier=earlier, now=moments.now())

    def _found(self) -> Provider:
        """The Provider as it is now. Raises Rejected, Busy."""
        try:
            provider = self._way.catalog.provider(self.provider)
        except Unusable as error:
            raise Uncorrected(str(error)) from error
        if provider is None:
            raise Uncorrected("there is no such Provider: create it, or name another one in the Alert")
        if provider.spec.suspend:
            raise Rejected("it is suspended")
        return provider

    async def _send(self, provider: Provider, event: contract.Event, alert: ObjectKey) -> None:
        by_type = self._way.catalog.types[provider.spec.type]
        route = await self._route(provider, by_type)
        try:
            if provider.spec.commit_status_expr:
                route = route.named(await self._way.status_id(event, provider, alert))
            memory = Memory(notes=self._way.notes, provider=self.provider)
            await send(self._way.wire, by_type, event, route=route, timeout=provider.spec.timeout, memory=memory)
        except Misconfigured as error:  # a person corrects it, and the message goes
            wanted = wanted_of(provider, by_type, route)
            if wanted is not None and self._way.grants is not None:
                self._way.grants.doubt(wanted)
            raise Uncorrected(route.masked(str(error))) from None
        except Rejected as error:
            raise Rejected(route.masked(str(error))) from None
        except Busy as error:
            raise Busy(route.masked(str(error)), error.retry_after) from None

    async def _route(self, provider: Provider, by_type: contract.Provider) -> Route:
        try:
            route = await route_of(provider, by_type, self._way.read_secret, now=moments.now())
            return await lent(wanted_of(provider, by_type, route), by_type, route, self._way.grants)
        except BadCredentials as error:
            raise Uncorrected(str(error)) from error
        except NotGranted as error:
            raise (Uncorrected if error.lasting else Busy)(str(error)) from error
        except ClusterError as error:
            raise Busy(f"the Provider's Secret or ServiceAccount cannot be read: {error}") from error

    async def _put_off(self, message: StoredMessage, error: Busy) -> None:
        """The message is tried again later, and so is the Provider as a whole."""
        now, ttl, refused = moments.now(), self._way.ttl, isinstance(error, Uncorrected)
        fields = {"provider": str(self.provider), "alert": str(message.alert), "message_id": message.id, "error": str(error)}
        pause = back_off(self._failures, LONGEST_PAUSE) if error.retry_after is None else max(error.retry_after, SHORTEST_WAIT)
        self._way.metrics.delivered(self.provider, "failed")
        if now - message.asked_at >= ttl:
            await self._way.outbox.rejected(message.id, f"given up after {format_duration(ttl)}: {error}")
            self._way.metrics.delivered(self.provider, "dead")
            log.warning("message given up", extra=fields)
            self._way.warn(message.alert, f"{self.provider}: {error}; tried for {format_duration(ttl)}, the message is not sent")
        else:
            # While the Provider is away its oldest message stays the first; one that fails where others pass waits longer and longer.
            wait = pause if message.attempts <= self._failures else max(pause, back_off(message.attempts, LONGEST_WAIT))
            await self._way.outbox.retry(message.id, now + wait, str(error), refused=refused)
            self._way.metrics.delivered(self.provider, "retried")
            log.warning("message put off", extra=fields | {"attempts": message.attempts + 1, "seconds": round(wait.total_seconds(), 1)})
            if self._failures == 0 and message.attempts == 0:
                self._way.warn(message.alert, f"{self.provider}: {error}; the message is tried again for {format_duration(ttl)}")
        self._last_error = str(error)
        if not self._is_paused():  # of several that fail together one counts
            self._failures += 1
        self._paused_until = max(now + pause, self._paused_until or now)


def back_off(failures: int, longest: timedelta) -> timedelta:
    """2, 4, 8, ... seconds up to `longest`, less up to a third at random so that many do not come back together."""
    wait: timedelta = min(FIRST_WAIT * 2 ** min(failures, 20), longest)
    return wait * random.uniform(0.67, 1)  # noqa: S311 - spreads load, guards nothing


def _readable(message: StoredMessage) -> tuple[contract.Event, str]:
    try:
        return event_of(message.payload)
    except (ValueError, KeyError, TypeError) as error:
        raise Rejected(f"the stored message {message.id} cannot be read: it is from another version") from error
