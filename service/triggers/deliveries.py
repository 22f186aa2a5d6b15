"""From the inbox to the queue and back: what a stored delivery runs, and when it is done.

In: rows, at the start those that a former process left, then each as it is stored. Out: one `enqueue` or request for each target, and the
row's end once every target has an outcome of a run that began after the row was stored, or is gone or suspended. A row that cannot be
worked on is tried again; after ten failures the inbox sets it aside. While the API server is away nothing counts as a failure.

Of several replicas only the elected one carries out, its own rows and those that it hears of; the others tell it of theirs.
"""

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal, Protocol, TypeVar

from receivers.contract import BadPayload, Event
from receivers.record import load
from service import crash
from service.cluster.client import ApiAway, ClusterError
from service.kinds.meta import ObjectKey
from service.reconcile.gate import Gate
from service.reconcile.queue import Trigger
from service.state.deliverylog import TargetState
from service.state.errors import StateError
from service.state.inbox import ATTEMPTS, Inbox, StoredDelivery
from service.triggers.choosing import MOST_TOLD, Choosing
from service.triggers.intake import Stored
from service.triggers.requests import Requests
from service.triggers.targets import pushed_commit, pushed_image

log = logging.getLogger(__name__)

FIRST_RETRY, LAST_RETRY = timedelta(seconds=1), timedelta(seconds=60)
AT_ONCE = 64
HOOK = "hook"  # the reason of the triggers

T = TypeVar("T")


class Enqueue(Protocol):
    """Asks for a run of an object of a kind that this process runs."""

    def __call__(self, key: ObjectKey, trigger: Trigger) -> None: ...


@dataclass(slots=True, kw_only=True)
class _Open:
    """A row that is not done."""

    row: int
    stored_at: datetime
    receiver: ObjectKey
    events: tuple[Event, ...]
    trace: str
    decided: Callable[[str], None] | None = None
    waiting: set[ObjectKey] = field(default_factory=set)
    noted: asyncio.Event = field(default_factory=asyncio.Event)  # the targets are written down: outcomes can be
    tries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    target: TargetState
    began_at: datetime
    rows: tuple[int, ...]


