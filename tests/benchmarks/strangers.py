"""Events of others while something else is measured: a process that posts them at a rate, and takes the messages that come of them.

In: how many a second, and where to. Out: `address`, for a Provider of type generic; `flow(True)` lets events come, `flow(False)` stops
them; `taken()` says how many messages came so far.
"""

import asyncio
import json
import multiprocessing
import time
from datetime import UTC, datetime
from typing import Any

import aiohttp
from aiohttp import web

KIND, API_VERSION = "HelmRelease", "helm.toolkit.fluxcd.io/v2"
OBJECTS, STEP_SECONDS = 200, 0.004


class Strangers:
    """Use it as a context manager."""

    def __init__(self, per_second: float, namespace: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._flows, self._taken = context.Event(), context.Value("q", 0)
        arguments = (theirs, self._flows, self._taken, per_second, namespace)
        self._process = context.Process(target=_main, args=arguments, daemon=True)

    def __enter__(self) -> "Strangers":
        self._process.start()
        self.address = f"http://127.0.0.1:{self._pipe.recv()}/"
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.join()

    def post_to(self, url: str) -> None:
        """Where the events go."""
        self._pipe.send(url)

    def flow(self, on: bool) -> None:
        """Whether events come."""
        if on:
            self._flows.set()
        else:
            self._flows.clear()

    def taken(self) -> int:
        """Messages so far."""
        return int(self._taken.value)


def _main(pipe: Any, flows: Any, taken: Any, per_second: float, namespace: str) -> None:
    async def take(request: web.Request) -> web.Response:
        await request.read()
        taken.value += 1
        return web.Response()

    async def post(session: aiohttp.ClientSession, url: str, number: int) -> None:
        involved = {"apiVersion": API_VERSION, "kind": KIND, "namespace": namespace, "name": f"h{number % OBJECTS}"}
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        told = {"severity": "info", "reason": "UpgradeSucceeded", "message": f"number {number}", "timestamp": at}
        body = json.dumps({"involvedObject": involved, "reportingController": "helm-controller", **told})
        async with session.post(url, data=body) as answer:
            await answer.read()

    async def main() -> None:
        app = web.Application()
        app.router.add_post("/", take)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send(runner.addresses[0][1])
        url, number = await asyncio.to_thread(pipe.recv), 0
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
            while True:
                await asyncio.to_thread(flows.wait)
                began, first = time.monotonic(), number
                while flows.is_set():
                    while number - first < (time.monotonic() - began) * per_second:
                        tasks.create_task(post(session, url, number))
                        number += 1
                    await asyncio.sleep(STEP_SECONDS)

    asyncio.run(main())
