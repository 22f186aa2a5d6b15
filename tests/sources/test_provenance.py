"""Helm's provenance: a chart counts only with a .prov by a trusted key that is for exactly this archive, name and version."""

import hashlib
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.sources.armour import SignatureRefused
from service.sources.helmindex import Listed
from service.sources.provenance import PROVENANCE, Pulled, signer
from tests.peers.binaries import binary
from tests.sources.helmbench import HelmBench, chart, opened
from tests.sources.registry import MANIFEST, digest_of, served
from tests.sources.signers import Gnupg, gnupg, needs_gpg

pytest.importorskip("pysequoia", reason="the extra openpgp is not installed")
pytestmark = needs_gpg
LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
PROV_LAYER = "application/vnd.cncf.helm.chart.provenance.v1.prov"
WHO = "ada@example.com"


@pytest.fixture(scope="module")
def gpg() -> Iterator[Gnupg]:
    with gnupg() as home:
        home.key(WHO, algorithm="rsa2048")
        home.key("eve@example.com")
        yield home


@pytest.fixture
async def bench(tmp_path, workers) -> AsyncIterator[HelmBench]:
    async with opened(tmp_path, workers) as made:
        made.repository()
        yield made


def text(archive: bytes, name: str = "web", version: str = "1.0.0") -> bytes:
    """What helm signs."""
    digest = hashlib.sha256(archive).hexdigest()
    return f"apiVersion: v2\nname: {name}\nversion: {version}\n\n...\nfiles:\n  {name}-{version}.tgz: sha256:{digest}\n".encode()


def prov(gpg: Gnupg, archive: bytes, *, by: str = WHO, **more: str) -> bytes:
    return gpg.signed(by, text(archive, **more), how="--clearsign")


async def published(bench: HelmBench, version: str, signed: bytes | None) -> bytes:
    archive = chart("web", version)
    bench.museum.publish(archive, "web", version)
    if signed is not None:
        bench.museum.files[f"/web-{version}.tgz.prov"] = signed
    await bench.run("HelmRepository", "museum")
    return archive


def wanted(bench: HelmBench, **spec: Any) -> None:
    bench.chart(**spec)
    next(each for key, each in bench.api.objects.items() if key.kind == "HelmChart")["metadata"]["annotations"] = {PROVENANCE: "keys"}


async def test_a_chart_counts_only_with_a_good_provenance(bench, gpg):
    archive = await published(bench, "1.0.0", None)
    bench.chart()
    assert (await bench.run("HelmChart", "web")).result == "succeeded"
    before = bench.status("HelmChart", "web")["artifact"]

    wanted(bench)  # the same generation would do: an annotation changes none
    for secret, signed, words in (
        (None, None, "secret 'apps/keys' is not there, or has no keys"),
        (gpg.public(WHO), None, f"failed to fetch {bench.museum.url}/web-1.0.0.tgz.prov: 404 (not found)"),
        (gpg.public(WHO), prov(gpg, archive, by="eve@example.com"), "no trusted OpenPGP key has signed exactly this"),
        (gpg.public(WHO), prov(gpg, archive + b" "), "it is not for this archive, whose digest is sha256:"),
        (gpg.public(WHO), prov(gpg, archive, version="2.0.0"), "it is for chart 'web' of version '2.0.0', and not for 'web' of '1.0.0'"),
        (b"junk", prov(gpg, archive), "the key 'ada.asc' holds no OpenPGP public keys"),
    ):
        bench.secrets = {"keys": {"ada.asc": secret}} if secret is not None else {}
        bench.museum.files.pop("/web-1.0.0.tgz.prov", None)
        if signed is not None:
            bench.museum.files["/web-1.0.0.tgz.prov"] = signed
        await bench.run("HelmChart", "web")
        status, reason, message = bench.condition("HelmChart", "web")
        assert (status, reason) == ("False", "ChartVerificationError")
        assert message.startswith(f"chart verification error: failed to verify the provenance: {words}")
        assert bench.condition("HelmChart", "web", "SourceVerified")[0] == "False"
        assert bench.status("HelmChart", "web")["artifact"] == before

    bench.secrets["keys"] = {"ada.asc": gpg.public(WHO)}
    bench.museum.files["/web-1.0.0.tgz.prov"] = prov(gpg, archive)
    await bench.run("HelmChart", "web")
    key = gpg.fingerprints(WHO)[0][-16:]
    said = f"verified signature of version 1.0.0, provenance by the key {key}"
    assert bench.condition("HelmChart", "web", "SourceVerified") == ("True", "Succeeded", said)
    assert bench.condition("HelmChart", "web")[0] == "True"


