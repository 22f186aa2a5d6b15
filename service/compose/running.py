"""Runs the rooms side by side and drains them in the order of the flow: what comes first stops first, so that the rest can finish its work.

A room that fails or ends before it was told to ends the service with an error: half a service would lose things in silence.
"""

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from service.metrics import Metrics

log = logging.getLogger(__name__)
LAG_INTERVAL_SECONDS = 0.1


class CannotStart(Exception):
    """The service cannot run as asked; the message says what to do."""


class RoomEnded(Exception):
    """A room ended by itself."""


class Running(Protocol):
    """What a room does: `run` returns soon after `stop`, with its work finished or safely put down."""

    async def run(self) -> None: ...
    def stop(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A named part of the service."""

    name: str
    running: Running


async def run_rooms(rooms: Sequence[Room], *, grace: timedelta, stop: asyncio.Event) -> int:
    """Run until `stop` is set (0), or until a room ends by itself (1). `rooms` stand in the order of the flow."""
    loop = asyncio.get_running_loop()

    async def guarded(room: Room) -> None:
        await room.running.run()
        if not stop.is_set():
            raise RoomEnded(f"{room.name} ended by itself")

    try:
        async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as tasks:
            started = [(room, tasks.create_task(guarded(room), name=room.name)) for room in rooms]
            await stop.wait()
            log.info("stopping", extra={"grace_seconds": grace.total_seconds()})
            limit.reschedule(loop.time() + grace.total_seconds())
            for room, task in started:
                room.running.stop()
                await asyncio.wait([task])
    except TimeoutError:
        log.warning("stopped before everything had drained; what is stored goes on after the next start")
        return 0
    except BaseExceptionGroup as group:
        for error in _leaves(group):
            log.error("a room failed, the service ends", exc_info=error)
        return 1
    log.info("stopped")
    return 0


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [leaf for error in group.exceptions for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])]


def stop_on_signals(stop: asyncio.Event) -> None:
    """SIGTERM and SIGINT ask for a clean stop."""
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)


class Until:
    """A room around a coroutine function that runs until it is cancelled."""

    def __init__(self, work: Callable[[], Awaitable[object]]) -> None:
        self._work = work
        self._stop = asyncio.Event()

    async def run(self) -> None:
        work = asyncio.ensure_future(self._work())
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((work, stopping), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            work.cancel()
            stopping.cancel()
            await asyncio.wait((work, stopping))

    def stop(self) -> None:
        self._stop.set()


async def measure_lag(metrics: Metrics) -> None:
    """How late the event loop wakes up: above a few milliseconds somebody holds it."""
    while True:
        before = time.perf_counter()
        await asyncio.sleep(LAG_INTERVAL_SECONDS)
        metrics.loop_lag_seconds.observe(max(0.0, time.perf_counter() - before - LAG_INTERVAL_SECONDS))