class Deliveries:
    """A room. `runs` are the kinds that this process runs; `is_ready` is set once all caches are synced: before, "gone" proves nothing."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        choosing: Choosing,
        requests: Requests,
        enqueue: Enqueue,
        runs: frozenset[str],
        elected: Gate | None = None,
    ) -> None:
        self.is_ready = asyncio.Event()
        self.tell: Callable[[int], None] = _nobody
        self._elected = elected if elected is not None else _alone()
        self._heard: set[int] = set()
        self._rang = asyncio.Event()
        self._inbox = inbox
        self._choosing = choosing
        self._requests = requests
        self._enqueue = enqueue
        self._runs = runs
        self._open: dict[int, _Open] = {}
        self._by_target: dict[ObjectKey, set[int]] = defaultdict(set)
        self._new: deque[_Open] = deque()
        self._outcomes: deque[_Outcome] = deque()
        self._arrived, self._ended = asyncio.Event(), asyncio.Event()
        self._stopping = asyncio.Event()
        requests.on_outcome = self.outcome

    @property
    def pending(self) -> int:
        """How many rows are not done."""
        return len(self._open)

    def is_open(self, row: int) -> bool:
        """Whether a row is known here and not done."""
        return row in self._open

    def stored(self, new: Stored) -> None:
        """A delivery was made durable: carry it out, or tell who does."""
        if not self._elected.is_open:
            self.tell(new.row)
            if new.decided is not None:  # here nobody can say
                new.decided("")
        elif new.row not in self._open:  # at the start it may have been read from the disk already
            known = _Open(row=new.row, stored_at=new.stored_at, receiver=new.receiver, events=new.events, trace=new.trace)
            known.decided = new.decided
            self._take(known)

    def heard(self, row: int = 0) -> None:
        """Another replica has stored a row; 0: look for all there are."""
        if self._elected.is_open:
            self._heard.add(row)
            self._rang.set()

    def outcome(self, key: ObjectKey, began_at: datetime, result: str, detail: str = "") -> None:
        """A run of `key` has ended, however it did. Costs nothing where no delivery waits for the object."""
        rows = tuple(row for row in self._by_target.get(key, ()) if self._open[row].stored_at <= began_at)
        if not rows:
            return
        now = datetime.now(UTC)
        began = min(began_at, now)
        target = TargetState(object=key, state=_state_of(result), result=result, detail=detail, began_at=began, ended_at=now)
        self._outcomes.append(_Outcome(target=target, began_at=began_at, rows=rows))
        for row in rows:
            self._open[row].waiting.discard(key)
        self._by_target[key].difference_update(rows)
        if not self._by_target[key]:
            del self._by_target[key]
        self._ended.set()

    def gone(self, key: ObjectKey) -> None:
        """The object was deleted: nobody will run it any more."""
        self.outcome(key, datetime.max.replace(tzinfo=UTC), "gone")

    async def run(self) -> None:
        """Carry out rows until stopped. What is open then stays in the inbox for the next start."""
        async with asyncio.TaskGroup() as tasks:
            working = tasks.create_task(self._elected.while_open(self._carry), name="deliveries")
            await self._stopping.wait()
            working.cancel()

    def stop(self) -> None:
        """End `run`."""
        self._stopping.set()

    def _put_down(self) -> None:
        """Another is elected, and finds everything in the inbox."""
        for each in self._open.values():
            if each.decided is not None:
                each.decided("")
        for known in (self._open, self._by_target, self._new, self._outcomes, self._heard):
            known.clear()

    async def _carry(self) -> None:
        try:
            await self._until_stored(self._take_up)  # before the wait, so that they are counted while the API server is away
            await self.is_ready.wait()
            rows, outcomes = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(AT_ONCE)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_each(self._new, self._arrived, rows, self._carry_out), name="deliveries.rows")
                tasks.create_task(_each(self._outcomes, self._ended, outcomes, self._settle), name="deliveries.outcomes")
                tasks.create_task(self._listen(), name="deliveries.heard")
        finally:
            self._put_down()

    async def _listen(self) -> None:
        while True:
            await self._rang.wait()
            self._rang.clear()
            rows, self._heard = self._heard, set()
            for row in await self._until_stored(self._inbox.waiting) if 0 in rows else sorted(rows):
                if row not in self._open:
                    await self._until_stored(partial(self._take_one, row))

    async def _take_one(self, row: int) -> None:
        each = await self._inbox.waits(row)
        if each is not None and row not in self._open:
            self._take(_known(each))

    async def _take_up(self) -> None:
        """The rows of a former process. Their runs may have ended without our knowing: they are simply run again."""
        for each in await self._inbox.pending():
            if each.row not in self._open:
                self._take(_known(each))

    def _take(self, new: _Open) -> None:
        self._open[new.row] = new
        self._new.append(new)
        self._arrived.set()

    async def _carry_out(self, each: _Open) -> None:
        """Determine the targets, ask for their runs, and write down what was asked for."""
        try:
            choice = await self._choosing.choice(each.receiver, each.events)
        except ApiAway as error:
            self._later(each, str(error))
            return
        except ClusterError as error:
            await self._failed(each, str(error))
            return
        if choice is None:
            await self._done(each, "gone", f"the Receiver {each.receiver} is not there any more")
            return
        if each.decided is not None:
            each.decided("; ".join(dict.fromkeys(choice.unjudged.values())))
        states = [self._asked(each, key) for key in choice.targets]
        log.info(
            "delivery carried out",
            extra={"object": str(each.receiver), "delivery": each.row, "targets": len(states), "trace": each.trace},
        )
        if states:
            unjudged = list(choice.unjudged.items())[:MOST_TOLD]
            states += [TargetState(object=key, state="reconciled", result="filtered", detail=problem) for key, problem in unjudged]
            is_done = await self._until_stored(lambda: self._inbox.targets(each.row, states))
            each.noted.set()
            if is_done:
                self._end(each)
            return
        await self._done(each, "nothing", choice.nothing)

    def _asked(self, each: _Open, key: ObjectKey) -> TargetState:
        """Ask for the run of one target, and say where it stands."""
        node = self._choosing.node(key)
        if node is not None and node.suspended:
            return TargetState(object=key, state="suspended", result="suspended")
        each.waiting.add(key)
        self._by_target[key].add(each.row)
        if node is not None and key.kind in self._runs:
            hint = pushed_commit(node, each.events) or pushed_image(node, each.events)
            self._enqueue(key, Trigger(reason=HOOK, trace=each.trace, delivery=each.row, hint=hint, stored_at=each.stored_at))
        else:  # of another controller, of another shard, or too new for our caches; where it is not there, the request says so
            self._requests.ask(key)
        return TargetState(object=key, state="waiting")

    async def _settle(self, ended: _Outcome) -> None:
        for row in ended.rows:
            if row in self._open:
                await self._open[row].noted.wait()
        began_at = min(ended.began_at, datetime.now(UTC))
        done = await self._until_stored(lambda: self._inbox.settle(ended.target, began_at=began_at, rows=ended.rows))
        for row in done:
            if row in self._open:
                self._end(self._open[row])

    async def _done(self, each: _Open, verdict: str, detail: str) -> None:
        await self._until_stored(lambda: self._inbox.done(each.row, verdict, detail))
        self._end(each)

    async def _failed(self, each: _Open, error: str) -> None:
        attempts = await self._until_stored(lambda: self._inbox.failed(each.row, error))
        if attempts >= ATTEMPTS:
            log.error("delivery set aside", extra={"object": str(each.receiver), "delivery": each.row, "reason": error})
            self._end(each)
        else:
            self._later(each, error)

    def _later(self, each: _Open, error: str) -> None:
        """Try a row again after a while, without holding up the others."""
        wait = min(LAST_RETRY, FIRST_RETRY * 2 ** min(each.tries, 10))
        each.tries += 1
        log.warning("delivery not carried out yet", extra={"object": str(each.receiver), "delivery": each.row, "reason": error})
        asyncio.get_running_loop().call_later(wait.total_seconds(), self._retake, each)

    def _retake(self, each: _Open) -> None:
        if self._open.get(each.row) is each:
            self._take(each)

    def _end(self, each: _Open) -> None:
        crash.point("inbox.done")
        self._open.pop(each.row, None)
        for key in each.waiting:
            self._by_target[key].discard(each.row)
            if not self._by_target[key]:
                del self._by_target[key]

    async def _until_stored(self, write: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of a write, tried again while the state folder cannot be written."""
        wait = FIRST_RETRY
        while True:
            try:
                return await write()
            except StateError as error:
                log.warning("the inbox cannot be written", extra={"reason": str(error)})
                await asyncio.sleep(wait.total_seconds())
                wait = min(LAST_RETRY, wait * 2)


