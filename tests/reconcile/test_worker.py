"""The worker: behind its gate, one broken run blocks nothing, what runs is cancelled when the gate shuts."""

import asyncio
import logging
from datetime import timedelta

import pytest

from service.kinds.meta import ObjectKey
from service.log import trace
from service.metrics import Metrics
from service.reconcile.gate import Gate
from service.reconcile.outcome import Failed, Outcome, Stalled, Waiting
from service.reconcile.queue import Queue, Trigger
from service.reconcile.worker import Run, Worker, contained


def key(name: str) -> ObjectKey:
    return ObjectKey(group="source.toolkit.fluxcd.io", kind="GitRepository", namespace="apps", name=name)


class Scripted:
    """Ends each run as its object's name says."""

    kind = "GitRepository"

    def __init__(self) -> None:
        self.began: list[str] = []
        self.cancelled: list[str] = []
        self.traces: list[str] = []
        self.hold = asyncio.Event()

    async def reconcile(self, key: ObjectKey, triggers: tuple[Trigger, ...]) -> Outcome:
        self.began.append(key.name)
        self.traces.append(trace.get())
        match key.name:
            case "anew":
                if len(self.began) == 1:
                    self.hold.set()
                    await asyncio.sleep(0.02)
                    return Outcome(result="gone")
            case "stalled":
                raise Stalled("URLInvalid", "mend the URL")
            case "failed":
                raise Failed("GitOperationFailed", "no route")
            case "broken":
                raise ZeroDivisionError
            case "held":
                try:
                    await self.hold.wait()
                except asyncio.CancelledError:
                    self.cancelled.append(key.name)
                    raise
        return Outcome(result="succeeded")


class Started:
    """A worker that runs, and what came out of it."""

    def __init__(self) -> None:
        self.script, self.gate, self.runs = Scripted(), Gate("test"), asyncio.Queue[Run]()
        self.worker = Worker(Queue(), reconcilers={"GitRepository": self.script}, gate=self.gate, concurrency=2, metrics=Metrics())
        self.worker.on_run.append(self.runs.put_nowait)

    async def next(self) -> Run:
        async with asyncio.timeout(1):
            return await self.runs.get()

    async def __aenter__(self) -> "Started":
        self.task = asyncio.create_task(self.worker.run())
        return self

    async def __aexit__(self, *error: object) -> None:
        self.worker.stop()
        async with asyncio.timeout(1):
            await self.task


async def test_waits_for_the_gate() -> None:
    async with Started() as started:
        started.worker.queue.add(key("a"))
        await asyncio.sleep(0.02)
        assert started.script.began == []
        started.gate.open()
        assert (await started.next()).outcome.result == "succeeded"


async def test_names_the_consequence_of_each_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "service.reconcile.worker")
    async with Started() as started:
        started.gate.open()
        results = {}
        for name in ("stalled", "failed", "broken", "fine"):
            started.worker.queue.add(key(name))
            run = await started.next()
            results[run.key.name] = run.outcome.result
        assert results == {"stalled": "stalled", "failed": "failed", "broken": "failed", "fine": "succeeded"}


async def test_carries_the_trace_of_the_delivery() -> None:
    async with Started() as started:
        started.gate.open()
        started.worker.queue.add(key("a"), trigger=Trigger(reason="hook", trace="feed"))
        await started.next()
        assert started.script.traces == ["feed"]


async def test_cancels_what_runs_when_the_gate_shuts_and_runs_it_again() -> None:
    async with Started() as started:
        started.gate.open()
        started.worker.queue.add(key("held"))
        await asyncio.sleep(0.02)
        started.gate.shut()
        await asyncio.sleep(0.02)
        assert started.script.cancelled == ["held"]
        started.script.hold.set()
        started.gate.open()
        assert (await started.next()).outcome.result == "succeeded"
        assert started.script.began == ["held", "held"]


async def test_an_object_made_anew_while_its_end_runs_is_not_forgotten() -> None:
    async with Started() as started:
        started.gate.open()
        started.worker.queue.add(key("anew"))
        await started.script.hold.wait()
        started.worker.queue.add(key("anew"), trigger=Trigger(reason="added"))
        assert (await started.next()).outcome.result == "gone"
        run = await started.next()
        assert (run.outcome.result, [trigger.reason for trigger in run.triggers]) == ("succeeded", ["added"])


async def test_a_run_that_is_cancelled_keeps_its_triggers() -> None:
    async with Started() as started:
        started.gate.open()
        started.worker.queue.add(key("held"), trigger=Trigger(reason="hook"))
        await asyncio.sleep(0.02)
        started.gate.shut()
        await asyncio.sleep(0.02)
        started.script.hold.set()
        started.gate.open()
        assert [trigger.reason for trigger in (await started.next()).triggers] == ["hook"]


async def test_work_beside_the_workers_takes_nothing_down(caplog: pytest.LogCaptureFixture) -> None:
    async def breaks() -> None:
        raise ZeroDivisionError

    async def works() -> None:
        await asyncio.sleep(0)

    assert not await contained(breaks(), doing="test", about="a")
    assert await contained(works(), doing="test", about="a")
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


async def test_stop_lets_what_runs_end() -> None:
    async with Started() as started:
        started.gate.open()
        started.worker.queue.add(key("held"))
        await asyncio.sleep(0.02)
        started.worker.stop()
        started.script.hold.set()
        assert (await started.next()).outcome.result == "succeeded"


async def test_idle_says_when_nothing_runs() -> None:
    async with Started() as started:
        started.gate.open()
        started.worker.queue.add(key("held"))
        await asyncio.sleep(0.02)
        assert not started.worker.queue.idle.is_set()
        started.script.hold.set()
        await started.next()
        await asyncio.sleep(0)
        assert started.worker.queue.idle.is_set()


async def test_waiting_comes_back_after_its_time() -> None:
    assert Waiting("DependencyNotReady", "soon", timedelta(seconds=1)).retry_after == timedelta(seconds=1)
    queue = Queue()
    queue.add(key("a"))
    await queue.take()
    assert queue.done(key("a"), requeue_after=timedelta(milliseconds=10), failed=False) == timedelta(milliseconds=10)
    async with asyncio.timeout(1):
        assert (await queue.take()) == (key("a"), ())
