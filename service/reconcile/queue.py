"""The keyed queue: what waits for a reconcile, each object once, urgent first.

An object that is added while it waits merges its triggers; one that is added while it runs runs once more afterwards. `after` is a time at
the latest: an earlier wish is never put off by a later one. Priorities are small integers, lower runs first.
"""

import asyncio
import heapq
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

from service.kinds.meta import ObjectKey

HOOK, CHANGE, RETRY, TIMER, SWEEP = range(5)
MOST_TRIGGERS = 64  # of one object: whoever waits long, behind a gate, is told of the latest
FIRST_RETRY, LAST_RETRY = timedelta(milliseconds=750), timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """Why an object runs. `delivery` is the inbox row of the hook, `stored_at` when that row became durable.

    `hint` is what a payload says is new, a commit id, an image as `name:tag@digest`, or "": it may make the work shorter or have it look
    once more, and is never believed.
    """

    reason: str
    trace: str = ""
    delivery: int | None = None
    hint: str = ""
    stored_at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(slots=True)
class _Waiting:
    triggers: dict[Trigger, None]
    priority: int
    due: float
    ticket: int


class Queue:
    """Runs on one event loop; no method but `take` waits."""

    def __init__(self) -> None:
        self._waiting: dict[ObjectKey, _Waiting] = {}
        self._running: dict[ObjectKey, _Waiting | None] = {}
        self._since: dict[ObjectKey, float] = {}
        self._again: dict[ObjectKey, asyncio.Event] = {}
        self._failures: dict[ObjectKey, int] = {}
        self._ready: list[tuple[int, int, ObjectKey]] = []
        self._later: list[tuple[float, int, ObjectKey]] = []
        self._tickets = count()
        self._wake = asyncio.Event()
        self._closed = False
        self.idle = asyncio.Event()  # nothing runs and nothing is due
        self.idle.set()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def due(self) -> int:
        """How many objects could run now if there were a worker for each."""
        now = asyncio.get_running_loop().time()
        return sum(waiting.due <= now for waiting in self._waiting.values())

    @property
    def running(self) -> int:
        """How many objects run now."""
        return len(self._running)

    @property
    def longest_seconds(self) -> float:
        """How long the longest run that is under way has taken so far."""
        return asyncio.get_running_loop().time() - min(self._since.values()) if self._since else 0.0

    def next_in(self, key: ObjectKey) -> timedelta | None:
        """Time until the next run of an object, zero while it runs or is due; None where none is planned."""
        found = self._waiting.get(key)
        if key in self._running or found is None:
            return timedelta(0) if key in self._running else None
        return timedelta(seconds=max(0.0, found.due - asyncio.get_running_loop().time()))

    async def asked_again(self, key: ObjectKey) -> None:
        """Return when an object that runs is wished for once more, at once. Asked by its run alone."""
        wish = self._running.get(key)
        if wish is None or wish.due > asyncio.get_running_loop().time():
            await self._again.setdefault(key, asyncio.Event()).wait()

    def waits(self, key: ObjectKey) -> bool:
        """Whether the object is running or due now (not merely on its timer)."""
        found = self._waiting.get(key)
        return key in self._running or (found is not None and found.due <= asyncio.get_running_loop().time())

    def add(self, key: ObjectKey, *, trigger: Trigger | None = None, priority: int = CHANGE, after: timedelta = timedelta(0)) -> None:
        """Ask for a run of `key` no later than `after` from now."""
        due = asyncio.get_running_loop().time() + after.total_seconds()
        wish = _Waiting({trigger: None} if trigger else {}, priority, due, next(self._tickets))
        if key in self._running:
            self._running[key] = _merged(self._running[key], wish)
            if after <= timedelta(0) and key in self._again:
                self._again[key].set()
            return
        before = self._waiting.get(key)
        wish = _merged(before, wish)
        self._waiting[key] = wish
        self._schedule(key, wish)

    def _schedule(self, key: ObjectKey, wish: _Waiting) -> None:
        if wish.due <= asyncio.get_running_loop().time():
            heapq.heappush(self._ready, (wish.priority, wish.ticket, key))
            self.idle.clear()
        else:
            heapq.heappush(self._later, (wish.due, wish.ticket, key))
        self._wake.set()

    async def take(self) -> tuple[ObjectKey, tuple[Trigger, ...]] | None:
        """Wait for the next object that is due; None once the queue is closed."""
        loop = asyncio.get_running_loop()
        while not self._closed:
            self._ripen(loop.time())
            while self._ready:
                _, ticket, key = heapq.heappop(self._ready)
                found = self._waiting.get(key)
                if found is None or found.ticket != ticket:
                    continue  # superseded by a later wish for the same object
                del self._waiting[key]
                self._running[key] = None
                self._since[key] = loop.time()
                self.idle.clear()
                return key, tuple(found.triggers)
            if not self._running:
                self.idle.set()
            self._wake.clear()
            wait = self._later[0][0] - loop.time() if self._later else None
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                continue
        return None

    def _ripen(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            _, ticket, key = heapq.heappop(self._later)
            found = self._waiting.get(key)
            if found is not None and found.ticket == ticket:
                heapq.heappush(self._ready, (found.priority, ticket, key))
        if self._ready:
            self._wake.set()  # let other takers look too

    def done(self, key: ObjectKey, *, requeue_after: timedelta | None = None, failed: bool = False) -> timedelta | None:
        """The run of `key` has ended. With `failed` and no time given the queue backs off. Returns the wait until the next run."""
        again = self._running.pop(key, None)
        self._since.pop(key, None)
        self._again.pop(key, None)
        failures = self._failures.get(key, 0) + 1 if failed else 0
        if failures:
            self._failures[key] = failures
            requeue_after = requeue_after if requeue_after is not None else _backoff(failures)
        else:
            self._failures.pop(key, None)
        if again is not None:
            self._waiting[key] = again
            self._schedule(key, again)
        if requeue_after is not None:
            self.add(key, priority=RETRY if failed else TIMER, after=requeue_after)
        if not self._running and not self._ready:
            self.idle.set()
        return requeue_after

    def close(self) -> None:
        """No more work is handed out."""
        self._closed = True
        self._wake.set()


def _merged(before: _Waiting | None, wish: _Waiting) -> _Waiting:
    if before is None:
        return wish
    due, priority = min(before.due, wish.due), min(before.priority, wish.priority)
    triggers = before.triggers | wish.triggers
    if len(triggers) > MOST_TRIGGERS:
        triggers = dict.fromkeys(list(triggers)[-MOST_TRIGGERS:])
    return _Waiting(triggers, priority, due, wish.ticket)


def _backoff(failures: int) -> timedelta:
    """Doubling from 750 ms to 15 minutes, with up to a tenth of jitter so that many failures do not retry in step."""
    wait = min(LAST_RETRY, FIRST_RETRY * 2 ** min(failures - 1, 20))
    return timedelta(seconds=wait.total_seconds() * random.uniform(0.9, 1.0))  # noqa: S311 - jitter, not a secret
