"""What a prune may not do unasked: an empty build, more than a share. Blocked is told, kept, and allowed for one revision."""

import asyncio
import json
from typing import Any

import pytest

from service.cli import main
from service.kinds.meta import PRUNE_ALLOWED, PRUNE_LIMIT
from tests.kustomizations.test_flow import app, settled
from tests.kustomizations.town import Town, config_map, inventory, ready

NAMES = [f"item-{number}" for number in range(6)]


def shop(*names: str) -> dict[str, str]:
    return {f"shop/{name}.yaml": config_map(name, "1") for name in names}


async def allow(town: Town, name: str, revision: str) -> None:
    await town.patch("Kustomization", name, {"metadata": {"annotations": {PRUNE_ALLOWED: revision}}})


async def limit(town: Town, name: str, share: str) -> None:
    await town.patch("Kustomization", name, {"metadata": {"annotations": {PRUNE_LIMIT: share}}})


async def test_an_empty_build_deletes_nothing_until_its_revision_is_allowed(place: Town) -> None:
    place.repository.commit(app("shop") | {"README": "x"})
    await place.start()
    await settled(place, "shop")
    empty = place.push({"shop/settings.yaml": None, "shop/more.yaml": None, "shop/README": "nothing to build"})
    seen = await place.not_ready("shop", "PruneBlocked")
    assert await place.values() == {"shop": "1", "shop-more": "same"}
    assert inventory(seen) == {f"{place.namespace}_shop__ConfigMap", f"{place.namespace}_shop-more__ConfigMap"}
    told = ready(seen)["message"].splitlines()
    assert told[0] == (
        f"prune blocked at {empty}: 2 of 2 objects (100%) would be deleted, because the build is empty; "
        f"to allow it: sluice prune allow Kustomization/shop -n {place.namespace} --revision {empty}"
    )
    assert sorted(told[1:]) == [f"ConfigMap/{place.namespace}/shop", f"ConfigMap/{place.namespace}/shop-more"]
    assert seen["status"]["lastAttemptedRevision"] == empty != seen["status"]["lastAppliedRevision"]
    assert seen["status"]["observedGeneration"] == seen["metadata"]["generation"]
    await place.quiet()
    (event,) = await place.events("shop", severity="error")
    assert (event["reason"], event["message"].splitlines()[1:]) == ("PruneBlocked", told[1:])

    await place.kill()  # a restart judges by the inventory alone
    await place.start()
    await place.ask("shop", "again")
    await place.wait("Kustomization", "shop", lambda now: now["status"].get("lastHandledReconcileAt") == "again")
    assert len(await place.values()) == 2
    await allow(place, "shop", "main@sha1:" + "0" * 40)  # another revision
    await place.wait("Kustomization", "shop", lambda now: "is another revision" in ready(now).get("message", ""))
    assert len(await place.values()) == 2

    words = ["prune", "allow", "ks/shop", "--revision", empty, "-n", place.namespace, "--kubeconfig", str(place.kubeconfig)]
    assert await asyncio.to_thread(main, words) == 0
    (done,) = await place.at(empty, "shop")
    assert await place.values() == {}
    assert inventory(done) == set()
    await place.wait("Kustomization", "shop", lambda now: PRUNE_ALLOWED not in now["metadata"]["annotations"])


async def test_more_than_the_share_is_blocked_and_the_rest_is_applied(hamlet: Town) -> None:
    hamlet.settings["prune_limit"] = 50.0
    hamlet.repository.commit(shop(*NAMES))
    await hamlet.start()
    await settled(hamlet, "shop")
    some = hamlet.push({f"shop/{name}.yaml": None for name in NAMES[:3]})  # half is not more than half
    await hamlet.at(some, "shop")
    assert set(await hamlet.values()) == set(NAMES[3:])
    hamlet.push({"shop/item-3.yaml": None, "shop/item-4.yaml": None, "shop/item-5.yaml": config_map("item-5", "2"), **shop("new")})
    seen = await hamlet.not_ready("shop", "PruneBlocked")
    assert "2 of 3 objects (67%) would be deleted, more than the limit of 50%" in ready(seen)["message"]
    assert await hamlet.values() == {"item-3": "1", "item-4": "1", "item-5": "2", "new": "1"}
    assert inventory(seen) == {f"{hamlet.namespace}_{name}__ConfigMap" for name in ("item-3", "item-4", "item-5", "new")}
    later = hamlet.push({"shop/item-5.yaml": config_map("item-5", "3")})  # goes on being applied, and is another revision to ask for
    await hamlet.wait("Kustomization", "shop", lambda now: f"blocked at {later}" in ready(now)["message"])
    assert await hamlet.value("item-5") == "3"
    back = hamlet.push(shop("item-3", "item-4"))
    await hamlet.at(back, "shop")
    assert len(await hamlet.values()) == 4


