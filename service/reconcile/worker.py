"""Runs the reconcilers of one controller: takes keys from the queue, times and logs each run, tells what came out.

The one place that catches every exception: a defect in one run is logged once with its traceback, backs off and blocks nothing else.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from service.kinds.meta import ObjectKey
from service.log import new_trace, trace
from service.metrics import Metrics
from service.reconcile.gate import Gate
from service.reconcile.outcome import Failed, Outcome, ReconcileError, Stalled, Waiting
from service.reconcile.queue import Queue, Trigger

log = logging.getLogger(__name__)


class Reconciler(Protocol):
    """One kind's reconciler. It writes the object's status itself and turns expected errors into an Outcome."""

    kind: str

    async def reconcile(self, key: ObjectKey, triggers: tuple[Trigger, ...]) -> Outcome: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run, for whoever waits for it."""

    key: ObjectKey
    triggers: tuple[Trigger, ...]
    began_at: datetime
    seconds: float
    outcome: Outcome


class Worker:
    """`concurrency` runs at once for the kinds in `reconcilers`, behind `gate`. `run` ends after `stop`, when what runs has ended."""

    def __init__(self, queue: Queue, *, reconcilers: Mapping[str, Reconciler], gate: Gate, concurrency: int, metrics: Metrics) -> None:
        self.name = gate.name
        self.queue = queue
        self.on_run: list[Callable[[Run], None]] = []
        self._reconcilers = reconcilers
        self._gate = gate
        self.concurrency = concurrency
        self._metrics = metrics
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        self.queue.close()
        self._stopping.set()

    async def run(self) -> None:
        """Serve the queue whenever the gate is open, until stopped."""
        while not self._stopping.is_set():
            await first(self._gate.wait_open(), self._stopping.wait())
            if self._gate.is_open:
                await self._serve_until_shut()

    async def _serve_until_shut(self) -> None:
        """Cancel the runs when the gate shuts; return when the queue is closed and the runs have ended."""
        serving = asyncio.create_task(self._serve(), name=f"{self.name}.serve")
        watching = asyncio.create_task(self._gate.wait_shut(), name=f"{self.name}.gate")
        try:
            await asyncio.wait((serving, watching), return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
            else:
                log.warning("lease lost, runs are cancelled", extra={"controller": self.name})
        finally:
            serving.cancel()
            watching.cancel()
            await asyncio.wait((serving, watching))

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(self.concurrency):
                tasks.create_task(self._take_all(), name=f"{self.name}.{number}")

    async def _take_all(self) -> None:
        while (taken := await self.queue.take()) is not None:
            await self._one(*taken)

    async def _one(self, key: ObjectKey, triggers: tuple[Trigger, ...]) -> None:
        token = trace.set(next((t.trace for t in triggers if t.trace), "") or new_trace())
        began, began_at = time.perf_counter(), datetime.now(UTC)
        try:
            outcome = await self._guarded(key, triggers)
        except asyncio.CancelledError:
            for trigger in triggers:
                self.queue.add(key, trigger=trigger)
            self.queue.done(key, requeue_after=timedelta(0))
            raise
        finally:
            trace.reset(token)
        seconds = time.perf_counter() - began
        failed = outcome.result in ("failed", "waiting")
        self.queue.done(key, requeue_after=outcome.requeue_after, failed=failed and (outcome.backoff or outcome.result == "failed"))
        self._metrics.reconcile_total.labels(key.kind, outcome.result).inc()
        self._metrics.reconcile_seconds.observe(seconds, kind=key.kind, name=key.name, namespace=key.namespace)
        run = Run(key=key, triggers=triggers, began_at=began_at, seconds=seconds, outcome=outcome)
        for listener in self.on_run:
            listener(run)

    async def _guarded(self, key: ObjectKey, triggers: tuple[Trigger, ...]) -> Outcome:
        try:
            return await self._reconcilers[key.kind].reconcile(key, triggers)
        except Stalled as error:
            return Outcome(result="stalled", message=error.message)
        except Waiting as error:
            return Outcome(result="waiting", requeue_after=error.retry_after, message=error.message)
        except Failed as error:
            return Outcome(result="failed", requeue_after=error.retry_after, backoff=error.retry_after is None, message=error.message)
        except ReconcileError as error:
            return Outcome(result="failed", backoff=True, message=error.message)
        except Exception as error:
            log.exception("reconcile broke", extra={"object": str(key)})
            return Outcome(result="failed", backoff=True, message=f"internal error: {type(error).__name__}")


async def contained(work: Coroutine[object, object, object], *, doing: str, about: str) -> bool:
    """Await what runs beside the workers; whether it ended well. A defect in it is logged once and takes nothing else down."""
    try:
        await work
    except Exception:
        log.exception("work broke", extra={"doing": doing, "object": about})
        return False
    return True


async def first(*waits: Coroutine[None, None, object]) -> None:
    """Return when the first of the coroutines ends; the others are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
