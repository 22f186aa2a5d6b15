"""Variables from the spec, ConfigMaps and Secrets, from a push to the objects: on both backends."""

import base64
import json
import logging
from typing import Any

import pytest

from tests.kustomizations.town import Object, Town, config_map, ready

TEMPLATE = config_map("shop", "${region:=nowhere}/${level}/${password}")


def source(town: Town, kind: str, name: str, data: dict[str, str], *, watched: bool = False) -> Object:
    labels = {"reconcile.fluxcd.io/watch": "Enabled"} if watched else {}
    if kind == "Secret":
        data = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": town.namespace, "labels": labels}, "data": data}


def using(town: Town, *names: str, **post_build: Any) -> Object:
    sources = [{"kind": name.split("/")[0], "name": name.split("/")[1]} for name in names]
    return town.kustomization("shop", postBuild={"substituteFrom": sources, **post_build})


async def test_later_sources_win_and_the_spec_wins_over_all(place: Town) -> None:
    place.repository.commit({"shop/a.yaml": TEMPLATE})
    await place.start()
    await place.apply(
        source(place, "ConfigMap", "one", {"region": "eu", "level": "1", "password": "x"}),
        source(place, "Secret", "two", {"level": "2", "password": "hush\nhush"}),
        place.source(),
        using(place, "ConfigMap/one", "Secret/two", substitute={"region": "us"}),
    )
    await place.at(place.revision, "shop")
    assert await place.value("shop") == "us/2/hushhush"


async def test_a_changed_source_runs_what_uses_it_at_once_with_a_label_or_without(place: Town) -> None:
    place.repository.commit({"shop/a.yaml": TEMPLATE, "blog/a.yaml": config_map("blog", "1")})
    await place.start()
    await place.apply(
        source(place, "ConfigMap", "one", {"region": "eu"}, watched=True), source(place, "ConfigMap", "two", {"level": "1"}), place.source()
    )
    await place.apply(using(place, "ConfigMap/one", "ConfigMap/two"), place.kustomization("blog"))
    await place.at(place.revision, "shop", "blog")
    await place.quiet()

    await place.patch("ConfigMap", "one", {"data": {"region": "asia"}})
    await place.wait("ConfigMap", "shop", lambda seen: seen["data"]["value"] == "asia/1/")
    await place.quiet()

    await place.patch("ConfigMap", "two", {"data": {"level": "2"}})
    await place.wait("ConfigMap", "shop", lambda seen: seen["data"]["value"] == "asia/2/")
    await place.quiet()

    await place.stop()
    await place.patch("ConfigMap", "two", {"data": {"level": "3"}})
    place.repository.commit({"blog/a.yaml": config_map("blog", "2")})
    await place.start()
    await place.at(place.tell(), "shop", "blog")
    assert await place.value("shop") == "asia/3/"


async def test_a_secret_that_appears_and_one_that_goes_are_seen_too(place: Town) -> None:
    place.repository.commit({"shop/a.yaml": TEMPLATE})
    await place.start()
    optional = {"substituteFrom": [{"kind": "Secret", "name": "one", "optional": True}], "substituteStrategy": "Always"}
    await place.apply(place.source(), place.kustomization("shop", postBuild=optional))
    await place.at(place.revision, "shop")
    assert await place.value("shop") == "nowhere//"
    await place.apply(source(place, "Secret", "one", {"password": "hush"}))
    await place.wait("ConfigMap", "shop", lambda seen: seen["data"]["value"] == "nowhere//hush")
    await place.delete("Secret", "one")
    await place.wait("ConfigMap", "shop", lambda seen: seen["data"]["value"] == "nowhere//")
    listed = [path for method, path in place.cluster.asked if method == "GET" and "/secrets?" in path]
    assert listed
    assert all(path.endswith("metadata&metadata.name=one") for path in listed if f"/{place.namespace}/" in path)


async def test_an_untouched_source_lets_a_push_move_without_a_build(hamlet: Town, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "service")
    hamlet.repository.commit({"shop/a.yaml": TEMPLATE, "blog/a.yaml": config_map("blog", "1")})
    await hamlet.start()
    await hamlet.apply(source(hamlet, "ConfigMap", "one", {"region": "eu"}), hamlet.source(), using(hamlet, "ConfigMap/one"))
    await hamlet.at(hamlet.revision, "shop")
    await hamlet.quiet()
    caplog.clear()
    await hamlet.at(hamlet.push({"blog/a.yaml": config_map("blog", "2")}), "shop")
    assert [record.getMessage() for record in caplog.records if record.getMessage() == "built"] == []


