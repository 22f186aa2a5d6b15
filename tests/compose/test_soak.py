"""An hour on a real kube-apiserver: pushes through the hook, objects edited by hand, the API server killed and started again.

The whole service as a process. In the end nothing that was accepted is lost, the cluster is what a build from scratch makes of the last
revision, nothing broke, and the memory is what it was. `--soak-seconds N` for another time; the figures are printed (`-s`).
"""

import asyncio
import json
import statistics
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from service.cluster.client import ApiError, ClusterError
from tests.benchmarks.costs import cpu_seconds, pss_mib
from tests.compose.fleets import APPS, Fleet, expected
from tests.compose.test_disturbances import drift
from tests.compose.test_fleets import allow_empty, at_head, live, one_push, write
from tests.conftest import Peers
from tests.end_to_end.sluice_process import Sluice
from tests.kustomizations.town import PATHS, SHARD, Town, town
from tests.peers.kube import API, ControlPlane

TOKEN = "a-soak-test's-token"
INTERVAL = "30s"
RESTART_EVERY, SAMPLE_EVERY = 75.0, 5.0
GROWTH_MIB = 15.0
HEAD_SECONDS = 120


@dataclass(slots=True)
class Figures:
    """What is printed."""

    pushes: int = 0
    drifts: int = 0
    restarts: int = 0
    refused: int = 0
    memory_mib: list[float] = field(default_factory=list)


