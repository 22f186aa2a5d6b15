"""Worker processes for what parses and builds: the event loop and its threads never run more than 5 ms of Python at once.

A thread that parses YAML makes every hook wait for the interpreter lock; a process does not. Processes are started on first use from a
fork server (no fork of a process that has threads), with the heavy modules loaded once and shared between them.
"""

import asyncio
import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from datetime import timedelta
from functools import lru_cache, partial
from multiprocessing import forkserver
from types import FrameType
from typing import TypeVar

T = TypeVar("T")

PRELOAD = (
    "__main__",  # what a fresh process would import anyway
    "yaml",
    "pygit2",
    "service.kustomize.build",
    "service.sources.tree",
    "service.sources.artifact",
    "service.sources.fetchprocess",
    "service.kustomizations.building",
    "service.cel",
)


def _too_long(_signal: int, _frame: FrameType | None) -> None:
    raise TimeoutError("the work took longer than its time limit")


def _start() -> None:
    """Prepare a worker: the parent handles Ctrl-C and drains; SIGALRM ends work that overruns; no worker outlives the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, _too_long)
    threading.Thread(target=_end_with_parent, name="parent watch", daemon=True).start()


def _end_with_parent() -> None:
    """Workers of a service that was killed must not stay behind: its end of the pipe closes when it dies."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)


def _limited(seconds: float, function: Callable[..., T], args: tuple[object, ...]) -> T:
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return function(*args)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@lru_cache(1)
def bound_memory(more_bytes: int) -> None:
    """In a worker: let its process hold so much more than it holds now; once for the process."""
    with open("/proc/self/status", encoding="ascii") as status:
        held = next((int(line.split()[1]) * 1024 for line in status if line.startswith("VmData:")), 2**30)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = held + more_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _ensure_fork_server() -> None:
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(PRELOAD))
    forkserver.ensure_running()


class Workers:
    """A bounded pool of lazily spawned processes. Functions and arguments must pickle; keep both small.

    With `idle`, the processes end when nothing was asked of them for so long; the next work starts new ones.
    """

    def __init__(self, processes: int, *, idle: timedelta | None = None) -> None:
        self._processes, self._idle = processes, idle
        self._pool: ProcessPoolExecutor | None = None
        self._under_way = 0
        self._end_later: asyncio.TimerHandle | None = None

    async def run(self, function: Callable[..., T], *args: object, timeout: timedelta) -> T:
        """Return `function(*args)` from a worker process.

        Raises what the function raises, and TimeoutError when it runs longer than `timeout`. A worker that dies (killed, out of memory)
        fails the work that was in the pool with ChildProcessError; the next call gets a new pool.
        """
        self._keep()
        pool = self._pool or self._new_pool()
        self._under_way += 1
        try:
            return await asyncio.wrap_future(await self._submitted(pool, partial(_limited, timeout.total_seconds(), function, args)))
        except BrokenProcessPool as error:
            if self._pool is pool:
                self._pool = None
            raise ChildProcessError("a worker process died, probably out of memory; the work will be tried again") from error
        finally:
            self._under_way -= 1
            if self._idle is not None and not self._under_way:
                self._keep()
                self._end_later = asyncio.get_running_loop().call_later(self._idle.total_seconds(), self._end)

    async def start(self) -> None:
        """Start the fork server, which loads the modules, so that the first work does not wait for it. Workers come when needed."""
        await asyncio.to_thread(_ensure_fork_server)

    async def _submitted(self, pool: ProcessPoolExecutor, work: Callable[[], T]) -> Future[T]:
        """Hand work over; from a thread while that may start a process, which would hold the loop."""
        if len(pool._processes or {}) < self._processes:
            return await asyncio.to_thread(pool.submit, work)
        return pool.submit(work)

    def _new_pool(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("forkserver")
        self._pool = ProcessPoolExecutor(self._processes, mp_context=context, initializer=_start)
        return self._pool

    async def close(self) -> None:
        """Stop the processes; work that still waits is cancelled, running work is ended."""
        self._end()

    def _keep(self) -> None:
        if self._end_later is not None:
            self._end_later.cancel()
            self._end_later = None

    def _end(self) -> None:
        self._keep()
        pool, self._pool = self._pool, None
        if pool is None:
            return
        for process in list((pool._processes or {}).values()):  # no public way to end running work
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
