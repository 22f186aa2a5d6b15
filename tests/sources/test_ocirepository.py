"""OCIRepository against a stand-in registry: what is pulled, when nothing is, and what each fault leaves behind."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from service.kinds.meta import FINALIZER
from service.reconcile.queue import Trigger
from service.sources.snapshot import changed_paths
from service.sources.tree import GitTree
from service.sources.trustedkeys import CHANGED
from tests.sources.bench import Bench, opened
from tests.sources.registry import INDEX, StandIn, served, tarball
from tests.sources.sigstore import ISSUER, SUBJECT, Sigstore, put_bundle, put_simple

FILES = {"apps/a.yaml": b"a: 1\n", "apps/b.yaml": b"b: 1\n", "image.png": b"png", "link": None}


@pytest.fixture
async def bench(tmp_path, workers) -> AsyncIterator[Bench]:
    async with opened("OCIRepository", tmp_path, workers) as made:
        yield made


@pytest.fixture
async def registry() -> AsyncIterator[StandIn]:
    async with served() as made:
        yield made


def spec(registry: StandIn, **more: Any) -> dict[str, Any]:
    found = {"url": f"oci://{registry.host}/team/app", "interval": "1m0s", "timeout": "10s", "insecure": True, "ref": {"tag": "1.0"}}
    return {**found, **more}


def docker_config(host: str, user: str, password: str) -> dict[str, bytes]:
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {".dockerconfigjson": json.dumps({"auths": {host: {"auth": auth}}}).encode()}


async def test_first_pull_then_push_then_nothing(bench, registry):
    digest = registry.push("1.0", tarball(FILES), annotations={"org.opencontainers.image.revision": "main@sha1:1"})
    bench.api.put(spec(registry))
    outcome = await bench.run()
    assert (outcome.result, outcome.message) == ("succeeded", f"1.0@{digest}")
    assert bench.api.ready() == ("True", "Succeeded", f"stored artifact for digest '1.0@{digest}'")
    artifact = bench.status["artifact"]
    assert artifact["path"] == f"ocirepository/apps/fleet/{digest}.tar.gz"
    assert artifact["metadata"] == {"org.opencontainers.image.revision": "main@sha1:1"}
    assert [(severity, reason) for severity, reason, _ in bench.events] == [("info", "NewArtifact")]
    first = bench.published[bench.key]
    tree = GitTree.open(first)
    assert (tree.list(""), tree.read("apps/a.yaml")) == ((("apps", "dir"),), b"a: 1\n")  # pictures are left out by default, links always

    assert (await bench.run()).result == "unchanged"
    registry.asked.clear()
    await bench.run()
    assert registry.asked == ["HEAD manifests/1.0"]  # that is all it costs

    registry.push("1.0", tarball({**FILES, "apps/b.yaml": b"b: 2\n"}))
    assert (await bench.run()).result == "succeeded"
    assert changed_paths(first, bench.published[bench.key]) == ("apps/b.yaml",)  # one app of the artifact concerns that one alone
    assert "metadata" not in bench.status["artifact"]


async def test_ranges_digests_and_the_default_tag(bench, registry):
    for tag in ("1.0.0", "1.4.2", "1.5.0-rc.1", "2.0.0", "latest"):
        registry.push(tag, tarball({"tag": tag.encode()}))
    wanted = {
        "1.4.2": {"semver": "1.x"},
        "1.5.0-rc.1": {"semver": ">=1.0.0-0", "semverFilter": "rc"},
        "latest": {},
        "2.0.0": {"digest": registry.tags["2.0.0"], "tag": "1.0.0"},
    }
    for tag, ref in wanted.items():
        bench.api.put(spec(registry, ref=ref))
        await bench.run()
        assert GitTree.open(bench.published[bench.key]).read("tag") == tag.encode()
    assert bench.status["artifact"]["revision"] == registry.tags["2.0.0"]
    bench.api.put(spec(registry, ref={"semver": "9.x"}))
    await bench.run()
    assert bench.api.ready()[2].endswith("no match found for semver: 9.x")


async def test_a_layer_is_chosen_and_copied(bench, registry):
    layer = tarball({"Chart.yaml": b"name: a\n"})
    digest = registry.push("1.0", layer, media_type="application/vnd.cncf.helm.chart.content.v1.tar+gzip")
    selector = {"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "operation": "copy"}
    bench.api.put(spec(registry, layerSelector=selector))
    await bench.run()
    stored = bench.artifacts.file(bench.status["artifact"]["path"])
    assert stored is not None
    assert stored.read_bytes() == layer  # byte for byte
    assert bench.status["observedLayerSelector"] == selector
    assert GitTree.open(bench.published[bench.key]).read("Chart.yaml") == b"name: a\n"
    bench.api.put(spec(registry, layerSelector={"mediaType": "none/such"}))
    await bench.run()
    assert bench.api.ready() == (
        "False", "OCIArtifactLayerOperationFailed", "failed to find layer with media type 'none/such' in artifact",
    )  # fmt: skip
    assert bench.status["artifact"]["revision"] == f"1.0@{digest}"


async def test_log_in_by_secret_and_by_service_account(bench, registry):
    registry.login = ("robot", "hunter2")
    registry.push("1.0", tarball(FILES))
    bench.api.put(spec(registry))
    await bench.run()
    assert bench.api.ready()[:2] == ("False", "AuthenticationFailed")
    bench.secrets["pull"] = docker_config(registry.host, "robot", "wrong")
    bench.api.put(spec(registry, secretRef={"name": "pull"}))
    await bench.run()
    assert bench.api.ready()[:2] == ("False", "AuthenticationFailed")
    assert "hunter2" not in bench.api.ready()[2]
    bench.secrets["pull"] = docker_config(f"http://{registry.host}/v2/", "robot", "hunter2")
    await bench.run()
    assert bench.api.ready()[0] == "True"
    bench.secrets["other"] = docker_config("example.com", "robot", "wrong")
    bench.pull_secrets["builder"] = ("other", "pull")
    bench.api.put(spec(registry, serviceAccountName="builder"))
    await bench.run()
    assert bench.api.ready()[0] == "True"


async def test_credentials_stay_at_their_origin(bench, registry):
    registry.login, registry.elsewhere = ("robot", "hunter2"), registry.other
    registry.push("1.0", tarball(FILES))
    bench.secrets["pull"] = docker_config(registry.host, "robot", "hunter2")
    bench.api.put(spec(registry, secretRef={"name": "pull"}))
    await bench.run()
    assert bench.api.ready()[0] == "True"
    assert registry.seen_elsewhere == [None]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (b"no archive", "not a tar.gz archive"),
        (tarball({"../outside": b"x"}), "leads out of the archive"),
        (tarball(FILES)[:-20], "not a tar.gz archive"),
    ],
    ids=["no archive", "outside", "cut"],
)
async def test_bad_layers_leave_the_last_artifact(bench, registry, files, words):
    registry.push("1.0", tarball(FILES))
    bench.api.put(spec(registry))
    await bench.run()
    before = bench.status["artifact"]["revision"]
    registry.push("1.0", files)
    outcome = await bench.run()
    assert (outcome.result, outcome.backoff) == ("failed", True)
    assert words in bench.api.ready()[2]
    assert bench.status["artifact"]["revision"] == before
    registry.push("1.0", tarball({"good": b"again"}))
    assert (await bench.run()).result == "succeeded"


async def test_what_is_not_what_its_digest_says_is_refused(bench, registry):
    digest = registry.push("1.0", tarball(FILES))
    layer = json.loads(registry.manifests[digest])["layers"][0]["digest"]
    registry.blobs[layer] = registry.blobs[layer][:-1] + b"x"
    bench.api.put(spec(registry))
    await bench.run()
    assert "is not what its digest says" in bench.api.ready()[2]
    registry.manifests[digest] = registry.manifests[digest] + b" "
    await bench.run()
    assert "has another digest than its name" in bench.api.ready()[2]
    assert bench.key not in bench.published


async def test_the_remotes_words_are_not_repeated(bench, registry):
    bench.api.put(spec(registry, ref={"tag": "none"}))
    await bench.run()
    where = f"oci://{registry.host}/team/app"
    assert bench.api.ready()[2] == f"failed to pull artifact from '{where}': {registry.host} answered 404 (not found)"


async def test_an_index_gives_its_linux_image(bench, registry):
    digest = registry.push("only", tarball({"platform": b"linux"}))
    listed = [
        {"digest": "sha256:" + "0" * 64, "platform": {"os": "windows", "architecture": "amd64"}},
        {"digest": digest, "platform": {"os": "linux", "architecture": "amd64"}},
    ]
    registry.put("1.0", json.dumps({"mediaType": INDEX, "manifests": listed}).encode())
    bench.api.put(spec(registry))
    await bench.run()
    assert GitTree.open(bench.published[bench.key]).read("platform") == b"linux"
    registry.asked.clear()
    await bench.run()
    assert registry.asked == ["HEAD manifests/1.0"]


async def test_restart_writes_nothing_and_needs_no_registry(bench, registry):
    registry.push("1.0", tarball(FILES))
    bench.api.put(spec(registry))
    await bench.run()
    before = bench.published[bench.key]
    bench.restart()
    assert (await bench.run()).result == "unchanged"
    assert bench.api.patches == []
    bench.restart()
    bench.api.put(spec(registry, suspend=True))
    await bench.run()
    assert bench.published[bench.key] == before


async def test_ignore_changes_the_artifact_without_a_pull(bench, registry):
    registry.push("1.0", tarball(FILES))
    bench.api.put(spec(registry))
    await bench.run()
    first = bench.status["artifact"]["digest"]
    bench.api.put(spec(registry, ignore="apps/a.yaml"))
    registry.asked.clear()
    await bench.run()
    assert [each for each in registry.asked if "blobs" in each] == []
    assert bench.status["artifact"]["digest"] != first
    assert GitTree.open(bench.published[bench.key]).kind("apps/a.yaml") is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"url": "oci://host/Team/App"}, "letters that are not allowed"),
        ({"url": "oci://host/app:1.0"}, "belongs into spec.ref"),
        ({"ref": {"digest": "sha256:12"}}, "not of the form sha256"),
        ({"ref": {"tag": "a b"}}, "not a tag"),
        ({"ref": {"semver": "newest"}}, "not a range"),
        ({"ref": {"semver": "1.x", "semverFilter": "("}}, "spec.ref"),
        (
            {"verify": {"secretRef": {"name": "keys"}, "matchOIDCIdentity": [{"issuer": "a", "subject": "b"}]}},
            "spec.verify.matchOIDCIdentity",
        ),
        ({"verify": {"secretRef": {"name": "keys"}, "trustedRootSecretRef": {"name": "root"}}}, "spec.verify.trustedRootSecretRef"),
        ({"verify": {"provider": "notation"}}, "spec.verify.secretRef"),
        ({"provider": "aws"}, "spec.provider"),
    ],
)
async def test_what_only_a_change_can_mend_stalls(bench, registry, changes, words):
    bench.api.put(spec(registry, **changes))
    assert (await bench.run()).result == "stalled"
    assert words in bench.api.ready()[2]


async def test_deletion_lets_go(bench, registry):
    registry.push("1.0", tarball(FILES))
    bench.api.put(spec(registry))
    await bench.run()
    assert bench.api.object is not None
    assert bench.api.object["metadata"]["finalizers"] == [FINALIZER]
    bench.api.object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert (await bench.run()).result == "gone"
    assert bench.api.object is None
    assert list((bench.state / "git").iterdir()) == []


def sign(registry: StandIn, digest: str, key: Any, *, named: str = "") -> None:
    """As `cosign sign --key` does."""
    critical = {"identity": {"docker-reference": ""}, "image": {"docker-manifest-digest": named or digest}}
    payload = json.dumps({"critical": {**critical, "type": "cosign container image signature"}, "optional": None}).encode()
    signature = base64.b64encode(key.sign(payload, ec.ECDSA(hashes.SHA256()))).decode()
    registry.push(f"{digest.replace(':', '-')}.sig", payload)
    manifest = json.loads(registry.manifests[registry.tags[f"{digest.replace(':', '-')}.sig"]])
    manifest["layers"][0]["annotations"] = {"dev.cosignproject.cosign/signature": signature}
    registry.put(f"{digest.replace(':', '-')}.sig", json.dumps(manifest).encode())


async def test_only_what_is_signed_counts(bench, registry):
    good, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    pem = good.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    bench.secrets["keys"] = {"cosign.pub": pem}
    digest = registry.push("1.0", tarball(FILES))
    bench.api.put(spec(registry, verify={"provider": "cosign", "secretRef": {"name": "keys"}}))
    for sign_it, words in [
        (lambda: None, "no signatures found"),
        (lambda: sign(registry, digest, other), "no matching signatures: a signature is not by one of the keys"),
        (
            lambda: sign(registry, digest, good, named="sha256:" + "0" * 64),
            "no matching signatures: the signature is about another artifact",
        ),
    ]:
        sign_it()
        await bench.run()
        assert bench.api.ready() == ("False", "VerificationError", f"failed to verify the signature using provider 'cosign': {words}")
        assert bench.api.condition("SourceVerified")["status"] == "False"
        assert bench.key not in bench.published
    sign(registry, digest, good)
    assert (await bench.run()).result == "succeeded"
    verified = bench.api.condition("SourceVerified")
    assert (verified["status"], verified["message"]) == ("True", f"verified signature of revision 1.0@{digest}")
    registry.push("1.0", tarball({"unsigned": b"x"}))
    await bench.run()
    assert bench.published[bench.key].revision == f"1.0@{digest}"  # what was good stays
    bench.secrets["keys"] = {"cosign.pub": b"no key"}
    await bench.run()
    assert bench.api.ready()[2].endswith("the key 'cosign.pub' holds no public key in PEM form")
    bench.api.put(spec(registry))
    await bench.run()
    assert bench.api.condition("SourceVerified") is None


async def test_keys_that_change_count_at_once(bench, registry):
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    pems = [each.public_key().public_bytes(*form) for each in (key, other)]
    bench.secrets["keys"] = {"a.pub": pems[0], "b.pub": pems[1]}
    digest = registry.push("1.0", tarball(FILES))
    sign(registry, digest, key)
    bench.api.put(spec(registry, verify={"provider": "cosign", "secretRef": {"name": "keys"}}))
    assert (await bench.run()).result == "succeeded"
    changed = (Trigger(reason=CHANGED),)
    del bench.secrets["keys"]["a.pub"]
    assert (await bench.run()).result == "unchanged"  # nobody has told
    assert (await bench.run(triggers=changed)).result == "failed"
    assert "no matching signatures" in bench.api.ready()[2]
    assert (await bench.run()).result == "failed"
    bench.secrets["keys"]["a.pub"] = pems[0]
    assert (await bench.run()).result == "succeeded"


async def test_a_signature_that_is_there_after_its_registry_has_told_of_it_is_waited_for(bench, registry):
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    bench.secrets["keys"] = {"cosign.pub": pem}
    digest = registry.push("1.0", tarball(FILES))
    bench.api.put(spec(registry, verify={"provider": "cosign", "secretRef": {"name": "keys"}}))
    assert (await bench.run()).result == "failed"
    told = (Trigger(reason="hook", hint=f"app:{digest.replace(':', '-')}.sig@sha256:{'1' * 64}"),)
    asyncio.get_running_loop().call_later(0.2, sign, registry, digest, key)
    assert (await bench.reconciler.reconcile(bench.key, told)).message == f"1.0@{digest}"


async def test_only_what_the_named_have_signed_without_a_key_counts(bench, registry):
    pytest.importorskip("sigstore", reason="needs sigstore: pip install 'sluice-gitops[keyless]'")
    own = Sigstore()
    bench.secrets["root"] = {"trusted_root.json": own.trusted_root()}
    digest = registry.push("1.0", tarball(FILES))
    put_simple(registry, digest, *own.simple(digest, subject="https://github.com/somebody/else"))
    team = {"issuer": f"^{ISSUER}$", "subject": "^https://github.com/team/app/.*$"}
    verify = {"provider": "cosign", "trustedRootSecretRef": {"name": "root"}}
    bench.api.put(spec(registry, verify={**verify, "matchOIDCIdentity": [team]}))
    await bench.run()
    assert bench.api.ready()[:2] == ("False", "VerificationError")
    assert "signed by https://github.com/somebody/else" in bench.api.ready()[2]
    assert bench.key not in bench.published
    put_bundle(registry, digest, own.bundle(digest))
    assert (await bench.run()).result == "succeeded"
    good = f"verified signature of revision 1.0@{digest}, signed by {SUBJECT} ({ISSUER})"
    assert bench.api.condition("SourceVerified")["message"] == good
    bench.restart()
    registry.asked.clear()
    assert (await bench.run()).result == "unchanged"
    assert not [each for each in registry.asked if "sig" in each or "referrers" in each]  # the status tells, as with Flux
    assert bench.api.condition("SourceVerified")["message"] == good
    del registry.tags[digest.replace(":", "-")]
    bench.api.put(spec(registry, verify=verify))
    await bench.run()
    assert bench.api.condition("SourceVerified")["message"].endswith("names nobody, so anybody's signature would count")
    for verify, words in (
        ({"trustedRootSecretRef": {"name": "keys"}}, "has no key 'trusted_root.json'"),
        ({"matchOIDCIdentity": [{"issuer": "(", "subject": ""}]}, "spec.verify.matchOIDCIdentity[0].issuer"),
    ):
        bench.secrets["keys"] = {}
        bench.api.put(spec(registry, verify=verify))
        await bench.run()
        assert words in bench.api.ready()[2]


async def test_only_what_a_trust_policy_lets_pass_counts(bench, registry):
    recording = registry.load(Path(__file__).parent / "notation" / "signed.json")
    digest = recording["digest"]
    referring = digest.replace(":", "-")
    certificates = {name: text.encode() for name, text in recording["certificates"].items()}

    def policy(level: str) -> dict[str, bytes]:
        statement = {"name": "app", "registryScopes": [f"{registry.host}/team/app"], "signatureVerification": {"level": level}}
        statement |= (
            {} if level == "skip" else {"trustStores": ["ca:team"], "trustedIdentities": ["x509.subject:C=US,ST=WA,O=Team\\, Inc."]}
        )
        return {"trustpolicy.json": json.dumps({"version": "1.0", "trustPolicies": [statement]}).encode(), **certificates}

    verify = {"provider": "notation", "secretRef": {"name": "keys"}}
    bench.secrets["keys"] = policy("strict")
    bench.api.put(spec(registry, verify=verify))
    for signed, words in ((None, "no signatures found"), ("expired", "no matching signatures: the signature has expired on 2026-11-21")):
        if signed is not None:
            registry.tags[referring] = recording["signed"][signed]
        await bench.run()
        assert bench.api.ready()[2] == f"failed to verify the signature using provider 'notation': {words}"
        assert bench.key not in bench.published
    registry.tags[referring] = recording["signed"]["cose-ec"]
    assert (await bench.run()).result == "succeeded"
    good = f"verified signature of revision 1.0@{digest}, signed by CN=ec,O=Team\\, Inc.,L=Seattle,ST=WA,C=US"
    assert bench.api.condition("SourceVerified")["message"] == good
    registry.asked.clear()
    await bench.run()
    assert registry.asked == ["HEAD manifests/1.0"]
    bench.secrets["keys"] = policy("skip")
    bench.api.put(spec(registry, verify=verify))
    await bench.run()
    assert bench.api.ready()[0] == "True"
    assert bench.api.condition("SourceVerified") is None  # nothing was, and nothing says so


async def test_a_tag_that_moves_after_its_registry_has_told_of_it_is_waited_for(bench, registry):
    registry.push("1.0", tarball(FILES))
    bench.api.put(spec(registry))
    await bench.run()
    moved = registry.push("next", tarball({"new": b"x"}))
    registry.asked.clear()
    told = (Trigger(reason="hook", hint=f"app:1.0@{moved}"),)
    asyncio.get_running_loop().call_later(0.2, registry.tags.update, {"1.0": moved})
    assert (await bench.reconciler.reconcile(bench.key, told)).message == f"1.0@{moved}"
    assert [each for each in registry.asked if "blobs" not in each] == [*["HEAD manifests/1.0"] * 3, f"GET manifests/{moved}"]
    registry.asked.clear()
    assert (await bench.reconciler.reconcile(bench.key, told)).result == "unchanged"
    assert registry.asked == ["HEAD manifests/1.0"]
    claimed = (Trigger(reason="hook", hint="app:1.0@sha256:" + "0" * 64),)
    registry.asked.clear()
    assert (await bench.reconciler.reconcile(bench.key, claimed)).result == "unchanged"  # a payload is a hint
    assert registry.asked == ["HEAD manifests/1.0"] * 4
