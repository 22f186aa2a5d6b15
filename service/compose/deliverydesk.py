"""What the admin port tells of deliveries, put together: the log, the runs that followed, what each Receiver saw last, replays.

In: the rooms. Out: the Desk, and a room that forgets what is beyond the retention.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from datetime import timedelta

from service.compose.house import House
from service.kinds.meta import NOTIFICATION_GROUP, ObjectKey
from service.reconcile.worker import Run
from service.state.bodies import Bodies
from service.state.errors import StateError
from service.state.inbox import Inbox
from service.triggers.kept import Keeping, Replays
from service.web.desk import Desk, Shown
from service.web.hooks import Hooks

log = logging.getLogger(__name__)

MOST_TRACES, MOST_RUNS = 1_000, 200
TIDY_EVERY = timedelta(hours=1)


class Followed:
    """The runs that deliveries led to, by trace: the source's own, then those of what is built from it. In memory, the newest."""

    def __init__(self) -> None:
        self._by_trace: OrderedDict[str, list[Shown]] = OrderedDict()

    def ran(self, run: Run) -> None:
        """A run has ended."""
        for trace in {trigger.trace for trigger in run.triggers if trigger.trace}:
            runs = self._by_trace.setdefault(trace, [])
            if len(runs) < MOST_RUNS:
                runs.append(_run_shown(run))
            if len(self._by_trace) > MOST_TRACES:
                self._by_trace.popitem(last=False)

    def of(self, trace: str) -> Sequence[Shown]:
        """In the order in which they ended."""
        return tuple(self._by_trace.get(trace, ()))


class Tidying:
    """A room: at the start and once an hour, whatever is too old goes from the delivery log."""

    def __init__(self, inbox: Inbox, bodies: Bodies) -> None:
        self._inbox = inbox
        self._bodies = bodies

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                gone = await self._inbox.age()
                await self._bodies.tidy()
                if gone:
                    log.info("deliveries forgotten", extra={"count": gone})
            except StateError as error:
                log.warning("the delivery log cannot be tidied", extra={"reason": str(error)})
            await asyncio.sleep(TIDY_EVERY.total_seconds())


def desk_of(house: House, hooks: Hooks, bodies: Bodies) -> Desk:
    """Wire it: what is stored is kept from now on, and runs are remembered."""
    keeping = Keeping(bodies, most_bytes=house.ground.settings.hooks.keep_body_bytes)
    house.intake.keep = keeping.keep
    followed = Followed()
    for worker in (house.sources, house.generating, house.kustomizations):
        worker.on_run.append(followed.ran)
    replays = Replays(
        inbox=house.inbox, bodies=bodies, reading=house.intake.reading, index=house.index, carrier=house.deliveries
    )  # fmt: skip

    def missed(key: ObjectKey) -> list[Shown]:
        found = ((str(each.source), each) for each in house.unheard.missed.of(key))
        return [
            {"source": name, "count": each.count, "revision": each.revision, "at": each.at.isoformat(timespec="milliseconds")}
            for name, each in found
        ]

    def host(key: ObjectKey) -> Shown:
        state = house.unheard.github.states.get(key)
        return {"problems": dict(state.problems), "askedAgain": state.again} if state is not None else {}

    def receivers() -> list[Shown]:
        known = sorted(house.watches.by_kind["Receiver"].objects)
        keys = [ObjectKey(group=NOTIFICATION_GROUP, kind="Receiver", namespace=namespace, name=name) for namespace, name in known]
        hooks.seen.keep(keys)
        return [
            {"receiver": f"{key.namespace}/{key.name}", **hooks.seen.shown(key), "missed": missed(key), "host": host(key)} for key in keys
        ]

    return Desk(log=house.inbox.log, replay=replays.replay, followed=followed.of, receivers=receivers)


def _run_shown(run: Run) -> Shown:
    began = run.began_at.isoformat(timespec="milliseconds")
    told = {"object": str(run.key), "beganAt": began, "seconds": round(run.seconds, 4), "result": run.outcome.result}
    return told | ({"message": run.outcome.message[:500]} if run.outcome.message else {})
