"""What of a spec shapes a build, in every version's form, against kustomize's own command on the same lists."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.kinds.codec import decode
from service.kinds.kustomize import Kustomization
from service.kustomizations.options import build_options
from service.kustomize.build import BuildError, build
from service.kustomize.tree import MapTree
from tests.conftest import Peers
from tests.peers.binaries import binary

MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
WEB = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {"template": {"spec": {"containers": [{"name": "web", "image": "nginx:1"}, {"name": "side", "image": "side:1"}]}}},
}


def merge(**data: Any) -> dict[str, Any]:
    return MAP | {"data": data}


def operations(*each: dict[str, Any]) -> dict[str, Any]:
    return {"target": {"kind": "ConfigMap", "name": "a"}, "patch": list(each)}


FILE: dict[str, Any] = {
    "resources": ["a.yaml", "web.yaml"],
    "patchesStrategicMerge": [json.dumps(merge(one="file merge", two="file merge", three="file merge", four="file merge"))],
    "patches": [{"patch": json.dumps(merge(two="file patch", three="file patch"))}],
    "images": [{"name": "nginx", "newName": "mirror/nginx", "newTag": "1"}],
}
SPEC: dict[str, Any] = {
    "targetNamespace": "shop",
    "namePrefix": "my-",
    "patchesStrategicMerge": [merge(one="spec merge", two="spec merge", three="spec merge", five="5"), merge(four=None)],
    "patches": [{"patch": json.dumps(merge(three="spec patch"))}],
    "patchesJson6902": [
        operations({"op": "add", "path": "/data/six", "value": "6"}, {"op": "copy", "from": "/data/six", "path": "/data/seven"}),
        operations({"op": "test", "path": "/metadata/namespace", "value": "shop"}, {"op": "remove", "path": "/data/five"}),
    ],
    "images": [{"name": "nginx", "newTag": "2"}, {"name": "side", "digest": "sha256:" + "1" * 64}],
    "validation": "client",
}


def built(version: str, spec: dict[str, Any]) -> list[dict[str, Any]]:
    whole = {"interval": "1m", "prune": True, "sourceRef": {"kind": "GitRepository", "name": "a"}, **spec}
    object_ = {"apiVersion": f"kustomize.toolkit.fluxcd.io/{version}", "kind": "Kustomization", "metadata": {"name": "a", "namespace": "b"}}
    found = decode(Kustomization, object_ | {"spec": whole})
    files = {"kustomization.yaml": FILE, "a.yaml": merge(zero="0"), "web.yaml": WEB}
    tree = MapTree({name: json.dumps(body).encode() for name, body in files.items()})
    return list(build(tree, "", options=build_options(found.spec)).objects)


@pytest.mark.parametrize("version", ["v1beta1", "v1beta2", "v1"])
def test_old_patches_keep_their_places_in_the_order_of_kustomize(version: str) -> None:
    config, web = built(version, SPEC)
    assert config["metadata"] == {"name": "my-a", "namespace": "shop"}
    assert config["data"] == {"zero": "0", "one": "spec merge", "two": "file patch", "three": "spec patch", "six": "6", "seven": "6"}
    images = [each["image"] for each in web["spec"]["template"]["spec"]["containers"]]
    assert images == ["mirror/nginx:2", "side@sha256:" + "1" * 64]


@pytest.mark.real
def test_kustomize_itself_makes_the_same_of_the_same_lists(peers: Peers, tmp_path: Path) -> None:
    peers.need("kustomize")
    texts = {"patchesStrategicMerge": [json.dumps(each) for each in SPEC["patchesStrategicMerge"]], "patches": SPEC["patches"]}
    texts["patchesJson6902"] = [each | {"patch": json.dumps(each["patch"])} for each in SPEC["patchesJson6902"]]
    fields = FILE | {name: [*FILE.get(name, ()), *each] for name, each in texts.items()}
    images = [{"name": "nginx", "newName": "mirror/nginx", "newTag": "2"}, SPEC["images"][1]]
    fields |= {"images": images, "namespace": "shop", "namePrefix": "my-"}
    for name, body in (("kustomization.yaml", fields), ("a.yaml", merge(zero="0")), ("web.yaml", WEB)):
        (tmp_path / name).write_text(json.dumps(body))
    made = subprocess.run([binary("kustomize"), "build", str(tmp_path)], capture_output=True, text=True, check=True)
    assert list(yaml.safe_load_all(made.stdout)) == built("v1beta2", SPEC)


def test_old_json_patches_need_a_name_as_kustomize_says() -> None:
    with pytest.raises(BuildError, match="must specify the target name"):
        built("v1beta2", {"patchesJson6902": [{"target": {"kind": "ConfigMap"}, "patch": [{"op": "remove", "path": "/data"}]}]})


def test_old_versions_checks_and_status_are_read() -> None:
    spec = {"interval": "1m", "prune": True, "sourceRef": {"kind": "GitRepository", "name": "a"}}
    checks = [{"kind": "Deployment", "name": "web", "namespace": "shop"}, {"apiVersion": "v1", "kind": "Service", "name": "web"}]
    snapshot = {"checksum": "abc", "entries": [{"namespace": "shop", "kinds": {"v1": "ConfigMap"}}]}
    object_ = {"apiVersion": "kustomize.toolkit.fluxcd.io/v1beta1", "kind": "Kustomization", "metadata": {"name": "a", "namespace": "b"}}
    found = decode(Kustomization, object_ | {"spec": spec | {"healthChecks": checks}, "status": {"snapshot": snapshot}})
    assert [each.api_version for each in found.spec.health_checks] == ["apps/v1", "v1"]
    assert found.status.inventory is None, "what a snapshot names is by label, so that nothing is pruned by it"
