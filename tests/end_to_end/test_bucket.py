"""The objects of a real S3 server are applied, and a chart among them is packaged; a change of one object is a new revision.

Needs the real object store; the cluster is the embedded one, and a real kube-apiserver with the chart's rights where there is one.
"""

import io
import tarfile
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.kubernetes import is_ready
from tests.end_to_end.world import World
from tests.peers.s3 import KEY, REGION, S3, SECRET

pytestmark = pytest.mark.real
SOURCE = "source.toolkit.fluxcd.io/v1"
CHART = {
    "Chart.yaml": "apiVersion: v2\nname: web\nversion: 0.1.0\n",
    "values.yaml": "a: 1\n",
    "templates/x.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n",
}


def config(greeting: str) -> bytes:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: shop\ndata:\n  greeting: {greeting}\n".encode()


def bucket(town: World, s3: S3, **more: Any) -> dict[str, Any]:
    spec = {"bucketName": "apps", "endpoint": s3.host, "insecure": True, "region": REGION, "interval": "10m", "secretRef": {"name": "keys"}}
    return town.made(SOURCE, "Bucket", "objects", {**spec, **more})


def revision_of(town: World, other_than: str = "") -> str:
    seen = town.wait("Bucket", "objects", lambda seen: is_ready(seen) and seen["status"]["artifact"]["revision"] != other_than)
    found: str = seen["status"]["artifact"]["revision"]
    return found


def ask(town: World, moment: str) -> None:
    town.kube.patch("Bucket", town.namespace, "objects", {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": moment}}})


def test_objects_of_a_bucket_are_applied(town: World, peers: Any, tmp_path: Path) -> None:
    peers.need("versitygw")
    town.sluice.arguments += ("--allow-loopback",)
    town.sluice.start()
    with S3(tmp_path / "s3") as s3:
        s3.put("shop/config.yaml", config("hello"))
        s3.put("elsewhere/other.yaml", b"x: 1\n")
        shop = town.kustomization("shop", "./shop", targetNamespace=f"{town.namespace}-production")
        shop["spec"]["sourceRef"] = {"kind": "Bucket", "name": "objects"}
        town.kube.apply(*town.namespaces(), town.secret("keys", accesskey=KEY, secretkey=SECRET), bucket(town, s3), shop)
        first = revision_of(town)
        applied(town, first, "hello")
        s3.put("shop/config.yaml", config("hello again"))
        s3.asked()
        ask(town, "1")
        second = revision_of(town, first)
        applied(town, second, "hello again")
        assert [line for line in s3.asked() if line.startswith("GetObject")] == ["GetObject shop/config.yaml 200"]
        s3.delete("elsewhere/other.yaml")
        ask(town, "2")
        applied(town, revision_of(town, second), "hello again")
    ask(town, "3")  # nobody is there any more
    assert "no answer" in town.wait_not_ready("Bucket", "objects", "BucketOperationFailed", seconds=40)
    assert town.failures() == []


def test_a_chart_of_a_bucket_is_packaged(town: World, peers: Any, tmp_path: Path) -> None:
    peers.need("versitygw")
    town.sluice.arguments += ("--allow-loopback",)
    town.sluice.start()
    with S3(tmp_path / "s3") as s3:
        for path, text in CHART.items():
            s3.put(f"charts/web/{path}", text.encode())
        spec = {"chart": "./charts/web", "interval": "10m", "sourceRef": {"kind": "Bucket", "name": "objects"}}
        town.kube.apply(
            *town.namespaces(),
            town.secret("keys", accesskey=KEY, secretkey=SECRET),
            bucket(town, s3),
            town.made(SOURCE, "HelmChart", "web", spec),
        )
        assert chart(town, "0.1.0") == {f"web/{path}" for path in CHART}
        s3.put("charts/web/Chart.yaml", CHART["Chart.yaml"].replace("0.1.0", "0.2.0").encode())
        ask(town, "1")
        chart(town, "0.2.0")
    assert town.failures() == []


def applied(town: World, revision: str, greeting: str) -> None:
    town.wait("Kustomization", "shop", lambda seen: is_ready(seen) and seen["status"]["lastAppliedRevision"] == revision)
    found = town.kube.get("ConfigMap", f"{town.namespace}-production", "shop")
    assert found is not None
    assert found["data"] == {"greeting": greeting}


def chart(town: World, version: str) -> set[str]:
    """The names in the chart as others in the cluster get it, as soon as it is there in that version."""
    seen = town.wait("HelmChart", "web", lambda seen: is_ready(seen) and seen["status"]["artifact"]["revision"] == version)
    with urllib.request.urlopen(seen["status"]["artifact"]["url"], timeout=10) as answer:
        body: bytes = answer.read()
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        return {each.name for each in tar if each.isfile()}
