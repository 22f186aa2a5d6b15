"""Fields that a Kustomization leaves to others, from a push to the object: on both backends."""

import pytest

from service.cluster.client import APPLY_PATCH
from tests.kustomizations.town import PATHS, Town, config_map, ready

RULE = {"paths": ["/data/value", "/metadata/annotations/example.org~1note"], "target": {"kind": "ConfigMap", "name": "sh.p"}}


async def change(place: Town, value: str, *, manager: str, apply: bool = False) -> None:
    """Somebody else sets the value."""
    path, body = PATHS["ConfigMap"].format(place.namespace, "shop"), {"data": {"value": value}}
    if apply:
        whole = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop", "namespace": place.namespace}, **body}
        await place.api.request("PATCH", path, query={"fieldManager": manager, "force": "true"}, body=whole, content_type=APPLY_PATCH)
    else:
        await place.patch("ConfigMap", "shop", body)


async def owns(place: Town, manager: str) -> bool:
    """Whether this manager applies the value."""
    seen = await place.get("ConfigMap", "shop")
    assert seen is not None
    entries = [each for each in seen["metadata"]["managedFields"] if (each["manager"], each["operation"]) == (manager, "Apply")]
    return any("f:value" in each["fieldsV1"].get("f:data", {}) for each in entries)


@pytest.mark.parametrize("apply", [False, True])
async def test_an_ignored_field_is_left_alone_by_the_interval_and_by_pushes(place: Town, apply: bool) -> None:
    place.repository.commit({"shop/a.yaml": config_map("shop", "git"), "shop/b.yaml": config_map("else", "git")})
    await place.start()
    await place.apply(place.source(), place.kustomization("shop", ignore=[RULE]))
    await place.at(place.revision, "shop")
    await change(place, "theirs", manager="vpa", apply=apply)
    await place.patch("ConfigMap", "else", {"data": {"value": "theirs"}})
    writes = len(place.cluster.writes("/configmaps/shop"))
    await place.ask("shop", "look")
    await place.wait("ConfigMap", "else", lambda seen: seen["data"]["value"] == "git")
    await place.quiet()
    assert (await place.value("shop"), len(place.cluster.writes("/configmaps/shop"))) == ("theirs", writes)

    note = {"annotations": {"example.org/note": "git"}, "labels": {"new": "yes"}}
    await place.at(place.push({"shop/a.yaml": config_map("shop", "newer", **note)}), "shop")
    seen = await place.get("ConfigMap", "shop")
    assert seen is not None
    assert (seen["data"]["value"], seen["metadata"]["labels"]["new"]) == ("theirs", "yes")
    assert "example.org/note" not in seen["metadata"].get("annotations", {}), "it is not there, and that is left alone too"
    assert await owns(place, "kustomize-controller") == (not apply), "given up to who applies it, kept where nobody does"


async def test_a_field_that_git_drops_stays_while_it_is_ignored(place: Town) -> None:
    place.repository.commit({"shop/a.yaml": config_map("shop", "git")})
    await place.start()
    await place.apply(place.source(), place.kustomization("shop", ignore=[RULE]))
    await place.at(place.revision, "shop")
    bare = config_map("shop", "git", labels={"new": "yes"}).replace('"value"', '"other"')
    await place.at(place.push({"shop/a.yaml": bare}), "shop")
    seen = await place.get("ConfigMap", "shop")
    assert seen is not None
    assert seen["data"] == {"value": "git", "other": "git"}

    await place.apply(place.kustomization("shop", ignore=[]))
    await place.wait("ConfigMap", "shop", lambda seen: seen["data"] == {"other": "git"})


async def test_drift_of_an_ignored_field_is_none_for_the_watch_either(hamlet: Town) -> None:
    hamlet.settings["drift"] = "watch"
    hamlet.repository.commit({"shop/a.yaml": config_map("shop", "git", labels={"mine": "yes"})})
    await hamlet.start()
    await hamlet.apply(hamlet.source(), hamlet.kustomization("shop", ignore=[RULE]))
    await hamlet.at(hamlet.revision, "shop")
    await change(hamlet, "theirs", manager="vpa")
    await hamlet.patch("ConfigMap", "shop", {"metadata": {"labels": {"mine": "no"}}})
    await hamlet.wait("ConfigMap", "shop", lambda seen: seen["metadata"]["labels"]["mine"] == "yes")
    await hamlet.quiet()
    assert await hamlet.value("shop") == "theirs"
    told = "\n".join(each["message"] for each in await hamlet.events("shop"))
    assert "metadata.labels.mine" in told
    assert "data.value" not in told


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"paths": ["spec.replicas"]}, "spec.ignore[0]: 'spec.replicas' is no JSON pointer to a field"),
        ({"paths": ["/data"], "target": {"name": "("}}, "spec.ignore[0]: invalid name regex"),
    ],
)
async def test_a_rule_that_cannot_be_used_is_said_before_anything_is_written(hamlet: Town, rule: dict[str, object], words: str) -> None:
    hamlet.repository.commit({"shop/a.yaml": config_map("shop", "git")})
    await hamlet.start()
    await hamlet.apply(hamlet.source(), hamlet.kustomization("shop", ignore=[rule]))
    seen = await hamlet.not_ready("shop", "ReconciliationFailed")
    assert ready(seen)["message"].startswith(words)
    assert await hamlet.value("shop") is None
