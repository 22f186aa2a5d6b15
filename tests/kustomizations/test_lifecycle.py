"""A Kustomization's life: asked for, suspended, drifted, deleted with and without its objects, made anew at once."""

import pytest

from service.cluster.client import ApiError
from tests.kustomizations.test_flow import app, settled
from tests.kustomizations.town import Town, config_map, ready


async def test_drift_is_mended_when_asked_for_and_by_the_interval(hamlet: Town) -> None:
    hamlet.repository.commit(app("shop") | app("blog"))
    await hamlet.start()
    await settled(hamlet, "shop")
    await hamlet.apply(hamlet.kustomization("blog", interval="1s"))
    await hamlet.at(hamlet.revision, "blog")
    await hamlet.patch("ConfigMap", "shop", {"data": {"value": "by hand"}})
    await hamlet.ask("shop", "now")
    await hamlet.wait("Kustomization", "shop", lambda seen: seen["status"].get("lastHandledReconcileAt") == "now")
    assert await hamlet.value("shop") == "1"
    assert (await hamlet.events("shop"))[-1]["message"].startswith(f"ConfigMap/{hamlet.namespace}/shop configured")
    await hamlet.patch("ConfigMap", "blog", {"data": {"value": "by hand"}})
    await hamlet.wait("ConfigMap", "blog", lambda seen: seen["data"]["value"] == "1", seconds=3)


async def test_suspended_means_left_alone_and_resumed_means_brought_up_to_date(hamlet: Town) -> None:
    hamlet.repository.commit(app("shop"))
    await hamlet.start()
    await settled(hamlet, "shop")
    first = hamlet.revision
    await hamlet.patch("Kustomization", "shop", {"spec": {"suspend": True}})
    await hamlet.ask("shop", "anyway")
    await hamlet.wait("Kustomization", "shop", lambda seen: seen["status"].get("lastHandledReconcileAt") == "anyway")
    second = hamlet.push({"shop/settings.yaml": config_map("shop", "2")})
    third = hamlet.push({"README": "nothing that it reads"})
    await hamlet.wait("GitRepository", "fleet", lambda seen: seen["status"]["artifact"]["revision"] == third)
    await hamlet.quiet()
    seen = await hamlet.get("Kustomization", "shop")
    assert seen is not None
    assert seen["status"]["lastAppliedRevision"] == first != second
    assert await hamlet.value("shop") == "1"
    await hamlet.patch("Kustomization", "shop", {"spec": {"suspend": False}})
    await hamlet.at(third, "shop")
    assert await hamlet.value("shop") == "2"


@pytest.mark.parametrize(
    ("spec", "left"),
    [({}, {}), ({"prune": False}, {"shop": "1", "shop-more": "same"}), ({"suspend": True}, {"shop": "1", "shop-more": "same"})],
    ids=["prune", "no-prune", "suspended"],
)
async def test_deletion_takes_the_objects_or_leaves_them(hamlet: Town, spec: dict[str, bool], left: dict[str, str]) -> None:
    hamlet.repository.commit(app("shop"))
    await hamlet.start()
    await settled(hamlet, "shop")
    if spec:
        await hamlet.patch("Kustomization", "shop", {"spec": spec})
        await hamlet.quiet()
    await hamlet.delete("Kustomization", "shop")
    await hamlet.wait_gone("Kustomization", "shop")
    assert await hamlet.values() == left
    last = (await hamlet.events("shop"))[-1]["message"]
    assert ("deleted" in last) == (not left)


async def test_one_that_is_made_anew_at_once_is_not_forgotten(hamlet: Town) -> None:
    hamlet.repository.commit(app("shop"))
    await hamlet.start()
    await settled(hamlet, "shop")
    for _ in range(5):
        await hamlet.delete("Kustomization", "shop")
        await hamlet.wait_gone("Kustomization", "shop")
        await hamlet.apply(hamlet.kustomization("shop"))
        (seen,) = await hamlet.at(hamlet.revision, "shop")
        assert seen["metadata"]["finalizers"] == ["finalizers.fluxcd.io"]
        assert await hamlet.values() == {"shop": "1", "shop-more": "same"}