def _known(each: StoredDelivery) -> _Open:
    try:
        events = load(each.events_json)
    except BadPayload:  # written by another version: the objects are still named by the Receiver
        log.warning("events of a stored delivery cannot be read", extra={"delivery": each.row})
        events = ()
    return _Open(row=each.row, stored_at=each.stored_at, receiver=each.receiver, events=events, trace=each.trace)


def _alone() -> Gate:
    gate = Gate("replica")
    gate.open()
    return gate


def _nobody(_row: int) -> None:
    """There is nobody to tell."""


def _state_of(result: str) -> Literal["reconciled", "gone", "suspended"]:
    match result:
        case "gone":
            return "gone"
        case "suspended":
            return "suspended"
        case _:
            return "reconciled"


async def _each(items: deque[T], arrived: asyncio.Event, limit: asyncio.Semaphore, work: Callable[[T], Coroutine[Any, Any, None]]) -> None:
    """Do the work for each item as it arrives, in order, some at once."""

    async def one(item: T) -> None:
        try:
            await work(item)
        finally:
            limit.release()

    async with asyncio.TaskGroup() as tasks:
        while True:
            await arrived.wait()
            arrived.clear()
            while items:
                await limit.acquire()
                tasks.create_task(one(items.popleft()), name=f"{work.__name__}")