@pytest.mark.soak
@pytest.mark.real
async def test_an_hour(peers: Peers, tmp_path: Path, namespace_name: str, pytestconfig: pytest.Config) -> None:
    peers.need(*API)
    seconds = int(pytestconfig.getoption("--soak-seconds"))
    dice, figures = Random(seconds), Figures()
    with ControlPlane(tmp_path / "kube") as plane:
        async with town(tmp_path / "town", plane.kubeconfig, namespace_name) as place:
            scope = [f"--watch-label-selector={SHARD}={place.namespace}", f"--runtime-namespace={place.namespace}"]
            with Sluice(tmp_path / "sluice", [f"--kubeconfig={place.kubeconfig}", *scope]) as sluice:
                fleet = Fleet(dice)
                write(place, fleet)
                path = await founded(place, sluice)
                began, cpu = time.monotonic(), cpu_seconds(sluice.running.pid)
                await soak(place, fleet, Weather(plane, sluice, path, dice, figures), until=began + seconds)
                await ended(place, sluice)
                used = cpu_seconds(sluice.running.pid) - cpu
                await asyncio.to_thread(sluice.stop)
                report(figures, time.monotonic() - began, used)
    quarter = max(1, len(figures.memory_mib) // 4)
    early, late = figures.memory_mib[quarter : 2 * quarter], figures.memory_mib[-quarter:]
    assert statistics.median(late) - statistics.median(early) < GROWTH_MIB
    assert figures.refused == 0, "the hook answers whatever the API server does"
    assert not [line for line in sluice.log() if line.get("msg") in ("reconcile broke", "work broke", "a room failed, the service ends")]


@dataclass(slots=True)
class Weather:
    """What happens to the fleet: one `second` after the other."""

    plane: ControlPlane
    sluice: Sluice
    hook_path: str
    dice: Random
    figures: Figures
    next_restart: float = field(default_factory=lambda: time.monotonic() + RESTART_EVERY)

    async def push(self, place: Town, fleet: Fleet) -> None:
        await one_push(place, fleet, self.dice)
        repository = {"full_name": "team/fleet", "clone_url": place.url}
        payload = {"ref": "refs/heads/main", "before": "0" * 40, "after": place.repository.head, "repository": repository, "commits": []}
        answer = await asyncio.to_thread(self.sluice.hook, self.hook_path, json.dumps(payload).encode(), token=TOKEN)
        self.figures.refused += answer.status != 200
        self.figures.pushes += 1

    async def drift(self, place: Town) -> None:
        with suppress(ApiError):  # the service may have pruned it meanwhile
            if await drift(place, self.dice, self.figures.drifts) is not None:
                self.figures.drifts += 1

    async def restart(self) -> None:
        self.plane.kill_api()
        await asyncio.sleep(self.dice.uniform(0, 6))
        await asyncio.to_thread(self.plane.start_api)
        self.figures.restarts += 1
        self.next_restart = time.monotonic() + RESTART_EVERY


async def soak(place: Town, fleet: Fleet, weather: Weather, *, until: float) -> None:
    dice, sampled = weather.dice, 0.0
    while time.monotonic() < until:
        await weather.push(place, fleet)
        with suppress(ClusterError):
            await allow_empty(place)
            if dice.random() < 0.3:
                await weather.drift(place)
        if time.monotonic() > weather.next_restart:
            restart = asyncio.create_task(weather.restart())
            for _ in range(3):  # while nobody can be asked, hooks come as ever
                await weather.push(place, fleet)
                await asyncio.sleep(0.3)
            await restart
        if time.monotonic() - sampled > SAMPLE_EVERY:
            sampled = time.monotonic()
            weather.figures.memory_mib.append(await asyncio.to_thread(pss_mib, weather.sluice.running.pid))
        await asyncio.sleep(dice.choice([0.1, 0.5, 1, 3]))


async def founded(place: Town, sluice: Sluice) -> str:
    """The objects and the service; returns the hook's path as soon as all apps stand."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hook"}, "stringData": {"token": TOKEN}}
    await place.api.request("POST", f"/api/v1/namespaces/{place.namespace}/secrets", body=secret)
    spec = {"type": "github", "events": ["push"], "secretRef": {"name": "hook"}}
    spec |= {"resources": [{"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "name": "fleet"}]}
    metadata = {"name": "hook", "namespace": place.namespace, "labels": {SHARD: place.namespace}}
    api_version = PATHS["Receiver"].split("/namespaces")[0].removeprefix("/apis/")
    receiver = {"apiVersion": api_version, "kind": "Receiver", "metadata": metadata, "spec": spec}
    apps = [place.kustomization(name, f"./apps/{name}", interval=INTERVAL) for name in APPS]
    await place.apply(place.source(), receiver, *apps)
    await asyncio.to_thread(sluice.start)
    await at_head(place)
    seen = await place.wait_outside("Receiver", "hook", lambda seen: "webhookPath" in (seen.get("status") or {}), seconds=20)
    return str(seen["status"]["webhookPath"])


async def ended(place: Town, sluice: Sluice) -> None:
    """Everything stands at the head, what was edited by hand is undone at the interval, every delivery has come to its end."""
    wanted = {name: expected(place.repository.files, name) for name in APPS}
    await at_head(place)
    async with asyncio.timeout(HEAD_SECONDS):
        while await live(place) != wanted:  # noqa: ASYNC110 - a server's doing
            await asyncio.sleep(0.5)
    assert await live(place) == wanted
    async with asyncio.timeout(30):
        while states(sluice).get("queued"):  # noqa: ASYNC110 - a server's doing
            await asyncio.sleep(0.5)
    assert set(states(sluice)) == {"done"}


def states(sluice: Sluice) -> Counter[str]:
    """The newest deliveries by state, from the delivery log."""
    token = (sluice.state / "admin.token").read_text().strip()
    answer = sluice.call("admin", "/deliveries?limit=1000", headers={"Authorization": f"Bearer {token}"})
    found: list[dict[str, Any]] = json.loads(answer.body)["deliveries"]
    return Counter(str(each["state"]) for each in found)


def report(figures: Figures, seconds: float, used: float) -> None:
    memory = figures.memory_mib
    quarters = [memory[len(memory) * part // 4 : len(memory) * (part + 1) // 4] for part in range(4)]
    shown = ", ".join(f"{statistics.median(quarter):.0f}" for quarter in quarters if quarter)
    print(f"\n{seconds:.0f} s: {figures.pushes} pushes, {figures.drifts} edits by hand, {figures.restarts} API server restarts")
    print(
        f"memory (PSS, MiB) by quarter, median: {shown}; highest {max(memory):.0f}; processor {used:.0f} s; hooks refused {figures.refused}"
    )
