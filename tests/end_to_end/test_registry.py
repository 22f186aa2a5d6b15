"""A real registry tells the service of a push: the one OCIRepository that follows it is pulled, and what is built from it is live.

Needs the real registry; the cluster is the embedded one, and a real kube-apiserver with the chart's rights where there is one.
"""

import gzip
import hashlib
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.end_to_end.kubernetes import is_ready
from tests.end_to_end.world import TOKEN, World
from tests.peers.registry import MANIFEST, Registry
from tests.sources.registry import tarball
from tests.sources.sigstore import b64, new_key, signed

pytestmark = pytest.mark.real


def layer(greeting: str) -> bytes:
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: shop\ndata:\n  greeting: {greeting}\n"
    return tarball({"shop/config.yaml": text.encode()})


def oci(town: World, name: str, url: str, tag: str) -> dict[str, Any]:
    spec = {"url": url, "interval": "10m", "ref": {"tag": tag}, "insecure": True}
    made = town.made("source.toolkit.fluxcd.io/v1", "OCIRepository", name, spec)
    made["metadata"]["labels"]["team"] = "shop"
    return made


def kustomization(town: World, source: str) -> dict[str, Any]:
    made = town.kustomization("shop", "./shop", targetNamespace=f"{town.namespace}-production")
    made["spec"]["sourceRef"] = {"kind": "OCIRepository", "name": source}
    return made


@pytest.mark.parametrize("annotated", [False, True], ids=["spec.type", "annotation"])
def test_a_push_to_a_registry_is_live(town: World, peers: Any, tmp_path: Path, annotated: bool) -> None:
    peers.need("registry")
    town.sluice.arguments += ("--allow-loopback",)
    town.sluice.start()
    star = {"kind": "OCIRepository", "name": "*", "matchLabels": {"team": "shop"}}
    receiver = town.receiver("registry", star, type="generic-hmac" if annotated else "distribution", events=[])
    if annotated:
        receiver["metadata"]["annotations"] = {"notification.sluice.dev/type": "distribution"}
    town.kube.apply(*town.namespaces(), town.secret("hook", token=TOKEN), receiver)
    hook = f"http://127.0.0.1:{town.sluice.ports['listen']}{town.hook_path('registry')}"
    with Registry(tmp_path / "registry", hook=hook, token=TOKEN) as registry:
        url = f"oci://{registry.host}/team/shop"
        first = registry.push("team/shop", "1.0", layer("hello"))
        old = registry.push("team/shop", "0.9", layer("old"))
        town.kube.apply(oci(town, "follows", url, "1.0"), oci(town, "pinned", url, "0.9"), kustomization(town, "follows"))
        wait_for(town, f"1.0@{first}", "hello")
        second = registry.push("team/shop", "1.0", layer("hello again"))
        wait_for(town, f"1.0@{second}", "hello again")
        pinned = town.wait("OCIRepository", "pinned", is_ready)
        assert pinned["status"]["artifact"]["revision"] == f"0.9@{old}"
    assert town.failures() == []


def test_an_image_pushed_by_skopeo_is_live(village: World, peers: Any, tmp_path: Path) -> None:
    """A whole image, its layer and its configuration, by the client that others push with."""
    peers.need("registry")
    if shutil.which("skopeo") is None:
        peers.lack("needs skopeo: apt install skopeo")
    village.sluice.arguments += ("--allow-loopback",)
    village.sluice.start()
    named = {"kind": "OCIRepository", "name": "follows"}
    village.kube.apply(
        *village.namespaces(), village.secret("hook", token=TOKEN), village.receiver("registry", named, type="distribution", events=[])
    )
    hook = f"http://127.0.0.1:{village.sluice.ports['listen']}{village.hook_path('registry')}"
    with Registry(tmp_path / "registry", hook=hook, token=TOKEN) as registry:
        for number, greeting in enumerate(("hello", "hello again")):
            layout = image(tmp_path / f"image-{number}", layer(greeting))
            command = [
                "skopeo",
                "--insecure-policy",
                "copy",
                "-q",
                "--dest-tls-verify=false",
                f"oci:{layout}",
                f"docker://{registry.host}/team/shop:1.0",
            ]
            subprocess.run(command, check=True, timeout=60)
            if number == 0:
                village.kube.apply(oci(village, "follows", f"oci://{registry.host}/team/shop", "1.0"), kustomization(village, "follows"))
            digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
            wait_for(village, f"1.0@{digest}", greeting)
    taken = [line for line in village.sluice.log(msg="hook accepted") if line["verdict"] == "stored"]
    assert len(taken) >= 2


