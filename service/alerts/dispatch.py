"""The room of the alerts: stored events become messages, each Provider's messages go down their lane.

In: events in the outbox, stored by reconcilers or by `intake`. Out: messages at the Providers. Woken by what happens and by due times,
never by polling. Until the Alerts and Providers are known, events wait; in shadow mode they are matched and reported, nothing is sent.
"""

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from service import crash
from service.alerts.bundles import composed, release_due
from service.alerts.catalog import Catalog, Objects, Raw
from service.alerts.courtesy import Courtesy
from service.alerts.lane import GIVE_UP, Lane, Way
from service.alerts.matching import PLAIN, Complaint, Matcher, ReadLabels, Rules
from service.alerts.route import ReadSecret
from service.alerts.sending import open_wire
from service.alerts.shaping import Means, ReadConfig, Shaper
from service.alerts.table import Table
from service.alerts.templates import Renderer
from service.cel import Evaluator
from service.cluster.client import ApiAway
from service.cluster.events import News
from service.identities.grants import Grants
from service.kinds.event import Event
from service.kinds.meta import INVALID_CONFIG, NOTIFICATION_FAILED, NOTIFICATION_GROUP, ObjectKey
from service.kinds.schema import Invalid
from service.log import trace
from service.metrics import Metrics
from service.outbound import Outbound
from service.state.errors import StateError
from service.state.held import Held
from service.state.notes import Notes
from service.state.outbox import EventRow, Outbox, OutMessage, StoredEvent
from service.workers import Workers

log = logging.getLogger(__name__)

DOUBLE_WINDOW = timedelta(minutes=5)
RETRY = timedelta(seconds=5)
DRAIN = timedelta(seconds=5)
PACE = timedelta(milliseconds=10)
BATCH = 100
YIELD_EVERY = 16
CONTROLLER = "notification-controller"
_KEYS = ("originRevision", "revision", "token")


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What the room is given. `alerts` and `providers` are kept up to date by somebody who calls `wake` after each change and when
    `is_ready` has become true; `read_labels(object, api_version)`; `read_config` gives
    a ConfigMap's data; `post_event` shows a Warning on an Alert or Provider."""

    outbox: Outbox
    notes: Notes
    alerts: Objects
    providers: Objects
    is_ready: Callable[[], bool]
    read_secret: ReadSecret
    read_labels: ReadLabels
    read_config: ReadConfig
    held: Held
    post_event: Callable[[News], None]
    workers: Workers
    metrics: Metrics
    outbound: Outbound
    evaluator: Evaluator
    table: Table
    courtesy: Courtesy
    grants: Grants | None = None


