"""ArtifactGenerator, by the service as a process: a push that touches one app of a repository concerns that app alone, to the end."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.world import World, is_ready, world

GENERATOR = "source.extensions.fluxcd.io/v1beta1"
APPS = [{"name": "{app}", "originRevision": "@repo", "copy": [{"from": "@repo/small/{app}/**", "to": "@artifact/"}]}]


def app(greeting: str) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: words}}\ndata: {{greeting: {greeting}}}\n"


@pytest.fixture
def town(kubeconfig: Path, tmp_path: Path, namespace_name: str) -> Iterator[World]:
    with world(tmp_path, kubeconfig, namespace_name) as made:
        made.fleet.push({f"small/{name}/words.yaml": app("hello") for name in ("one", "two", "three")}, subject="Add three")
        made.sluice.start()
        yield made


def generator(town: World, **more: Any) -> dict[str, Any]:
    sources = [{"alias": "repo", "kind": "GitRepository", "name": "fleet"}]
    return town.made(
        GENERATOR, "ArtifactGenerator", "apps", {"sources": sources, "artifacts": APPS, "pathPattern": "@repo/small/{app}", **more}
    )


def install(town: World) -> None:
    objects = [each for each in town.objects() if each["kind"] != "Kustomization"]
    for name in ("one", "two", "three"):
        made = town.kustomization(f"app-{name}", "./", targetNamespace=f"{town.namespace}-staging", namePrefix=f"{name}-")
        made["spec"]["sourceRef"] = {"kind": "ExternalArtifact", "name": name}
        objects.append(made)
    town.kube.apply(*objects, generator(town))
    for name in ("one", "two", "three"):
        town.wait("Kustomization", f"app-{name}", is_ready, seconds=30)


def words(town: World, name: str) -> str:
    seen = town.kube.get("ConfigMap", f"{town.namespace}-staging", f"{name}-words")
    return seen["data"]["greeting"] if seen else ""


def artifact(town: World, name: str) -> dict[str, Any]:
    seen = town.kube.get("ExternalArtifact", town.namespace, name)
    return seen["status"]["artifact"] if seen else {}


def test_a_push_concerns_the_app_that_it_touches(town: World) -> None:
    install(town)
    before = {
        name: (artifact(town, name), town.kube.get("Kustomization", town.namespace, f"app-{name}")) for name in ("one", "two", "three")
    }
    assert {words(town, name) for name in before} == {"hello"}
    commit = town.fleet.push({"small/two/words.yaml": app("changed")}, subject="Change two")
    began = time.monotonic()
    assert town.hook(commit).status == 200
    while words(town, "two") != "changed":
        assert time.monotonic() - began < 10, town.sluice.running.tail()
        time.sleep(0.01)
    town.wait("ExternalArtifact", "two", lambda seen: seen["status"]["artifact"]["revision"] != before["two"][0]["revision"])
    assert artifact(town, "two")["metadata"] == {"org.opencontainers.image.revision": f"main@sha1:{commit}"}
    town.wait("ArtifactGenerator", "apps", is_ready)
    time.sleep(0.5)
    for name in ("one", "three"):
        assert artifact(town, name) == before[name][0]
        now = town.kube.get("Kustomization", town.namespace, f"app-{name}")
        assert now["metadata"]["resourceVersion"] == before[name][1]["metadata"]["resourceVersion"]
    assert town.failures() == []


def test_artifacts_come_back_and_go_with_what_asks_for_them(town: World) -> None:
    install(town)
    made = town.kube.get("ExternalArtifact", town.namespace, "one")
    assert made["spec"]["sourceRef"] == {"apiVersion": GENERATOR, "kind": "ArtifactGenerator", "name": "apps", "namespace": town.namespace}
    assert made["metadata"]["labels"]["app"] == "one"
    assert artifact(town, "one")["revision"].startswith("latest@sha256:")
    town.kube.delete("ExternalArtifact", town.namespace, "one")
    again = town.wait(
        "ExternalArtifact", "one", lambda seen: seen["metadata"]["uid"] != made["metadata"]["uid"] and "artifact" in seen.get("status", {})
    )
    assert again["status"]["artifact"]["revision"] == made["status"]["artifact"]["revision"]
    town.sluice.kill()
    town.sluice.start()
    commit = town.fleet.push({"small/one/words.yaml": None, "small/two/words.yaml": app("after")}, subject="Remove one")
    assert town.hook(commit).status == 200
    deadline = time.monotonic() + 15
    while words(town, "two") != "after" or town.kube.get("ExternalArtifact", town.namespace, "one") is not None:
        assert time.monotonic() < deadline, town.sluice.running.tail()
        time.sleep(0.05)
    seen = town.wait("ArtifactGenerator", "apps", lambda seen: is_ready(seen) and len(seen["status"]["inventory"]) == 2)
    assert {each["name"] for each in seen["status"]["inventory"]} == {"two", "three"}
    town.kube.delete("ArtifactGenerator", town.namespace, "apps")
    deadline = time.monotonic() + 15
    while town.kube.get("ExternalArtifact", town.namespace, "two") is not None or town.kube.get(
        "ArtifactGenerator", town.namespace, "apps"
    ):
        assert time.monotonic() < deadline, town.sluice.running.tail()
        time.sleep(0.05)


def test_what_is_wrong_is_said(town: World) -> None:
    other = town.made("source.toolkit.fluxcd.io/v1", "ExternalArtifact", "one", {"sourceRef": {"kind": "Other", "name": "x"}})
    town.kube.apply(town.secret("hook", token="x"), town.source("fleet"), other, generator(town))
    assert "ExternalArtifact" in town.wait_not_ready("ArtifactGenerator", "apps", "OwnershipConflict")
    town.kube.apply(generator(town, serviceAccountName="robot"))
    assert "spec.serviceAccountName" in town.wait_not_ready("ArtifactGenerator", "apps", "ValidationFailed")
    missing = [{"alias": "repo", "kind": "GitRepository", "name": "none"}]
    town.kube.patch("ArtifactGenerator", town.namespace, "apps", {"spec": {"serviceAccountName": None, "sources": missing}})
    assert "none not found" in town.wait_not_ready("ArtifactGenerator", "apps", "SourceFetchFailed")