def test_a_push_costs_what_it_moves(village: World, peers: Any, tmp_path: Path) -> None:
    """The registry's own access log says what was asked: nothing for others' tags, no list for a tag, no pull for a claim."""
    peers.need("registry")
    village.sluice.start()
    star = {"kind": "OCIRepository", "name": "*", "matchLabels": {"team": "shop"}}
    village.kube.apply(
        *village.namespaces(), village.secret("hook", token=TOKEN), village.receiver("registry", star, type="distribution", events=[])
    )
    hook = f"http://127.0.0.1:{village.sluice.ports['listen']}{village.hook_path('registry')}"
    with Registry(tmp_path / "registry", hook=hook, token=TOKEN) as registry:
        url = f"oci://{registry.host}/team/shop"
        for tag in ("stable", "1.0.0"):
            registry.push("team/shop", tag, layer("hello"))
        ranged = oci(village, "ranged", url, "")
        ranged["spec"]["ref"] = {"semver": "1.x"}
        registry.push("team/other", "stable", layer("elsewhere"))
        village.kube.apply(
            oci(village, "follows", url, "stable"), ranged, oci(village, "other", f"oci://{registry.host}/team/other", "stable")
        )
        for name in ("follows", "ranged", "other"):
            village.wait("OCIRepository", name, is_ready)
        time.sleep(0.5)
        before = len(registry.asked())

        registry.push("team/shop", "2.0.0", layer("not followed"))
        newer = registry.push("team/shop", "1.5.0", layer("newer"))
        village.wait("OCIRepository", "ranged", lambda seen: is_ready(seen) and seen["status"]["artifact"]["revision"] == f"1.5.0@{newer}")
        assert [each for each in dict.fromkeys(registry.asked()[before:]) if "blobs" not in each] == [
            "GET tags/list?n=1000", "HEAD manifests/1.5.0", f"GET manifests/{newer}",
        ]  # fmt: skip
        before = len(registry.asked())
        moved = registry.push("team/shop", "stable", layer("hello again"))
        village.wait(
            "OCIRepository", "follows", lambda seen: is_ready(seen) and seen["status"]["artifact"]["revision"] == f"stable@{moved}"
        )
        asked = registry.asked()[before:]
        assert list(dict.fromkeys(asked))[:2] == [
            "HEAD manifests/stable",
            f"GET manifests/{moved}",
        ]  # more than one HEAD: it told too early
        assert not [each for each in asked if "tags" in each]

        claim = {"mediaType": MANIFEST, "repository": "team/shop", "tag": "stable", "digest": newer, "url": registry.url}
        event = {"id": "1", "action": "push", "target": claim, "request": {"host": registry.host}}
        request = urllib.request.Request(hook, data=json.dumps({"events": [event]}).encode(), headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200
        claimed = before + len(asked)
        village.sluice.running.until(lambda: len(registry.asked()) >= claimed + 4, seconds=20)
        assert registry.asked()[claimed:] == ["HEAD manifests/stable"] * 4  # within two seconds, in case the registry told too early
        seen = village.wait("OCIRepository", "follows", is_ready)
        assert seen["status"]["artifact"]["revision"] == f"stable@{moved}"  # a payload is a hint


def test_what_is_signed_after_its_push_is_live_then(village: World, peers: Any, tmp_path: Path) -> None:
    """The push of the signature is what runs the object again, not its back-off."""
    peers.need("registry")
    village.sluice.start()
    key = new_key()
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    named = {"kind": "OCIRepository", "name": "follows"}
    village.kube.apply(
        *village.namespaces(),
        village.secret("hook", token=TOKEN),
        village.secret("keys", **{"cosign.pub": pem}),
        village.receiver("registry", named, type="distribution", events=[]),
    )
    hook = f"http://127.0.0.1:{village.sluice.ports['listen']}{village.hook_path('registry')}"
    with Registry(tmp_path / "registry", hook=hook, token=TOKEN) as registry:
        signed_one = oci(village, "follows", f"oci://{registry.host}/team/shop", "1.0")
        signed_one["spec"]["verify"] = {"provider": "cosign", "secretRef": {"name": "keys"}}
        digest = registry.push("team/shop", "1.0", layer("hello"))
        village.kube.apply(signed_one, kustomization(village, "follows"))
        assert "no signatures found" in village.wait_not_ready("OCIRepository", "follows", "VerificationError")
        critical = {"identity": {"docker-reference": ""}, "image": {"docker-manifest-digest": digest}}
        payload = json.dumps({"critical": {**critical, "type": "cosign container image signature"}, "optional": None}).encode()
        proof = {"dev.cosignproject.cosign/signature": b64(signed(key, payload))}
        registry.push("team/shop", f"{digest.replace(':', '-')}.sig", payload, proof)
        wait_for(village, f"1.0@{digest}", "hello")
        runs = [line for line in village.sluice.log(msg="new revision") if "follows" in line["object"]]
        assert runs[0].get("trigger") != "retry"


def image(folder: Path, content: bytes) -> Path:
    """An image of one layer as a folder. https://github.com/opencontainers/image-spec/blob/main/image-layout.md"""

    def blob(data: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (folder / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{media_type}", "digest": f"sha256:{digest}", "size": len(data)}

    (folder / "blobs/sha256").mkdir(parents=True)
    unpacked = f"sha256:{hashlib.sha256(gzip.decompress(content)).hexdigest()}"
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [unpacked]}}
    packed = blob(content, "layer.v1.tar+gzip")
    described = blob(json.dumps(config).encode(), "config.v1+json")
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": described, "layers": [packed]}
    listed = [blob(json.dumps(manifest).encode(), "manifest.v1+json")]
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": listed}))
    return folder


def wait_for(town: World, revision: str, greeting: str) -> None:
    town.wait("Kustomization", "shop", lambda seen: is_ready(seen) and seen["status"]["lastAppliedRevision"] == revision)
    found = town.kube.get("ConfigMap", f"{town.namespace}-production", "shop")
    assert found is not None
    assert found["data"] == {"greeting": greeting}