async def test_the_annotation_wins_over_the_flag_and_a_bad_one_blocks(hamlet: Town) -> None:
    hamlet.settings["prune_limit"] = 10.0
    hamlet.repository.commit(shop(*NAMES))
    await hamlet.start()
    await settled(hamlet, "shop")
    await limit(hamlet, "shop", "some")
    await hamlet.quiet()
    hamlet.push({"shop/item-0.yaml": None})
    seen = await hamlet.not_ready("shop", "PruneBlocked")
    assert "'some' is no share" in ready(seen)["message"]
    await limit(hamlet, "shop", "20%")
    await hamlet.at(hamlet.revision, "shop")
    assert await hamlet.value("item-0") is None


async def test_the_deletion_of_a_kustomization_follows_flux(hamlet: Town) -> None:
    hamlet.settings["prune_limit"] = 0.0
    hamlet.repository.commit(shop(*NAMES))
    await hamlet.start()
    await settled(hamlet, "shop")
    hamlet.push({f"shop/{name}.yaml": None for name in NAMES} | {"shop/README": "x"})
    await hamlet.not_ready("shop", "PruneBlocked")
    await hamlet.delete("Kustomization", "shop")
    await hamlet.wait_gone("Kustomization", "shop")
    assert await hamlet.values() == {}


async def test_a_new_hash_is_no_removal_and_what_is_opted_out_does_not_count(hamlet: Town) -> None:
    generator = "configMapGenerator: [{{name: made, literals: [value={}]}}]\nresources: [kept.yaml]\n"
    kept = config_map("kept", "1", annotations={"kustomize.toolkit.fluxcd.io/prune": "disabled"})
    hamlet.settings["prune_limit"] = 0.0
    hamlet.repository.commit({"shop/kustomization.yaml": generator.format(1), "shop/kept.yaml": kept})
    await hamlet.start()
    await settled(hamlet, "shop")
    await hamlet.at(hamlet.push({"shop/kustomization.yaml": generator.format(2)}), "shop")
    assert sorted((await hamlet.values()).values()) == ["1", "2"], "the old one went"
    await hamlet.at(hamlet.push({"shop/kustomization.yaml": generator.format(2).partition("resources")[0]}), "shop")
    assert await hamlet.value("kept") == "1"


@pytest.mark.parametrize("written", [False, True])
async def test_what_a_kill_leaves_is_still_guarded(hamlet: Town, written: bool) -> None:
    """The inventory and the journal name it, whatever the run had come to."""
    hamlet.repository.commit(shop(*NAMES[:2]))
    await hamlet.start()
    await settled(hamlet, "shop")
    hamlet.push({"shop/item-0.yaml": config_map("item-0", "2")})
    if written:
        await hamlet.wait("ConfigMap", "item-0", lambda seen: seen["data"]["value"] == "2")
    await hamlet.kill()
    hamlet.repository.commit({"shop/item-0.yaml": None, "shop/item-1.yaml": None, "shop/README": "x"})
    await hamlet.start()
    seen: dict[str, Any] = await hamlet.not_ready("shop", "PruneBlocked")
    assert set(await hamlet.values()) == set(NAMES[:2])
    assert inventory(seen) == {f"{hamlet.namespace}_{name}__ConfigMap" for name in NAMES[:2]}


async def test_a_child_counts_with_what_it_takes_along(place: Town) -> None:
    place.settings["prune_limit"] = 40.0
    child = place.kustomization("child", "./child")
    text = json.dumps(child)
    place.repository.commit(shop("a", "b", "c") | {"shop/child.yaml": text} | {f"child/{n}.yaml": config_map(n, "1") for n in NAMES})
    await place.start()
    await settled(place, "shop")
    await place.at(place.revision, "child")
    place.push({"shop/child.yaml": None})  # one of four
    seen = await place.not_ready("shop", "PruneBlocked")
    assert "7 of 10 objects (70%)" in ready(seen)["message"]
    assert f"Kustomization/{place.namespace}/child and 6 objects with it" in ready(seen)["message"]
    assert set(NAMES) <= set(await place.values())
    place.push({"shop/a.yaml": None, "shop/child.yaml": text})  # a quarter of what is its own, a tenth of all
    await place.at(place.revision, "shop")
