"""Signatures without a key, by a Sigstore of our own: who may sign, and that nothing counts in which one thing is wrong."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.kinds.oci import OIDCIdentity
from service.sources.keyless import Keyless, problem_of
from service.sources.signatures import Bundle, NotVerified, Simple
from tests.sources.sigstore import CERTIFICATE, ISSUER, LOGGED, SIGNATURE, SUBJECT, Sigstore, new_key

DIGEST = "sha256:" + "ab" * 32
WHO = f"{SUBJECT} ({ISSUER})"
TEAM = OIDCIdentity(issuer=f"^{ISSUER}$", subject="^https://github.com/team/app/.*$")
ANYBODY = OIDCIdentity(issuer=".*", subject=".*")

keylesscheck = pytest.importorskip("service.sources.keylesscheck", reason="needs sigstore: pip install 'sluice-gitops[keyless]'")


def simple(made: tuple[bytes, dict[str, str]]) -> Simple:
    payload, annotations = made
    return Simple(payload=payload, signature=annotations[SIGNATURE], annotations=annotations)


def bundle(made: dict[str, Any]) -> Bundle:
    return Bundle(body=json.dumps(made).encode())


def refused(found: Simple | Bundle, root: bytes, *, who: OIDCIdentity = ANYBODY, digest: str = DIGEST) -> str:
    with pytest.raises(NotVerified) as caught:
        keylesscheck.check([found], digest, [who], root)
    return str(caught.value)


def test_both_forms_count() -> None:
    own = Sigstore()
    for found in (simple(own.simple(DIGEST)), bundle(own.bundle(DIGEST))):
        assert keylesscheck.check([found], DIGEST, [TEAM], own.trusted_root()) == WHO
    provenance = bundle(own.bundle(DIGEST, predicate="https://slsa.dev/provenance/v1"))
    assert keylesscheck.check([bundle(own.bundle("sha256:0")), provenance], DIGEST, [TEAM], own.trusted_root()) == WHO
    by_mail = simple(own.simple(DIGEST, subject="ada@example.com", issuer="https://accounts.example.com"))
    ada = OIDCIdentity(issuer="example", subject="^ada@")
    assert keylesscheck.check([by_mail], DIGEST, [TEAM, ada], own.trusted_root()) == "ada@example.com (https://accounts.example.com)"


@pytest.mark.parametrize(
    "identity",
    [
        OIDCIdentity(issuer="^https://gitlab.com$", subject=".*"),
        OIDCIdentity(issuer=".*", subject="^https://github.com/team/other/"),
        OIDCIdentity(issuer=SUBJECT, subject=ISSUER),
        OIDCIdentity(issuer="^https://token$", subject=".*"),
    ],
)
def test_only_those_who_are_named_may_sign(identity: OIDCIdentity) -> None:
    own = Sigstore()
    for found in (simple(own.simple(DIGEST)), bundle(own.bundle(DIGEST))):
        assert refused(found, own.trusted_root(), who=identity).endswith("whom spec.verify.matchOIDCIdentity does not name")


def test_without_names_the_old_form_counts_as_with_flux_and_a_bundle_does_not() -> None:
    own = Sigstore()
    assert keylesscheck.check([simple(own.simple(DIGEST))], DIGEST, [], own.trusted_root()) == WHO
    with pytest.raises(NotVerified, match=r"only if spec.verify.matchOIDCIdentity names"):
        keylesscheck.check([bundle(own.bundle(DIGEST))], DIGEST, [], own.trusted_root())


@pytest.mark.parametrize("part", ["root", "certificate_log", "rekor"])
def test_every_part_must_be_the_trusted_one(part: str) -> None:
    own, words = Sigstore(), {"root": "chain", "certificate_log": "SCT", "rekor": "log entry"}
    liar = replace(own, **{part: new_key()})
    for found in (simple(liar.simple(DIGEST)), bundle(liar.bundle(DIGEST))):
        assert words[part] in refused(found, own.trusted_root())


def test_what_was_signed_outside_of_the_certificates_life_does_not_count() -> None:
    own = Sigstore(logged_after=timedelta(minutes=11))
    for found in (simple(own.simple(DIGEST)), bundle(own.bundle(DIGEST))):
        assert "chain" in refused(found, own.trusted_root())


def test_another_artifact_or_another_statement_does_not_count() -> None:
    own = Sigstore()
    root = own.trusted_root()
    assert "about another artifact" in refused(simple(own.simple(DIGEST, named="sha256:0")), root)
    assert "about another artifact" in refused(bundle(own.bundle("sha256:0")), root)
    assert "neither a signature nor a provenance" in refused(bundle(own.bundle(DIGEST, predicate="https://example.com/scan")), root)


def _swap(name: str) -> Callable[[dict[str, str], dict[str, str]], dict[str, str]]:
    return lambda one, other: {**one, name: other[name]}


def _dated(one: dict[str, str], _other: dict[str, str]) -> dict[str, str]:
    logged = json.loads(one[LOGGED])
    logged["Payload"]["integratedTime"] += 1
    return {**one, LOGGED: json.dumps(logged)}


@pytest.mark.parametrize(
    "change", [_swap(SIGNATURE), _swap(CERTIFICATE), _swap(LOGGED), _dated], ids=["signature", "certificate", "log", "time"]
)
def test_parts_of_two_good_signatures_are_not_one(change: Callable[[dict[str, str], dict[str, str]], dict[str, str]]) -> None:
    own = Sigstore()
    (payload, one), (_, other) = own.simple(DIGEST), own.simple(DIGEST)
    assert refused(simple((payload, change(one, other))), own.trusted_root())
    for name in (CERTIFICATE, LOGGED):
        bare = simple((payload, {key: value for key, value in one.items() if key != name}))
        assert "no certificate, or comes without the word of a transparency log" in refused(bare, own.trusted_root())


def _leaves(found: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(found, dict):
        return [leaf for key, value in found.items() for leaf in _leaves(value, (*path, key))]
    if isinstance(found, list):
        return [leaf for key, value in enumerate(found) for leaf in _leaves(value, (*path, key))]
    return [path]


# What a bundle says that nothing rests on: names for people, and positions that the proof gives again.
FREE = {("verificationMaterial", "tlogEntries", 0, "logId", "keyId")}


def test_no_changed_part_of_a_bundle_counts() -> None:
    own = Sigstore()
    made, root = own.bundle(DIGEST), own.trusted_root()
    for path in _leaves(made):
        changed = json.loads(json.dumps(made))
        place = changed
        for key in path[:-1]:
            place = place[key]
        text = place[path[-1]]
        place[path[-1]] = _other(text)
        if path not in FREE:
            assert refused(bundle(changed), root), path


def _other(text: str) -> str:
    if text.isdigit():
        return str(int(text) + 1)
    try:
        raw = bytearray(base64.b64decode(text, validate=True))
    except ValueError:
        return text + "x"
    raw[len(raw) // 2] ^= 1
    return base64.b64encode(raw).decode()


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=60) | st.text(max_size=30).map(lambda text: json.dumps({"mediaType": text, "dsseEnvelope": text}).encode()),
    st.data(),
)
def test_bytes_of_strangers_are_refused(body: bytes, data: st.DataObject) -> None:
    own = Sigstore()
    assert refused(Bundle(body=body), own.trusted_root())
    payload, annotations = own.simple(DIGEST)
    name = data.draw(st.sampled_from([SIGNATURE, CERTIFICATE, LOGGED]))
    assert refused(simple((payload, {**annotations, name: body.decode(errors="replace")})), own.trusted_root())


def test_the_librarys_own_root_is_sigstores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    own = Sigstore()
    with pytest.raises(NotVerified, match="chain"):
        keylesscheck.check([simple(own.simple(DIGEST))], DIGEST, [ANYBODY], None)
    with pytest.raises(NotVerified, match=r"'trusted_root.json' .* cannot be used"):
        keylesscheck.check([], DIGEST, [ANYBODY], b"{}")


@pytest.fixture
def public(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A signature of a public image, as its registry and Sigstore's public logs hold it, to be checked by the library's own root."""
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    found: dict[str, Any] = json.loads((Path(__file__).parent / "cosign" / "keyless.json").read_text())
    return found