async def test_a_missing_source_fails_unless_it_is_optional(hamlet: Town) -> None:
    hamlet.repository.commit({"shop/a.yaml": TEMPLATE})
    await hamlet.start()
    await hamlet.apply(hamlet.source(), using(hamlet, "Secret/none"))
    seen = await hamlet.not_ready("shop", "BuildFailed")
    assert ready(seen)["message"] == "post build failed: substitute from 'Secret/none' error: secrets \"none\" not found"
    optional = {"substituteFrom": [{"kind": "Secret", "name": "none", "optional": True}], "substituteStrategy": "Always"}
    await hamlet.apply(hamlet.kustomization("shop", postBuild=optional))
    await hamlet.at(hamlet.revision, "shop")
    assert await hamlet.value("shop") == "nowhere//"


async def test_without_any_variable_nothing_is_substituted(hamlet: Town) -> None:
    hamlet.repository.commit({"shop/a.yaml": TEMPLATE})
    await hamlet.start()
    await hamlet.apply(hamlet.source(), using(hamlet))
    await hamlet.at(hamlet.revision, "shop")
    assert await hamlet.value("shop") == "${region:=nowhere}/${level}/${password}"


@pytest.mark.parametrize("where", ["labels", "annotations"])
async def test_an_object_opts_out(hamlet: Town, where: str) -> None:
    out = {"kustomize.toolkit.fluxcd.io/substitute": "disabled"}
    hamlet.repository.commit({"shop/a.yaml": TEMPLATE, "shop/b.yaml": config_map("raw", "${region}", **{where: out})})
    await hamlet.start()
    common = {"annotations": {"note": "${region}"}}  # set after the substitution
    await hamlet.apply(hamlet.source(), using(hamlet, substitute={"region": "eu"}) | {})
    await hamlet.patch("Kustomization", "shop", {"spec": {"commonMetadata": common}})
    await hamlet.wait("ConfigMap", "shop", lambda seen: "note" in (seen["metadata"].get("annotations") or {}))
    seen = await hamlet.get("ConfigMap", "shop")
    assert seen is not None
    assert seen["metadata"]["annotations"]["note"] == "${region}"
    assert (await hamlet.value("shop"), await hamlet.value("raw")) == ("eu//", "${region}")


async def test_strict_mode_names_the_variable(hamlet: Town) -> None:
    hamlet.settings = {"strict_substitutions": True}
    hamlet.repository.commit({"shop/a.yaml": TEMPLATE})
    await hamlet.start()
    await hamlet.apply(hamlet.source(), using(hamlet, substitute={"other": "x"}))
    seen = await hamlet.not_ready("shop", "BuildFailed")
    cause = 'envsubst error: variable substitution failed: variable not set (strict mode): "level"'
    assert ready(seen)["message"] == f"kustomize build failed: post build failed for 'shop': {cause}"


async def test_a_secret_that_the_server_quotes_is_masked_everywhere(place: Town, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"type": "${password}", "ports": [{"port": 80}]}}
    place.repository.commit({"shop/a.yaml": json.dumps(service)})
    await place.start()
    await place.apply(source(place, "Secret", "two", {"password": "Hush-Hush-4711"}), place.source(), using(place, "Secret/two"))
    seen = await place.wait("Kustomization", "shop", lambda seen: ready(seen).get("status") in ("True", "False"))
    await place.quiet()
    told = json.dumps(
        [seen, await place.events("shop"), [(record.getMessage(), record.__dict__) for record in caplog.records]], default=str
    )
    assert "Hush-Hush-4711" not in told
    for file in (place.folder / "state").rglob("*"):
        assert not file.is_file() or b"Hush-Hush-4711" not in file.read_bytes(), file


async def test_build_metadata_says_where_an_object_comes_from(hamlet: Town) -> None:
    hamlet.repository.commit({"shop/a.yaml": config_map("shop", "1")})
    await hamlet.start()
    await hamlet.apply(hamlet.source(), hamlet.kustomization("shop", buildMetadata=["originAnnotations"]))
    await hamlet.at(hamlet.revision, "shop")
    seen = await hamlet.get("ConfigMap", "shop")
    assert seen is not None
    assert seen["metadata"]["annotations"]["config.kubernetes.io/origin"] == "path: a.yaml\n"
