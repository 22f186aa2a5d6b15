"""Random pushes while objects drift, a dependency breaks and is mended, and the service is killed: what stands in the end is the same.

A ConfigMap whose variable one Kustomization uses changes in between. Besides the fleet of test_fleets some apps depend on others: a broken
one keeps those that depend on it at what they had, and no app that a push does not touch is built, or turns green, or is asked of the
cluster, for its neighbour's sake.
"""

import asyncio
import itertools
import logging
from random import Random
from typing import Any

import pytest

from service.cluster.client import APPLY_PATCH
from tests.compose.fleets import APPS, Fleet, expected
from tests.compose.test_fleets import allow_empty, check, founded, live, one_push, write
from tests.kustomizations.test_flow import app, built, settled
from tests.kustomizations.town import Town, config_map, ready

DEPENDS = {"beech": "ash", "cedar": "beech", "oak": "elm"}


async def drift(town: Town, dice: Random, number: int) -> str | None:
    """Somebody edits one of our objects by hand, or deletes it; returns whose it was."""
    path = f"/api/v1/namespaces/{town.namespace}/configmaps"
    found = {name: sorted(values) for name, values in (await live(town)).items() if values}
    if not found:
        return None
    owner = dice.choice(sorted(found))
    name = dice.choice(found[owner])
    if dice.random() < 0.3:
        await town.api.request("DELETE", f"{path}/{name}")
    else:
        body = {"data": {"value": f"by hand {number}"}}
        await town.api.request("PATCH", f"{path}/{name}", body=body, content_type="application/merge-patch+json")
    return owner


async def breaks(town: Town, fleet: Fleet) -> None:
    """A push breaks `ash`; what depends on it waits, whatever else is pushed; the next push mends it."""
    before = await live(town)
    fleet.apps["ash"].files["broken.yaml"] = "0"
    files = fleet.files() | {"apps/ash/broken.yaml": "a: ["}
    town.repository.modes = fleet.modes()
    town.repository.replace(files)
    town.tell()
    await town.not_ready("ash", "BuildFailed")
    await town.not_ready("beech", "DependencyNotReady")
    await town.quiet()
    assert (await live(town))["ash"] == before["ash"], "nothing of what does not build is applied or pruned"
    del fleet.apps["ash"].files["broken.yaml"]
    write(town, fleet)
    town.tell()


class Tint:
    """A Kustomization over a shared base whose objects carry a variable of a ConfigMap that changes now and then, beside the pushes."""

    name = "tinted"

    def __init__(self, town: Town, fleet: Fleet, dice: Random) -> None:
        self._town, self._fleet, self._dice = town, fleet, dice
        self._space = f"{town.namespace}-tint"
        self._colour = ""

    async def begin(self) -> None:
        await self.change()
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self._space}}
        query = {"fieldManager": "tester"}
        await self._town.api.request("PATCH", f"/api/v1/namespaces/{self._space}", query=query, body=body, content_type=APPLY_PATCH)
        patch = "- op: add\n  path: /data/tint\n  value: ${colour}\n"
        spec = {
            "targetNamespace": self._space,
            "patches": [{"patch": patch, "target": {"kind": "ConfigMap"}}],
            "postBuild": {"substituteFrom": [{"kind": "ConfigMap", "name": "paint"}]},
        }
        await self._town.apply(self._town.kustomization(self.name, "./bases/north", **spec))

    async def change(self) -> None:
        """Without a push: whoever uses the ConfigMap runs because of it."""
        self._colour = self._dice.choice([colour for colour in ("red", "green", "blue") if colour != self._colour])
        metadata = {"name": "paint", "namespace": self._town.namespace}
        await self._town.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"colour": self._colour}})

    async def check(self) -> None:
        """All its objects stand as the base and the ConfigMap say, in a moment."""
        path, wanted = f"/api/v1/namespaces/{self._space}/configmaps", len(self._fleet.bases["north"])
        async with asyncio.timeout(20):
            while True:
                items = (await self._town.api.request("GET", path)).body["items"]
                tints = [each["data"].get("tint") for each in items if each["metadata"]["name"].startswith("base-")]
                if tints == [self._colour] * wanted:
                    return
                await asyncio.sleep(0.05)


