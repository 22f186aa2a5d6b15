"""Who watches the messages themselves: a Provider that keeps failing, refused credentials and dead letters are alerts, too.

In: what is counted of each Provider and Alert. Out: messages to another Provider (the annotation `notification.sluice.dev/fallback` on the
one that fails, or `--alert-fallback`), metrics, and word to whoever shows the status. Also the heartbeat, for a dead-man switch: as long as
it comes, events are matched and messages leave. What was told is kept with the counts, so a restart tells nothing twice.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from service.alerts.catalog import Objects, Raw
from service.alerts.own import (
    ALIVE,
    CREDENTIALS_REFUSED,
    DEAD_LETTERS,
    DISPATCH_SUCCEEDED,
    HEARTBEAT,
    PROVIDER_FAILING,
    TROUBLE,
    OwnNews,
    own_message,
)
from service.kinds.meta import NOTIFICATION_GROUP, ObjectKey
from service.metrics import Metrics
from service.state import moments
from service.state.errors import StateError
from service.state.letters import Letters, Sender
from service.state.outbox import Outbox

log = logging.getLogger(__name__)

FALLBACK_ANNOTATION = "notification.sluice.dev/fallback"
LOOK = timedelta(seconds=10)
FAILING_AFTER = timedelta(minutes=5)
DEAD_PAUSE = timedelta(minutes=10)
SHOW_PAUSE = timedelta(seconds=60)
STUCK = timedelta(minutes=2)
_FAILING, _REFUSED = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """A message to `provider` every `interval`."""

    provider: ObjectKey
    interval: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What the room is given. `is_ready`: the caches are complete and messages are ours to send; `on_change(key)`: the status of a Provider
    or Alert is another; `fallback`: told of every Provider that names no other."""

    letters: Letters
    outbox: Outbox
    alerts: Objects
    providers: Objects
    is_ready: Callable[[], bool]
    on_change: Callable[[ObjectKey], None]
    metrics: Metrics
    fallback: ObjectKey | None = None
    heartbeat: Heartbeat | None = None
    no_cross_namespace: bool = False


@dataclass(slots=True)
class _Shown:
    sender: Sender
    at: datetime


@dataclass(slots=True)
class _Memory:
    dead_told_at: dict[ObjectKey, datetime] = field(default_factory=dict)
    shown: dict[ObjectKey, _Shown] = field(default_factory=dict)
    beat_at: datetime | None = None