def test_a_public_images_signature_counts_without_any_network(public: dict[str, Any]) -> None:
    found, owner = simple((public["payload"].encode(), public["annotations"])), "https://github.com/salrashid123/go-bazel-github-workflow"
    who = OIDCIdentity(issuer=f"^{ISSUER}$", subject=f"^{owner}/.github/workflows/release.yaml@refs/tags/v.*$")
    signer = f"{owner}/.github/workflows/release.yaml@refs/tags/v0.0.14 ({ISSUER})"
    assert keylesscheck.check([found], public["digest"], [who], None) == signer
    for digest, identity in ((DIGEST, who), (public["digest"], TEAM)):
        with pytest.raises(NotVerified):
            keylesscheck.check([found], digest, [identity], None)
    for name in (SIGNATURE, CERTIFICATE, LOGGED):
        text: str = public["annotations"][name]
        for at in range(50, len(text), len(text) // 12):
            changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
            with pytest.raises(NotVerified):
                keylesscheck.check([simple((found.payload, {**found.annotations, name: changed}))], public["digest"], [who], None)


async def test_the_check_is_a_process_that_ends_and_is_not_made_twice() -> None:
    own, keyless = Sigstore(), Keyless()
    found, root = (simple(own.simple(DIGEST)),), own.trusted_root()
    assert await keyless.verify(found, DIGEST, (TEAM,), root) == WHO
    assert await keyless.verify(found, DIGEST, (TEAM,), root) == WHO
    with pytest.raises(NotVerified, match="does not name"):
        await keyless.verify(found, DIGEST, (replace(TEAM, issuer="x"),), root)


def test_expressions_that_cannot_be_used_are_named() -> None:
    assert problem_of([TEAM, ANYBODY]) == ""
    assert problem_of([TEAM, replace(TEAM, subject="(")]).startswith("spec.verify.matchOIDCIdentity[1].subject: error parsing regexp")
