"""Worker processes: results and errors come back, limits end the work, and no worker outlives the service."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from service.workers import Workers

LIMIT = timedelta(seconds=20)


@pytest_asyncio.fixture
async def workers() -> AsyncIterator[Workers]:
    pool = Workers(1)
    yield pool
    await pool.close()


async def test_returns_results_and_raises_errors(workers: Workers) -> None:
    assert await workers.run(divmod, 7, 2, timeout=LIMIT) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await workers.run(divmod, 7, 0, timeout=LIMIT)


async def test_work_that_overruns_is_ended_and_the_worker_goes_on(workers: Workers) -> None:
    pid = await workers.run(os.getpid, timeout=LIMIT)
    with pytest.raises(TimeoutError):
        await workers.run(time.sleep, 30, timeout=timedelta(milliseconds=50))
    assert await workers.run(os.getpid, timeout=LIMIT) == pid


async def test_a_worker_that_dies_fails_its_work_alone(workers: Workers) -> None:
    with pytest.raises(ChildProcessError):
        await workers.run(os._exit, 1, timeout=LIMIT)
    assert await workers.run(abs, -1, timeout=LIMIT) == 1


PARENT = """
import asyncio, os
from datetime import timedelta
from pathlib import Path
from service.workers import Workers

async def main():
    pool = Workers(1)
    print(await pool.run(os.getpid, timeout=timedelta(seconds=20)), flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_no_worker_outlives_a_killed_service() -> None:
    service = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220 - to be killed
    assert service.stdout is not None
    worker = int(await asyncio.to_thread(service.stdout.readline))
    service.send_signal(signal.SIGKILL)
    await asyncio.to_thread(service.wait)
    service.stdout.close()
    await ended(worker)


async def test_idle_processes_end_and_others_come_when_needed() -> None:
    pool = Workers(1, idle=timedelta(milliseconds=300))
    try:
        first = await pool.run(os.getpid, timeout=LIMIT)
        await asyncio.sleep(0.2)
        assert await pool.run(os.getpid, timeout=LIMIT) == first
        await asyncio.sleep(0.2)
        assert await pool.run(os.getpid, timeout=LIMIT) == first
        await ended(first)
        assert await pool.run(os.getpid, timeout=LIMIT) != first
    finally:
        await pool.close()


async def ended(worker: int) -> None:
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        with suppress(OSError):  # it has just gone
            if _state(worker) == "Z":
                return
        await asyncio.sleep(0.05)
    pytest.fail("the worker is still there after five seconds")


def _state(pid: int) -> str:
    """One letter; Z for a process that has ended and that nobody has asked about."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