async def storm(town: Town, dice: Random, caplog: pytest.LogCaptureFixture, *, count: int, kills: bool) -> None:
    caplog.set_level(logging.INFO, "service")
    fleet = Fleet(dice)
    await founded(town, fleet)
    await town.apply(*(town.kustomization(name, f"./apps/{name}", dependsOn=[{"name": need}]) for name, need in DEPENDS.items()))
    tint = Tint(town, fleet, dice)
    await tint.begin()
    await town.start()
    await check(town)
    for number in range(count):
        await tint.check()
        await town.quiet()
        built(caplog)
        drifted = await drift(town, dice, number)
        concerned = await one_push(town, fleet, dice) | {tint.name}
        town.tell()
        if dice.random() < 0.5:
            await tint.change()
        killed = kills and dice.random() < 0.5
        if killed:
            await town.kill()
            await town.start()
            town.tell()
        await allow_empty(town)
        await town.at(town.revision, *APPS)
        await town.quiet()
        if not killed:
            assert built(caplog) <= concerned | {name for name in APPS if not expected(town.repository.files, name)}
        if drifted is not None:
            await town.ask(drifted, f"token {number}")
            await town.wait("Kustomization", drifted, lambda seen, n=number: seen["status"].get("lastHandledReconcileAt") == f"token {n}")  # type: ignore[misc]
        await check(town)
        await tint.check()
        if dice.random() < 0.4:
            await breaks(town, fleet)
            await check(town)


async def test_a_storm_ends_at_what_the_last_revision_says(hamlet: Town, caplog: pytest.LogCaptureFixture) -> None:
    """Three pushes: five seconds on a busy machine."""
    await storm(hamlet, Random(5), caplog, count=3, kills=False)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(40, 48))
async def test_long_storms(place: Town, caplog: pytest.LogCaptureFixture, seed: int) -> None:
    """About a minute each."""
    await storm(place, Random(seed), caplog, count=25, kills=seed % 2 == 0)


async def test_a_broken_neighbour_stays_broken(hamlet: Town, caplog: pytest.LogCaptureFixture) -> None:
    """What is not ready is not made green by a push that does not touch it, and what is ready is not made to run by it."""
    caplog.set_level(logging.INFO, "service")
    hamlet.repository.commit(app("shop") | app("blog") | {"sick/broken.yaml": "a: ["})
    await hamlet.start()
    await settled(hamlet, "shop", "blog")
    await hamlet.apply(hamlet.kustomization("sick", retryInterval="1h"))
    before = await hamlet.not_ready("sick", "BuildFailed")
    await hamlet.quiet()
    built(caplog)
    for value in ("2", "3"):
        revision = hamlet.push({"shop/settings.yaml": config_map("shop", value)})
        await hamlet.at(revision, "shop", "blog")
        await hamlet.quiet()
        seen: dict[str, Any] = await hamlet.get("Kustomization", "sick") or {}
        assert ready(seen)["status"] == "False"
        assert ready(seen)["reason"] == "BuildFailed"
        assert seen["status"].get("lastAppliedRevision") == before["status"].get("lastAppliedRevision")
    assert built(caplog) == {"shop"}
    mended = hamlet.push({"sick/broken.yaml": config_map("sick", "1")})
    await hamlet.at(mended, "sick", "shop", "blog")


async def test_dependents_are_woken_by_the_event_and_not_by_a_poll(hamlet: Town) -> None:
    """The whole chain in less than the thirty seconds that one poll would take, at the first sync and when its head is mended."""
    names = ("one", "two", "three", "four")
    hamlet.repository.commit({path: text for name in names for path, text in app(name).items()} | {"one/broken.yaml": "a: ["})
    await hamlet.start()
    await hamlet.apply(hamlet.source(), hamlet.kustomization("one", retryInterval="1h"))
    await hamlet.apply(
        *(hamlet.kustomization(name, dependsOn=[{"name": need}], retryInterval="1h") for need, name in itertools.pairwise(names))
    )
    for name in names[1:]:
        await hamlet.not_ready(name, "DependencyNotReady")
    mended = hamlet.push({"one/broken.yaml": None})
    async with asyncio.timeout(8):
        await hamlet.at(mended, *names)