class Oversight:
    """A room: looks every LOOK. `senders` is what it saw last, for the status of Alerts and Providers."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._stopped = asyncio.Event()
        self._memory = _Memory()
        self.senders: Mapping[ObjectKey, Sender] = {}

    def stop(self) -> None:
        """Return from `run` soon."""
        self._stopped.set()

    async def run(self) -> None:
        """Until stopped."""
        beat = self._watched.heartbeat.interval if self._watched.heartbeat else LOOK
        while not self._stopped.is_set():
            if self._watched.is_ready():
                try:
                    await self.look(moments.now())
                except StateError as error:
                    log.warning("the state of the messages cannot be read", extra={"error": str(error)})
            try:
                async with asyncio.timeout(min(LOOK, beat).total_seconds()):
                    await self._stopped.wait()
            except TimeoutError:
                pass

    async def look(self, now: datetime) -> None:
        """Once: tell what is to be told as of now. Raises StateError."""
        senders = await self._watched.letters.senders()
        self.senders = senders
        self._watched.metrics.outbox_pending.set(sum(each.queued for each in senders.values() if each.key.kind == "Provider"))
        for sender in senders.values():
            objects = {"Provider": self._watched.providers, "Alert": self._watched.alerts}.get(sender.key.kind)
            if objects is None:
                continue
            if (sender.key.namespace, sender.key.name) not in objects and not sender.queued:
                await self._forget(sender.key)
                continue
            if sender.key.kind == "Provider":
                self._watched.metrics.provider_queue.labels(sender.key.namespace, sender.key.name).set(sender.queued)
                await self._tell_troubles(sender, now)
            self._show(sender, now)
        await self._beat(now)

    async def _forget(self, key: ObjectKey) -> None:
        await self._watched.letters.forget(key)
        self._memory.dead_told_at.pop(key, None)
        self._memory.shown.pop(key, None)
        if key.kind == "Provider":
            self._watched.metrics.forget_provider(key)

    def _show(self, sender: Sender, now: datetime) -> None:
        """Not more often than SHOW_PAUSE, but for a change between good and bad."""
        shown = self._memory.shown.get(sender.key)
        if shown is not None and (shown.sender == sender or (_is_same(shown.sender, sender) and now - shown.at < SHOW_PAUSE)):
            return
        self._memory.shown[sender.key] = _Shown(sender, now)
        self._watched.on_change(sender.key)

    async def _tell_troubles(self, sender: Sender, now: datetime) -> None:
        found = self._trouble(sender, now)
        if found is None:
            return
        news, failing, dead = found
        level = logging.INFO if news.severity == "info" else logging.WARNING
        log.log(level, "trouble with a provider", extra={"provider": str(sender.key), "reason": news.reason, "error": sender.last_error})
        to = self._fallback_of(sender.key)
        direct = own_message(sender.key, to, news, kind=TROUBLE, now=now) if to else None
        await self._watched.letters.told(sender.key, failing=failing, dead=dead, direct=direct)

    def _trouble(self, sender: Sender, now: datetime) -> tuple[OwnNews, int, int] | None:
        """What is to be told now, one thing at a time, and what is told with it: of its failing, of its dead letters."""
        key, told, since = sender.key, sender.told_failing, sender.failing_since
        if since is None and told:
            return OwnNews(reason=DISPATCH_SUCCEEDED, text=f"{key} takes messages again"), 0, sender.told_dead
        if since is not None and sender.refused and not told & _REFUSED:
            text = f"{key} has to be corrected, {_waiting(sender)}: {sender.last_error}"
            return OwnNews(reason=CREDENTIALS_REFUSED, text=text, severity="error"), told | _REFUSED, sender.told_dead
        if since is not None and now - since >= FAILING_AFTER and not told & _FAILING:
            text = f"{key} has failed since {since:%Y-%m-%d %H:%M:%S} UTC, {_waiting(sender)}: {sender.last_error}"
            return OwnNews(reason=PROVIDER_FAILING, text=text, severity="error"), told | _FAILING, sender.told_dead
        last = self._memory.dead_told_at.get(key)
        if sender.dead > sender.told_dead and (last is None or now - last >= DEAD_PAUSE):
            self._memory.dead_told_at[key] = now
            counted = f"{sender.dead - sender.told_dead} messages were given up, the last for this: {sender.last_error}"
            advice = "`sluice alert list --dead` lists what is kept, `sluice alert resend` sends it again"
            return OwnNews(reason=DEAD_LETTERS, text=f"{key}: {counted}. {advice}", severity="error"), told, sender.dead
        return None

    def _fallback_of(self, key: ObjectKey) -> ObjectKey | None:
        raw: Raw = self._watched.providers.get((key.namespace, key.name), {})
        named = str(((raw.get("metadata") or {}).get("annotations") or {}).get(FALLBACK_ANNOTATION) or "")
        namespace, _, name = named.rpartition("/")
        if not name or (self._watched.no_cross_namespace and namespace not in ("", key.namespace)):
            found = self._watched.fallback
        else:
            found = provider_key(namespace or key.namespace, name)
        return None if found == key else found

    async def _beat(self, now: datetime) -> None:
        """Nothing while events wait to be matched: then the alert path is not alive. One that waits is not followed by another."""
        heartbeat, last = self._watched.heartbeat, self._memory.beat_at
        if heartbeat is None or (last is not None and now - last < heartbeat.interval * 0.9):
            return
        since = await self._watched.outbox.unmatched_since()
        if since is not None and now - since > STUCK:
            return
        self._memory.beat_at = now
        to = heartbeat.provider
        news = OwnNews(reason=ALIVE, text="sluice is alive: events are matched and messages leave")
        await self._watched.letters.direct(*own_message(to, to, news, kind=HEARTBEAT, now=now), unless_waiting=True)


def provider_key(namespace: str, name: str) -> ObjectKey:
    """The key of a Provider."""
    return ObjectKey(group=NOTIFICATION_GROUP, kind="Provider", namespace=namespace, name=name)


def _is_same(one: Sender, other: Sender) -> bool:
    return (one.failing_since is None, one.refused, one.dead, one.last_sent_at is None) == (
        other.failing_since is None, other.refused, other.dead, other.last_sent_at is None
    )  # fmt: skip


def _waiting(sender: Sender) -> str:
    return "1 message waits" if sender.queued == 1 else f"{sender.queued} messages wait"
