"""Whatever is pushed, and whenever the service is killed: in the end the cluster is what a build from scratch makes of the last revision.

Work stays in proportion: what a push does not touch is not built. In small a few pushes; with --soak many, with kills in between, first of
the rooms in this process, then of the whole service at its crash points.
"""

import asyncio
import json
import logging
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from service.kinds.meta import PRUNE_ALLOWED
from tests.compose.fleets import APPS, Fleet, expected, touched
from tests.end_to_end.sluice_process import Sluice
from tests.kustomizations.test_flow import built
from tests.kustomizations.town import SHARD, Town, is_at

REVISION = "kustomize.toolkit.fluxcd.io/revision"
POINTS = ("source.fetched", "source.stored", "run.opened", "apply.first", "apply.done", "prune.first", "run.closed", "status.patched")


async def founded(town: Town, fleet: Fleet) -> None:
    """The first commit, and the objects."""
    write(town, fleet)
    await town.apply(town.source(), *(town.kustomization(name, f"./apps/{name}") for name in APPS))


def write(town: Town, fleet: Fleet) -> None:
    """Commit the fleet as it is; `files` are then those that can be built."""
    town.repository.modes = fleet.modes()
    town.repository.replace(fleet.files())
    town.repository.files = fleet.plain()


async def live(town: Town) -> dict[str, dict[str, str]]:
    """What each app has in the cluster: value by name."""
    items = (await town.api.request("GET", f"/api/v1/namespaces/{town.namespace}/configmaps")).body["items"]
    found: dict[str, dict[str, str]] = {name: {} for name in APPS}
    for each in items:
        if owner := (each["metadata"].get("labels") or {}).get("kustomize.toolkit.fluxcd.io/name"):
            found[owner][each["metadata"]["name"]] = each["data"]["value"]
    return found


async def allow_empty(town: Town) -> None:
    """A person says that an app which builds nothing any more is meant to."""
    for name in APPS:
        if not expected(town.repository.files, name):
            await town.patch("Kustomization", name, {"metadata": {"annotations": {PRUNE_ALLOWED: town.revision}}})


async def check(town: Town) -> None:
    """All apps stand at the head, and the cluster and the inventories are what it says."""
    await allow_empty(town)
    for seen in await town.at(town.revision, *APPS):
        name = seen["metadata"]["name"]
        names = {entry["id"].split("_")[1] for entry in seen["status"]["inventory"]["entries"]}
        assert names == set(expected(town.repository.files, name))
    assert await live(town) == {name: expected(town.repository.files, name) for name in APPS}


async def one_push(town: Town, fleet: Fleet, dice: Random) -> set[str]:
    """A random push; returns whom it may concern."""
    before = dict(town.repository.files)
    for _ in range(dice.choice([1, 1, 1, 2, 5])):
        fleet.step()
    write(town, fleet)
    return touched(before, town.repository.files)


async def pushes(town: Town, dice: Random, caplog: pytest.LogCaptureFixture, *, count: int, kills: bool) -> None:
    fleet = Fleet(dice)
    await founded(town, fleet)
    await town.start()
    await check(town)
    await town.quiet()
    built(caplog)
    for _ in range(count):
        concerned: set[str] = set()
        for _ in range(dice.choice([1, 1, 3])):  # sometimes the next push does not wait for the last
            concerned |= await one_push(town, fleet, dice)
            town.tell()
            await asyncio.sleep(dice.choice([0, 0.01, 0.1]))
        killed = kills and dice.random() < 0.5
        if killed:
            await town.kill()
            await town.start()
            town.tell()
        await check(town)
        await town.quiet()
        if not killed:
            assert built(caplog) <= concerned
        caplog.clear()
    for name in APPS:
        assert {event["reason"] for event in await town.events(name, severity="error")} <= {"PruneBlocked"}


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.soak)])
async def test_the_cluster_is_what_the_last_revision_says(hamlet: Town, caplog: pytest.LogCaptureFixture, seed: int) -> None:
    caplog.set_level(logging.INFO, "service")
    await pushes(hamlet, Random(seed), caplog, count=6, kills=False)


async def test_the_cluster_is_what_the_last_revision_says_over_kills(hamlet: Town, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "service")
    await pushes(hamlet, Random(3), caplog, count=4, kills=True)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10, 18))
async def test_many_pushes_and_kills(place: Town, caplog: pytest.LogCaptureFixture, seed: int) -> None:
    """About half a minute each."""
    caplog.set_level(logging.INFO, "service")
    await pushes(place, Random(seed), caplog, count=40, kills=seed % 2 == 0)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20, 24))
async def test_many_pushes_and_sigkills_at_each_step(place: Town, tmp_path: Path, seed: int) -> None:
    """The whole service as a process, about a minute each: nothing is lost, nothing is told twice."""
    dice = Random(seed)
    fleet = Fleet(dice)
    await founded(place, fleet)
    scope = [f"--watch-label-selector={SHARD}={place.namespace}", f"--runtime-namespace={place.namespace}"]
    with Sluice(tmp_path / "sluice", [f"--kubeconfig={place.kubeconfig}", *scope]) as sluice:
        await asyncio.to_thread(sluice.start)
        for number in range(12):
            await one_push(place, fleet, dice)
            await asyncio.to_thread(sluice.kill)
            point = f"{dice.choice(POINTS)}:{dice.randint(1, 4)}"
            await asyncio.to_thread(sluice.start, crash_at=point, wait=False)
            await asked(place, number)
            await asyncio.sleep(dice.uniform(0.5, 4))
        await asyncio.to_thread(sluice.kill)
        await asyncio.to_thread(sluice.start)
        await asked(place, 99)
        await at_head(place)
        assert await live(place) == {name: expected(place.repository.files, name) for name in APPS}
        await asyncio.to_thread(sluice.stop)
    told = Counter(told_by(tmp_path / "sluice" / "state"))
    assert {what: times for what, times in told.items() if times > 1} == {}


async def asked(town: Town, token: int | str) -> None:
    """`flux reconcile source git`."""
    await town.patch("GitRepository", "fleet", {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": str(token)}}})


async def at_head(town: Town) -> None:
    await allow_empty(town)
    for name in APPS:
        await town.wait_outside("Kustomization", name, lambda seen: is_at(seen, town.revision), seconds=40)


def told_by(state: Path) -> list[tuple[Any, ...]]:
    """What was told of the Kustomizations: object, revision, and the changes without the time that it took."""
    path = next(path for path in state.rglob("*.db") if path.name != "cache.db")
    with closing(sqlite3.connect(path)) as connection:
        events = [json.loads(text) for (text,) in connection.execute("SELECT json FROM events")]
    about = [event for event in events if event["involvedObject"]["kind"] == "Kustomization"]
    return [(_name(event), event["metadata"].get(REVISION), event["message"].partition("Reconciliation finished")[0]) for event in about]


def _name(event: Any) -> str:
    return str(event["involvedObject"]["name"])
