"""How many alerts a restart and an outage cost: sluice and Flux's own notification-controller under the same load, on a kube-apiserver.

In: flags. Out: a line for each: of the events that were accepted (202), how many the target never got, how many twice, how many objects in
another order. Events are posted as Flux's controllers do, one after another, again until they are accepted, and never before the service
says that it is ready. First with kill -9 at random times, then the same with a target that answers every tenth request by 429, then with
one that answers 503 for a while. Usage: `python -m tests.benchmarks.losses [--of sluice,flux] [--events 2000] [--kills 40] [--away 60]`,
after `tests/peers/build kube-apiserver etcd flux-notification-controller`.
"""

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import aiohttp
from aiohttp import web

from tests.end_to_end.kubernetes import Kubernetes
from tests.end_to_end.sluice_process import Sluice
from tests.end_to_end.world import NOTIFICATION, install_crds
from tests.peers.flux import NotificationController
from tests.peers.kube import ControlPlane

NAMESPACE, KUSTOMIZE = "bench-losses", "kustomize.toolkit.fluxcd.io/v1"
OBJECTS, PAUSE_SECONDS = 40, 0.005
LIFE_SECONDS = (0.05, 0.45)
AWAY_EVENTS_A_SECOND = 2
QUIET_SECONDS, READY_SECONDS = 30, 60


class Service(Protocol):
    """What is killed and started again; `ready` also when it has died."""

    events_url: str

    def begin(self) -> None: ...

    def ready(self) -> bool: ...

    def kill(self) -> None: ...


class OurService:
    """sluice, with a rate of events that is no limit here."""

    def __init__(self, folder: Path, kubeconfig: Path) -> None:
        self._sluice = Sluice(folder, [f"--kubeconfig={kubeconfig}", f"--runtime-namespace={NAMESPACE}", "--event-rate=100000"])
        self.events_url = f"http://127.0.0.1:{self._sluice.ports['cluster']}/"

    def begin(self) -> None:
        self._sluice.start(wait=False)

    def ready(self) -> bool:
        return self._sluice.probe("/readyz") == 200

    def kill(self) -> None:
        self._sluice.kill()


class Target:
    """Takes every event, but for each `busy`-th request; while `away` it answers 503."""

    def __init__(self) -> None:
        self.got: list[int] = []
        self.away, self.changed_at = False, time.monotonic()
        self.busy = self.asked = 0

    async def take(self, request: web.Request) -> web.Response:
        number = int(json.loads(await request.read())["message"].removeprefix("number "))
        self.changed_at = time.monotonic()
        if self.away:
            return web.Response(status=503)
        self.asked += 1
        if self.busy and self.asked % self.busy == 0:
            return web.Response(status=429, headers={"Retry-After": "1"})
        self.got.append(number)
        return web.Response()


async def post(session: aiohttp.ClientSession, url: str, number: int) -> bool:
    """Whether it is accepted, now or before: 429 says that the event is known."""
    involved = {"apiVersion": KUSTOMIZE, "kind": "Kustomization", "namespace": NAMESPACE, "name": f"a{number % OBJECTS}"}
    told = {"severity": "info", "reason": "ReconciliationSucceeded", "reportingController": "kustomize-controller"}
    body = {
        "involvedObject": involved,
        "message": f"number {number}",
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **told,
    }
    try:
        async with session.post(url, json=body) as answer:
            return answer.status in (202, 429)
    except (aiohttp.ClientError, TimeoutError):
        return False


async def started(service: Service) -> None:
    service.begin()
    async with asyncio.timeout(READY_SECONDS):
        while not await asyncio.to_thread(service.ready):  # noqa: ASYNC110 - a probe tells nobody
            await asyncio.sleep(0.05)


async def under_kills(service: Service, target: Target, numbers: range, kills: int) -> None:
    """Post all events; kill -9 at a random time after each start, as often as asked for."""
    dice, number, step = random.Random(7), numbers.start, len(numbers) // (kills + 1)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        for left in range(kills, -1, -1):
            await started(service)
            until = time.monotonic() + dice.uniform(*LIFE_SECONDS)
            stop_at = numbers.stop if not left else min(numbers.stop, number + 2 * step)
            while number < stop_at and (not left or time.monotonic() < until):
                number += await post(session, service.events_url, number)
                await asyncio.sleep(PAUSE_SECONDS)
            if left:
                await asyncio.to_thread(service.kill)
        await quiet(target, numbers.stop, longer=60 if target.busy else 0)