async def test_one_that_cannot_be_read_says_so_and_can_be_deleted(hamlet: Town) -> None:
    hamlet.repository.commit(app("shop"))
    await hamlet.start()
    await settled(hamlet, "shop")
    await hamlet.patch("Kustomization", "shop", {"spec": {"sourceRef": {"name": "../fleet"}}})
    seen = await hamlet.not_ready("shop", "ValidationFailed")
    assert "sourceRef" in ready(seen)["message"]
    await hamlet.delete("Kustomization", "shop")
    await hamlet.wait_gone("Kustomization", "shop")
    assert await hamlet.values() == {}, "prune was said clearly"


async def test_immutable_fields_need_force(place: Town) -> None:
    fixed = config_map("fixed", "1")[:-1] + ', "immutable": true}'
    place.repository.commit({"shop/fixed.yaml": fixed})
    await place.start()
    await settled(place, "shop")
    place.push({"shop/fixed.yaml": fixed.replace('"1"', '"2"')})
    seen = await place.not_ready("shop", "ReconciliationFailed")
    assert "immutable" in ready(seen)["message"]
    await place.patch("Kustomization", "shop", {"spec": {"force": True}})
    await place.at(place.revision, "shop")
    assert await place.value("fixed") == "2"


async def test_prune_off_leaves_what_is_taken_out_of_git(hamlet: Town) -> None:
    hamlet.repository.commit(app("shop"))
    await hamlet.start()
    await hamlet.apply(hamlet.source(), hamlet.kustomization("shop", prune=False))
    await hamlet.at(hamlet.revision, "shop")
    await hamlet.at(hamlet.push({"shop/more.yaml": None}), "shop")
    assert await hamlet.value("shop-more") == "same"


async def test_an_object_of_another_owner_is_not_pruned(hamlet: Town) -> None:
    hamlet.repository.commit(app("shop") | {"blog/x.yaml": config_map("x", "1")})
    await hamlet.start()
    await settled(hamlet, "shop", "blog")
    moved = hamlet.push({"shop/more.yaml": None, "blog/more.yaml": config_map("shop-more", "same")})  # from one to the other
    await hamlet.at(moved, "shop", "blog")
    await hamlet.ask("blog", "again")
    await hamlet.wait("Kustomization", "blog", lambda seen: seen["status"].get("lastHandledReconcileAt") == "again")
    assert await hamlet.value("shop-more") == "same"


async def test_the_namespace_must_be_there(hamlet: Town) -> None:
    hamlet.repository.commit(app("shop"))
    await hamlet.start()
    await hamlet.apply(hamlet.source(), hamlet.kustomization("shop", targetNamespace=f"{hamlet.namespace}-none"))
    seen = await hamlet.not_ready("shop", "ReconciliationFailed")
    assert f'namespaces "{hamlet.namespace}-none" not found' in ready(seen)["message"]
    with pytest.raises(ApiError):
        await hamlet.api.request("GET", f"/api/v1/namespaces/{hamlet.namespace}-none")


async def test_wait_for_termination_keeps_the_finalizer_until_all_is_gone_or_the_time_is_over(place: Town) -> None:
    held = config_map("held", "1", finalizers=["example.com/held"])
    place.repository.commit({"shop/a.yaml": held})
    await place.start()
    await place.apply(place.source(), place.kustomization("shop", prune=False, deletionPolicy="WaitForTermination"))
    await place.at(place.revision, "shop")
    await place.delete("Kustomization", "shop")
    await place.wait("ConfigMap", "held", lambda seen: "deletionTimestamp" in seen["metadata"])
    await place.quiet()
    assert await place.get("Kustomization", "shop") is not None
    await place.patch("ConfigMap", "held", {"metadata": {"finalizers": None}})
    await place.wait_gone("Kustomization", "shop")
    assert await place.get("ConfigMap", "held") is None