async def test_what_was_good_is_not_fetched_again_until_the_keys_change(bench, gpg):
    await published(bench, "1.0.0", prov(gpg, chart("web", "1.0.0")))
    bench.secrets["keys"] = {"ada.gpg": gpg.run("--export", WHO)}  # not armoured, as helm's keyrings are
    wanted(bench)
    assert (await bench.run("HelmChart", "web")).result == "succeeded"
    bench.museum.asked.clear()
    assert (await bench.run("HelmChart", "web")).result == "unchanged"
    assert bench.museum.asked == []
    bench.secrets["keys"]["eve.gpg"] = gpg.run("--export", "eve@example.com")
    assert (await bench.run("HelmChart", "web")).result == "unchanged"
    assert bench.museum.asked == [("/web-1.0.0.tgz", 200), ("/web-1.0.0.tgz.prov", 200)]
    del bench.secrets["keys"]["ada.gpg"]
    assert (await bench.run("HelmChart", "web")).result == "failed"


async def test_a_chart_of_a_registry_has_it_as_a_layer(bench, gpg):
    bench.secrets["keys"] = {"ada.asc": gpg.public(WHO)}
    async with served() as registry:
        archive = chart("app", "1.0.0")
        registry.push("1.0.0", archive, media_type=LAYER)
        bench.api.put("HelmRepository", "oci", {"url": f"oci://{registry.host}/team", "type": "oci", "insecure": True})
        wanted(bench, chart="app", version="1.0.0", sourceRef={"kind": "HelmRepository", "name": "oci"})
        await bench.run("HelmChart", "web")
        assert bench.condition("HelmChart", "web")[2].endswith(f"has no layer of the type {PROV_LAYER}")
        signed = prov(gpg, archive, name="app")
        registry.push("parts", archive, signed)  # the blobs
        layers = [
            {"mediaType": kind, "digest": digest_of(blob), "size": len(blob)} for kind, blob in ((LAYER, archive), (PROV_LAYER, signed))
        ]
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": layers[0], "layers": layers}
        registry.put("1.0.0", json.dumps(manifest).encode())
        await bench.run("HelmChart", "web")
        assert bench.condition("HelmChart", "web")[2] == "pulled 'app' chart with version '1.0.0'"


async def test_only_charts_of_a_repository_can_have_it(bench):
    wanted(bench, chart="./web", sourceRef={"kind": "GitRepository", "name": "fleet"})
    bench.api.put("GitRepository", "fleet", {"url": "https://git.example/a", "interval": "1m"})
    assert (await bench.run("HelmChart", "web")).result == "stalled"
    assert bench.condition("HelmChart", "web")[2] == f"the annotation {PROVENANCE} names a Secret, for charts of a HelmRepository alone"


@pytest.mark.parametrize("content", [b"name: web\n", b"a: 1\n...\nb: 2\n", b"name: web\n...\nfiles: []\n", b"a\n...\nb\n...\nc\n"])
def test_signed_texts_that_are_not_helms_are_refused(gpg, tmp_path, content):
    files = Pulled(tmp_path / "a.tgz", tmp_path / "a.prov", Listed(name="web", version="1.0.0", urls=()))
    files.archive.write_bytes(b"")
    files.provenance.write_bytes(gpg.signed(WHO, content, how="--clearsign"))
    with pytest.raises(SignatureRefused):
        signer(files, {"a": gpg.public(WHO)})


@pytest.mark.real
def test_what_helm_packages_and_signs_is_good(gpg, peers, tmp_path):
    peers.need("helm")
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 1.0.0+a\ndescription: 'it is: ours'\n")
    ring = tmp_path / "secret.gpg"
    ring.write_bytes(gpg.run("--export-secret-keys", WHO))
    command = (str(binary("helm")), "package", "--sign", "--key", WHO, "--keyring", str(ring), "web")
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, env={**os.environ, "HOME": str(tmp_path)})
    archive = Path(tmp_path, "web-1.0.0+a.tgz")
    files = Pulled(archive, archive.with_name(archive.name + ".prov"), Listed(name="web", version="1.0.0+a", urls=()))
    assert signer(files, {"a": gpg.public(WHO)}) == gpg.fingerprints(WHO)[0][-16:]
    archive.write_bytes(archive.read_bytes() + b"\0")
    with pytest.raises(SignatureRefused, match="it is not for this archive"):
        signer(files, {"a": gpg.public(WHO)})