async def without_target(service: Service, target: Target, *, seconds: float, first: int) -> int:
    """Events at a steady rate; the target is away for these seconds in the middle half. Returns how many were posted."""
    target.away, count = False, int(seconds * 2 * AWAY_EVENTS_A_SECOND)
    began = time.monotonic()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        for number in range(first, first + count):
            target.away = seconds / 2 <= time.monotonic() - began < seconds * 1.5
            while not await post(session, service.events_url, number):  # noqa: ASYNC110 - again until it is taken
                await asyncio.sleep(0.1)
            await asyncio.sleep(1 / AWAY_EVENTS_A_SECOND)
    target.away = False
    await quiet(target, first + count, longer=60)
    return count


async def quiet(target: Target, total: int, *, longer: float = 0) -> None:
    """Until the target has everything, or has got nothing for long."""
    target.changed_at = time.monotonic()
    while len(set(target.got)) < total and time.monotonic() - target.changed_at < QUIET_SECONDS + longer:  # noqa: ASYNC110 - a plain list
        await asyncio.sleep(0.2)


def said(got: list[int], numbers: range) -> str:
    """What came of these events."""
    seen = Counter(number for number in got if number in numbers)
    by_object: dict[int, list[int]] = defaultdict(list)
    for number in got:
        if number in numbers:
            by_object[number % OBJECTS].append(number)
    disorder = sum(each != sorted(each) for each in by_object.values())
    lost, twice = len(numbers) - len(seen), sum(seen.values()) - len(seen)
    shares = f"lost {lost} ({lost / len(numbers):.2%}), twice {twice} ({twice / len(numbers):.2%})"
    return f"{shares}, {disorder} of {len(by_object)} objects in another order"


async def measured(name: str, folder: Path, kubeconfig: Path, options: argparse.Namespace) -> None:
    target = Target()
    app = web.Application()
    app.router.add_post("/{rest:.*}", target.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await asyncio.to_thread(objects, kubeconfig, f"http://127.0.0.1:{runner.addresses[0][1]}/")
    service: Service = OurService(folder, kubeconfig) if name == "sluice" else NotificationController(folder, kubeconfig, NAMESPACE)
    try:
        first = 0
        for busy in (0, 10):
            target.busy, numbers = busy, range(first, first + options.events)
            await under_kills(service, target, numbers, options.kills)
            how = " and a target that is busy at times" if busy else ""
            print(f"{name}, {options.events} events, {options.kills} kills{how}: {said(target.got, numbers)}", flush=True)
            first, target.busy = numbers.stop, 0
            if not busy:
                service.kill()
        count = await without_target(service, target, seconds=options.away, first=first)
        numbers = range(first, first + count)
        print(
            f"{name}, {count} events, target away for {options.away:g} of {options.away * 2:g} s: {said(target.got, numbers)}", flush=True
        )
    finally:
        service.kill()
        await runner.cleanup()


def objects(kubeconfig: Path, address: str) -> None:
    """An Alert about every Kustomization, and its Provider."""
    kube = Kubernetes(kubeconfig)
    install_crds(kube)
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    sources = [{"kind": "Kustomization", "name": "*"}]
    specs = {
        "Provider": {"type": "generic", "address": address},
        "Alert": {"providerRef": {"name": "target"}, "eventSources": sources},
    }
    for kind, spec in specs.items():
        metadata = {"name": "target", "namespace": NAMESPACE}
        kube.apply({"apiVersion": f"{NOTIFICATION}/v1beta3", "kind": kind, "metadata": metadata, "spec": spec})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--of", default="sluice,flux")
    parser.add_argument("--events", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--away", type=float, default=60, help="seconds that the target is away")
    options = parser.parse_args()
    for name in options.of.split(","):
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-losses-")))
            plane = stack.enter_context(ControlPlane(folder / "kube"))
            asyncio.run(measured(name, folder / name, plane.kubeconfig, options))


if __name__ == "__main__":
    main()
