"""--shadow: everything is computed and told, nothing is written, beside whoever really runs the cluster. --kinds and shards too."""

import asyncio

from service.kinds.meta import KUSTOMIZE_GROUP, ObjectKey
from tests.kustomizations.test_flow import app, settled
from tests.kustomizations.town import SHARD, Town, config_map, ready


def key(town: Town, name: str) -> ObjectKey:
    return ObjectKey(group=KUSTOMIZE_GROUP, kind="Kustomization", namespace=town.namespace, name=name)


async def report(town: Town, name: str, revision: str) -> list[str]:
    """The changes that shadow mode has found for an object at a revision."""
    async with asyncio.timeout(10):
        while (found := town.house.reports.shadow_reports.get(key(town, name), {})).get("revision") != revision:
            assert town.alive
            await asyncio.sleep(0.01)
    return sorted(found["changes"])


async def test_shadow_tells_what_would_be_done_and_writes_nothing(place: Town) -> None:
    place.repository.commit(app("shop") | app("blog"))
    await place.start()
    await settled(place, "shop")
    await place.apply(place.kustomization("blog", dependsOn=[{"name": "shop"}]))
    await place.at(place.revision, "shop", "blog")
    await place.stop()
    first = place.revision

    place.settings["shadow"] = True
    await place.start(state="beside")
    assert await report(place, "shop", place.revision) == []
    assert await report(place, "blog", place.revision) == []
    revision = place.push({"shop/settings.yaml": config_map("shop", "2"), "shop/more.yaml": None, "blog/new.yaml": config_map("new", "1")})
    line = f"ConfigMap/{place.namespace}"
    assert await report(place, "shop", revision) == [f"{line}/shop configured", f"{line}/shop-more deleted"]
    assert await report(place, "blog", revision) == [f"{line}/new created"], "its dependency counts as applied"
    await place.delete("Kustomization", "shop")
    await place.wait("Kustomization", "shop", lambda seen: "deletionTimestamp" in seen["metadata"])
    await place.quiet()
    assert await report(place, "shop", first) == [f"{line}/shop deleted", f"{line}/shop-more deleted"], "what is live"
    assert place.cluster.writes() == []
    assert await place.values() == {"shop": "1", "shop-more": "same", "blog": "1", "blog-more": "same"}
    assert await place.events("shop") == []
    seen = await place.get("Kustomization", "shop")
    assert seen is not None
    assert seen["metadata"]["finalizers"] == ["finalizers.fluxcd.io"]


async def test_shadow_tells_of_what_would_not_be_ready_and_of_inventories(hamlet: Town) -> None:
    hamlet.repository.commit(app("shop") | app("blog") | {"bad/kustomization.yaml": "resources: [none.yaml]\n"})
    await hamlet.start()
    await settled(hamlet, "shop", "blog")
    await hamlet.stop()
    await hamlet.patch("Kustomization", "shop", {"status": {"inventory": {"entries": []}}}, sub="/status")
    await hamlet.apply(hamlet.kustomization("bad"))
    hamlet.settings["shadow"] = True
    await hamlet.start(state="beside")
    line = f"ConfigMap/{hamlet.namespace}"
    taken = [f"{line}/shop taken into the inventory", f"{line}/shop-more taken into the inventory"]
    assert await report(hamlet, "shop", hamlet.revision) == taken
    assert await report(hamlet, "bad", hamlet.revision) == []
    problem = hamlet.house.reports.shadow_reports[key(hamlet, "bad")]["problem"]
    assert problem.startswith("BuildFailed: kustomize build failed: ")
    empty = hamlet.push({"blog/settings.yaml": None, "blog/more.yaml": None, "blog/README": "x"})
    assert await report(hamlet, "blog", empty) == [
        f"prune blocked at {empty}: 2 of 2 objects (100%) would be deleted, because the build is empty"
    ]
    assert hamlet.cluster.writes() == []


async def test_kinds_that_are_not_run_are_left_alone(hamlet: Town) -> None:
    hamlet.repository.commit(app("shop"))
    hamlet.settings["kinds"] = frozenset({"GitRepository", "Receiver", "Alert", "Provider"})
    house = await hamlet.start()
    house.gates["kustomize-controller-leader-election"].shut()
    await hamlet.apply(hamlet.source(), hamlet.kustomization("shop"))
    await hamlet.wait("GitRepository", "fleet", lambda seen: ready(seen).get("status") == "True")
    await hamlet.wait("GitRepository", "fleet", lambda seen: seen["status"]["artifact"]["revision"] == hamlet.revision)
    hamlet.push({"shop/settings.yaml": config_map("shop", "2")})
    await hamlet.wait("GitRepository", "fleet", lambda seen: seen["status"]["artifact"]["revision"] == hamlet.revision)
    assert hamlet.cluster.writes("/kustomizations/") == []
    assert len(house.kustomizations.queue) == 0


async def test_another_shard_is_left_alone(hamlet: Town) -> None:
    hamlet.repository.commit(app("shop") | app("blog"))
    await hamlet.start()
    other = hamlet.kustomization("blog")
    other["metadata"]["labels"][SHARD] = "another"
    await hamlet.apply(other)
    await settled(hamlet, "shop")
    assert (await hamlet.get("Kustomization", "blog") or {}).get("status", {}).get("conditions") is None
    assert "blog" not in await hamlet.values()
    await hamlet.patch("Kustomization", "blog", {"metadata": {"labels": {SHARD: hamlet.namespace}}})
    await hamlet.at(hamlet.revision, "blog")
    await hamlet.patch("Kustomization", "blog", {"metadata": {"labels": {SHARD: "another"}}})  # handed to another: kept as it is
    await hamlet.at(hamlet.push({"shop/settings.yaml": config_map("shop", "2"), "blog/settings.yaml": config_map("blog", "2")}), "shop")
    await hamlet.quiet()
    assert await hamlet.value("blog") == "1"