class Dispatcher:
    """One for the service. `run` returns after `stop`, when what is due was tried or DRAIN is over; what is left is stored."""

    def __init__(
        self, needs: Needs, *, shadow: bool = False, no_cross_namespace: bool = False, ttl: timedelta = GIVE_UP, rules: Rules = PLAIN
    ) -> None:
        self._needs, self._shadow, self._ttl = needs, shadow, ttl
        self._catalog = Catalog(needs.alerts, needs.providers, self._unusable, needs.table)
        self._labels_away: ApiAway | None = None
        self._matcher = Matcher(
            self._read_labels, needs.workers, no_cross_namespace=no_cross_namespace, by_type=self._catalog.by_type, rules=rules
        )
        self._held = needs.held
        means = Means(
            catalog=self._catalog,
            read_labels=self._read_labels,
            read_config=needs.read_config,
            evaluator=needs.evaluator,
            renderer=Renderer(),
        )
        self._renderer, self._shaper = means.renderer, Shaper(means, no_cross_namespace=no_cross_namespace)
        self._lanes: dict[ObjectKey, Lane] = {}
        self._woken, self._stopping = asyncio.Event(), False
        needs.outbox.listen(self.wake)

    def wake(self) -> None:
        """There are new events, or Alerts and Providers have changed."""
        self._woken.set()

    def stop(self) -> None:
        """End soon, with what is due sent where that goes at once."""
        self._stopping = True
        self._woken.set()

    async def intake(self, event: Event) -> bool:
        """Store an event of another controller; False if an equal one came within the last five minutes. Raises StateError."""
        await self._needs.courtesy.give_way()
        return await self._needs.outbox.add(EventRow(key=_intake_key(event), json=event.to_json(), window=DOUBLE_WINDOW))

    async def run(self) -> None:
        """Match and send until stopped."""
        async with open_wire(self._needs.outbound) as wire:
            needs = self._needs
            way = Way(
                outbox=needs.outbox,
                catalog=self._catalog,
                wire=wire,
                read_secret=needs.read_secret,
                warn=self._not_sent,
                metrics=needs.metrics,
                notes=needs.notes,
                evaluator=needs.evaluator,
                grants=needs.grants,
                may_send=needs.is_ready,
                ttl=self._ttl,
                courtesy=needs.courtesy,
            )
            try:
                async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as tasks:
                    await self._match_until_stopped(way, tasks)
                    limit.reschedule(asyncio.get_running_loop().time() + DRAIN.total_seconds())
                    for lane in self._lanes.values():
                        lane.stop()
            except TimeoutError:
                log.info("messages are left for the next start", extra={"count": (await needs.outbox.counts())["queued"]})
            finally:
                await self._renderer.close()

    async def _match_until_stopped(self, way: Way, tasks: asyncio.TaskGroup) -> None:
        while True:
            stopping = self._stopping
            wait: timedelta | None = None
            self._woken.clear()
            if not stopping:
                await self._needs.courtesy.give_way()
            if self._needs.is_ready():
                wait = await self._round(way, tasks)
            if stopping:
                return
            await asyncio.sleep(PACE.total_seconds())  # the first of a burst goes at once, what follows it together
            try:
                async with asyncio.timeout(wait.total_seconds() if wait else None):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def _round(self, way: Way, tasks: asyncio.TaskGroup) -> timedelta | None:
        """Match what is stored, see to it that each Provider with messages has a lane; return when to come back without being woken."""
        until: timedelta | None = None

        def start(providers: Iterable[ObjectKey]) -> None:
            for provider in () if self._shadow else providers:
                self._start_lane(provider, way, tasks)

        try:
            work = await self._needs.outbox.work(BATCH)
            all_matched, holds = await self._match_all(work.events, start)
            if (holds or work.holds) and not self._shadow:
                until = await release_due(self._held, self._shaper.is_mute)
                start(await self._needs.outbox.lanes())
            else:
                start(work.providers)
        except StateError as error:
            log.error("the outbox cannot be used", extra={"error": str(error)})
            return RETRY
        return min([*([] if all_matched else [RETRY]), *([until] if until is not None else [])], default=None)

    def _start_lane(self, provider: ObjectKey, way: Way, tasks: asyncio.TaskGroup) -> None:
        running = self._lanes.get(provider)
        if running is not None:
            running.wake()
            return
        lane = self._lanes[provider] = Lane(provider, way)
        tasks.create_task(lane.run(), name=f"alerts to {provider}")

    async def _match_all(self, events: Sequence[StoredEvent], start: Callable[[Iterable[ObjectKey]], None]) -> tuple[bool, bool]:
        """Match every stored event, given the first; return whether none has to wait for the API server, and whether messages are held."""
        waiting: set[ObjectKey] = set()
        holds = False
        self._labels_away = None
        while events:
            found = [each for stored in events if (each := await self._match(stored, waiting)) is not None]
            await self._needs.outbox.match_all([(stored.id, () if self._shadow else messages) for stored, messages in found], composed)
            crash.point("outbox.matched")
            messages = [each for _, some in found for each in some]
            start({each.provider for each in messages})
            holds = holds or any(each.hold is not None for each in messages)
            if len(events) < BATCH:
                break  # what came meanwhile wakes again
            events = await self._needs.outbox.unmatched(BATCH, after=events[-1].id)
        return not waiting, holds

    async def _match(self, stored: StoredEvent, waiting: set[ObjectKey]) -> tuple[StoredEvent, tuple[OutMessage, ...]] | None:
        """The messages of an event; None where it waits, and with it what happened to its object later."""
        try:
            event = Event.from_json(json.loads(stored.json))
        except (ValueError, Invalid) as error:
            log.error("a stored event cannot be read and is left out", extra={"event": stored.id, "error": str(error)})
            return stored, ()
        if event.involved in waiting:
            return None
        trace.set(event.trace)
        try:
            matched = await self._matcher.match(event, self._catalog.alerts())
            messages, complaints = await self._shaper.shape(event, matched.messages)
        except (ApiAway, ChildProcessError) as error:
            log.warning("event not matched yet", extra={"object": str(event.involved), "error": str(error)})
            waiting.add(event.involved)
            return None
        if stored.id % YIELD_EVERY == 0:
            await asyncio.sleep(0)
        for complaint in (*matched.complaints, *complaints):
            self._complain(complaint)
        self._log_match(event, messages)
        return stored, messages

    async def _read_labels(self, key: ObjectKey, api_version: str) -> Mapping[str, str]:
        """One that is away is asked once a round, not once an event."""
        if self._labels_away is not None:
            raise ApiAway(str(self._labels_away))
        try:
            return await self._needs.read_labels(key, api_version)
        except ApiAway as error:
            self._labels_away = error
            raise

    def _log_match(self, event: Event, messages: tuple[OutMessage, ...]) -> None:
        for each in messages:
            fields = {"object": str(event.involved), "reason": event.reason, "alert": str(each.alert), "provider": str(each.provider)}
            log.info("shadow: would send" if self._shadow else "alert matched", extra=fields)

    def _complain(self, complaint: Complaint) -> None:
        log.warning("an alert needs a look", extra={"alert": str(complaint.alert), "reason": complaint.reason, "error": complaint.message})
        self._warn(self._catalog.raw(complaint.alert), complaint.reason, complaint.message)

    def _not_sent(self, alert: ObjectKey, text: str) -> None:
        self._warn(self._catalog.raw(alert), NOTIFICATION_FAILED, text)

    def _unusable(self, raw: Raw, text: str) -> None:
        metadata = _metadata(raw)
        fields = {"object": f"{raw.get('kind')}/{metadata.get('namespace')}/{metadata.get('name')}", "error": text}
        log.warning("an object cannot be carried out", extra=fields)
        self._warn(raw, INVALID_CONFIG, text)

    def _warn(self, raw: Raw, reason: str, text: str) -> None:
        """A Kubernetes Warning on an object; nothing where it is gone, and nothing in shadow mode."""
        metadata = _metadata(raw)
        if self._shadow or not metadata.get("name"):
            return
        news = News(
            api_version=str(raw.get("apiVersion", f"{NOTIFICATION_GROUP}/v1beta3")),
            kind=str(raw.get("kind", "Alert")),
            namespace=str(metadata.get("namespace", "")),
            name=str(metadata["name"]),
            uid=str(metadata.get("uid", "")),
            resource_version=str(metadata.get("resourceVersion", "")),
            type="Warning",
            reason=reason,
            message=text,
            component=CONTROLLER,
        )
        self._needs.post_event(news)


def _metadata(raw: Raw) -> Mapping[str, Any]:
    found = raw.get("metadata")
    return found if isinstance(found, dict) else {}


def _intake_key(event: Event) -> str:
    """Flux's key of an event: name, namespace, kind, message and, if there, originRevision, revision, token."""
    involved = event.involved
    parts = [involved.name, involved.namespace, involved.kind, event.message]
    parts += [f"{name}={event.metadata[key]}" for name in _KEYS if (key := f"{involved.group}/{name}") in event.metadata]
    return "intake/" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()
