"""What cannot be carried out: the right reason, words that tell what to do, the rest left alone, and the next push mends it."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.cluster.objects import Cord
from tests.kustomizations.test_flow import app, settled
from tests.kustomizations.town import Object, Town, config_map, inventory, ready


def role(name: str) -> str:
    return json.dumps({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": []})


def condition(seen: Object, kind: str) -> str:
    return next((each["status"] for each in seen["status"]["conditions"] if each["type"] == kind), "")


async def test_yaml_that_does_not_parse_names_its_file_and_stops_nobody_else(hamlet: Town) -> None:
    hamlet.repository.commit(app("shop") | app("blog"))
    await hamlet.start()
    await settled(hamlet, "shop", "blog")
    broken = hamlet.push({"shop/settings.yaml": "a: [1\nb: }", "blog/settings.yaml": config_map("blog", "2")})
    await hamlet.at(broken, "blog")
    seen = await hamlet.not_ready("shop", "BuildFailed")
    assert "settings.yaml" in ready(seen)["message"]
    assert seen["status"]["lastAttemptedRevision"] == broken
    assert condition(seen, "Reconciling") == "True"
    assert (await hamlet.value("shop"), await hamlet.value("blog")) == ("1", "2")
    mended = hamlet.push({"shop/settings.yaml": config_map("shop", "3")})
    await hamlet.at(mended, "shop", "blog")
    assert await hamlet.value("shop") == "3"
    assert [event["severity"] for event in await hamlet.events("shop")] == ["info", "error", "info"]


async def test_a_path_that_is_not_there_is_told_and_found_when_it_comes(hamlet: Town) -> None:
    hamlet.repository.commit(app("shop"))
    await hamlet.start()
    await hamlet.apply(hamlet.source(), hamlet.kustomization("late"))
    seen = await hamlet.not_ready("late", "ArtifactFailed")
    assert ready(seen)["message"] == "kustomization path not found: stat late: no such file or directory"
    await hamlet.at(hamlet.push(app("late")), "late")


async def test_an_object_that_is_refused_is_named_and_the_rest_kept(place: Town) -> None:
    place.repository.commit(app("shop"))
    await place.start()
    await settled(place, "shop")
    place.push({"shop/bad.yaml": config_map("Not_A_Name", "1"), "shop/settings.yaml": config_map("shop", "2")})
    seen = await place.not_ready("shop", "ReconciliationFailed")
    assert f"ConfigMap/{place.namespace}/Not_A_Name" in ready(seen)["message"]
    assert await place.value("shop") == "1", "its stage is left as it was"
    assert inventory(seen) == {f"{place.namespace}_{name}__ConfigMap" for name in ("shop", "shop-more")}
    await place.at(place.push({"shop/bad.yaml": None}), "shop")
    assert await place.value("shop") == "2"


async def test_what_a_failed_apply_has_made_stays_ours(place: Town) -> None:
    name = f"{place.namespace}-reader"
    place.repository.commit({"shop/role.yaml": role(name), "shop/bad.yaml": config_map("Not_A_Name", "1")})
    await place.start()
    await place.apply(place.source(), place.kustomization("shop"))
    seen = await place.not_ready("shop", "ReconciliationFailed")
    assert inventory(seen) == {f"_{name}_rbac.authorization.k8s.io_ClusterRole"}
    await place.at(place.push({"shop/role.yaml": None, "shop/bad.yaml": config_map("good", "1")}), "shop")
    path = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}"
    with pytest.raises(Exception, match="not found"):
        await place.api.request("GET", path)


async def test_a_field_that_is_not_carried_out_is_named_and_nothing_is_touched(hamlet: Town) -> None:
    hamlet.repository.commit(app("shop"))
    await hamlet.start()
    await settled(hamlet, "shop")
    await hamlet.apply(hamlet.kustomization("shop", kubeConfig={"secretRef": {"name": "elsewhere"}}))
    hamlet.push({"shop/settings.yaml": config_map("shop", "2"), "shop/more.yaml": None})
    seen = await hamlet.not_ready("shop", "ValidationFailed")
    assert condition(seen, "Stalled") == "True"
    assert "spec.kubeConfig" in ready(seen)["message"]
    await hamlet.quiet()
    assert (await hamlet.value("shop"), await hamlet.value("shop-more")) == ("1", "same")
    await hamlet.apply(hamlet.kustomization("shop"))
    await hamlet.patch("Kustomization", "shop", {"spec": {"kubeConfig": None}})
    await hamlet.at(hamlet.revision, "shop")
    assert await hamlet.values() == {"shop": "2"}


async def test_an_absent_source_is_waited_for_without_an_alarm(hamlet: Town) -> None:
    hamlet.repository.commit(app("shop"))
    await hamlet.start()
    await hamlet.apply(hamlet.kustomization("shop"))
    seen = await hamlet.not_ready("shop", "ArtifactFailed")
    assert "not found" in ready(seen)["message"]
    await hamlet.apply(hamlet.source())
    await hamlet.at(hamlet.revision, "shop")
    assert [event["severity"] for event in await hamlet.events("shop")] == ["info"]


async def test_a_source_that_fails_leaves_what_is_live_alone(hamlet: Town) -> None:
    hamlet.repository.commit(app("shop"))
    await hamlet.start()
    await settled(hamlet, "shop")
    first = hamlet.revision
    (hamlet.folder / "git" / "fleet.git").rename(hamlet.folder / "git" / "away.git")
    hamlet.tell()
    await hamlet.wait("GitRepository", "fleet", lambda seen: ready(seen).get("status") == "False")
    await hamlet.ask("shop", "while-it-fails")
    seen = await hamlet.wait("Kustomization", "shop", lambda seen: seen["status"].get("lastHandledReconcileAt") == "while-it-fails")
    assert (ready(seen)["status"], seen["status"]["lastAppliedRevision"]) == ("True", first)


async def test_the_api_server_goes_away_and_comes_back(hamlet: Town, tmp_path: Path) -> None:
    hamlet.repository.commit(app("shop") | app("blog"))
    cord = Cord(hamlet.kubeconfig, tmp_path)
    await hamlet.start(through=await cord.mend())
    await settled(hamlet, "shop", "blog")
    await cord.cut()
    revision = hamlet.push({"shop/settings.yaml": config_map("shop", "2"), "shop/extra.yaml": config_map("extra", "1")})
    await asyncio.sleep(0.5)
    assert hamlet.alive
    await cord.mend()
    await hamlet.at(revision, "shop", "blog")
    assert (await hamlet.value("shop"), await hamlet.value("extra")) == ("2", "1")
    assert len(await hamlet.events("shop")) == 2
    await cord.cut()
