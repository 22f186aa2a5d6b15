"""How fast events become messages at a fast target, and what that costs whoever shares the loop and the store.

In: flags. Out: for each rate the share that arrived; p50, p99 and the longest time from storing an event to the target having it;
the lag of the loop, p99 of a small write of somebody else's (as a push makes them), with the same of a quiet process beside it, and the
processor time for each event (with that of whoever stores it here) and the load of the machine. The dispatcher runs in this process over a
real store (SQLite, synchronous FULL) in a temporary folder and writes its log; the target is another process, over loopback.
Usage: `python tests/benchmarks/alerts.py [--seconds 20] [--rates 100,500] [--type generic] [--postgres]`; the last measures on a
PostgreSQL, too, whose commits wait for the disk, over loopback.
"""

import argparse
import asyncio
import json
import multiprocessing
import multiprocessing.connection
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from aiohttp import web

from service.log import configure
from service.state.outbox import EventRow
from service.state.store import Store
from service.workers import Workers
from tests.alerts.conftest import World, about, alert, provider
from tests.peers.postgres import databases

OBJECTS = 200
BATCH_SECONDS = 0.001
LAST_SECONDS = 5


def target(pipe: multiprocessing.connection.Connection) -> None:
    """Notes when each number came; says all of it when asked."""

    async def main() -> None:
        came: dict[int, float] = {}

        async def take(request: web.Request) -> web.Response:
            number = int(json.loads(await request.read())["message"])
            came.setdefault(number, time.monotonic())
            return web.Response()

        app = web.Application()
        app.router.add_post("/", take)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        pipe.send(runner.addresses[0][1])
        while await asyncio.to_thread(pipe.recv):
            pipe.send(dict(came))
            came.clear()
        await runner.cleanup()

    asyncio.run(main())


@dataclass
class Beside:
    """What others feel: how late the loop comes, how long a small write takes. In seconds."""

    lags: list[float] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)

    def line(self) -> str:
        lag, write = _percentile(self.lags, 99), _percentile(self.writes, 99)
        return f"loop lag p99 {lag * 1000:.1f} ms, write of another p50 {_percentile(self.writes, 50) * 1000:.1f} p99 {write * 1000:.1f} ms"


@asynccontextmanager
async def beside(store: Store) -> AsyncIterator[Beside]:
    """Measure while the block runs."""
    felt = Beside()

    async def lag() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.01)
            felt.lags.append(time.perf_counter() - began - 0.01)

    async def write() -> None:
        while True:
            began = time.perf_counter()
            await store.write(lambda connection: connection.execute("SELECT 1").fetchone())
            felt.writes.append(time.perf_counter() - began)
            await asyncio.sleep(0.05)

    tasks = [asyncio.create_task(lag(), name="lag"), asyncio.create_task(write(), name="write")]
    try:
        yield felt
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def sustained(world: World, rate: int, seconds: float, first: int) -> dict[int, float]:
    """Store `rate` events a second; return when each was handed in."""
    handed: dict[int, float] = {}
    began = time.monotonic()

    async def one(number: int) -> None:
        handed[number] = time.monotonic()
        told = about(f"a{number % OBJECTS}", str(number))
        await world.outbox.add(EventRow(key=f"bench {number}", json=told.to_json()))

    async with asyncio.TaskGroup() as tasks:
        done = 0
        while (passed := time.monotonic() - began) < seconds:
            while done < passed * rate:
                tasks.create_task(one(first + done), name=f"event {first + done}")
                done += 1
            await asyncio.sleep(BATCH_SECONDS)
    return handed


async def measured(options: argparse.Namespace, pipe: multiprocessing.connection.Connection) -> None:
    port = await asyncio.to_thread(pipe.recv)
    with databases(options.postgres) as opened:
        for fresh in opened:
            with fresh() as state_url:
                await measured_on(state_url, options, pipe, port)
    pipe.send(False)


async def measured_on(state_url: str, options: argparse.Namespace, pipe: multiprocessing.connection.Connection, port: int) -> None:
    print("on PostgreSQL" if state_url else "on SQLite")
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w") as lines:
        with redirect_stderr(lines):
            configure("json")
        world = World(store=Store.open(Path(folder), state_url), workers=Workers(1))
        world.put(alert(), provider(type=options.type, address=f"http://127.0.0.1:{port}/"))
        first = 0
        async with world.running():
            async with beside(world.store) as quiet:
                await asyncio.sleep(3)
            print(f"quiet: {quiet.line()}")
            for rate in map(int, options.rates.split(",")):
                cpu = time.process_time()
                async with beside(world.store) as felt:
                    handed = await sustained(world, rate, options.seconds, first)
                    cpu = time.process_time() - cpu
                    await asyncio.sleep(LAST_SECONDS)
                first += len(handed)
                pipe.send(True)
                came = await asyncio.to_thread(pipe.recv)
                _say(rate, handed, came, felt, cpu)
        await world.evaluator.close()
        await world.store.close()


def _say(rate: int, handed: dict[int, float], came: dict[int, float], felt: Beside, cpu: float) -> None:
    took = sorted(came[number] - at for number, at in handed.items() if number in came)
    p50, p99 = _percentile(took, 50) * 1000, _percentile(took, 99) * 1000
    print(
        f"{rate}/s: {len(handed)} events, {len(took) / len(handed):.2%} arrived, p50 {p50:.1f} ms, p99 {p99:.1f} ms, "
        f"longest {took[-1] * 1000:.0f} ms; {felt.line()}; {cpu / len(handed) * 1000:.2f} ms of processor time each; "
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )


def _percentile(numbers: list[float], percent: int) -> float:
    return statistics.quantiles(numbers, n=100)[percent - 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rates", default="100,500")
    parser.add_argument("--type", default="generic")
    parser.add_argument("--postgres", action="store_true", help="measure on PostgreSQL, too")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs,), daemon=True)
    process.start()
    asyncio.run(measured(options, ours))
    process.join(5)
    process.kill()


if __name__ == "__main__":
    main()
