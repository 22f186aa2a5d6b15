"""Signatures by key, as cosign 3.1.3 has put them into a registry: what counts, and that no change of what is signed does."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from service.outbound import Outbound, Policy
from service.sources.cosign import Key, check, keys_of, verify
from service.sources.dockerconfig import Login
from service.sources.manifests import RegistryError, Repository
from service.sources.registry import Registry
from service.sources.remote import Remote
from service.sources.signatures import Bundle, Envelope, NotVerified, Simple, check_payload, check_statement, signatures_of
from tests.sources.registry import StandIn, served

RECORDED = Path(__file__).parent / "cosign" / "by_key.json"
SIGNED = "https://sigstore.dev/cosign/sign/v1"
Found = tuple[Registry, StandIn, str, tuple[Key, ...]]


@pytest.fixture
async def recorded() -> AsyncIterator[Found]:
    """The recorded registry, the digest of what is signed there, and the key."""

    async def no_secrets(namespace: str, name: str) -> None:
        return None

    async with served() as stand_in, Remote(namespace="apps", insecure=True).open(Outbound(Policy(loopback=True)), no_secrets) as way:
        recording = stand_in.load(RECORDED)
        registry = Registry(way.session, Repository.parse(f"oci://{stand_in.host}/team/app"), Login())
        await registry.allow_http()
        yield registry, stand_in, recording["tags"]["1.0"], keys_of({"cosign.pub": recording["key"].encode()})


async def test_both_forms_count(recorded: Found) -> None:
    registry, stand_in, digest, keys = recorded
    found = [each async for each in signatures_of(registry, digest)]
    assert [type(each) for each in found] == [Bundle, Bundle, Simple]
    await verify(registry, digest, keys)
    stand_in.lists_referrers = True
    stand_in.asked.clear()
    await verify(registry, digest, keys)
    assert [each.split("/")[0] for each in stand_in.asked] == [
        "GET referrers",
        *2 * ["GET manifests", "GET blobs"],
    ]  # no more once one is good
    del stand_in.tags[digest.replace(":", "-")]
    await verify(registry, digest, keys)  # the old form alone
    del stand_in.tags[f"{digest.replace(':', '-')}.sig"]
    with pytest.raises(NotVerified, match="no signatures found"):
        await verify(registry, digest, keys)


@pytest.mark.parametrize("status", [200, 400, 404, 405, 406])
async def test_registries_that_list_no_referrers_have_the_tag_in_its_place(recorded: Found, status: int) -> None:
    registry, stand_in, digest, keys = recorded

    async def nothing(request: web.Request) -> web.Response | None:
        return web.Response(status=status, text="<html>", content_type="text/html") if "/referrers/" in request.path else None

    stand_in.fault = nothing
    assert len([each async for each in signatures_of(registry, digest)]) == 3
    await verify(registry, digest, keys)


async def test_a_registry_that_is_away_says_nothing_of_signatures(recorded: Found) -> None:
    registry, stand_in, digest, keys = recorded

    async def busy(request: web.Request) -> web.Response | None:
        return web.Response(status=503) if "/referrers/" in request.path else None

    stand_in.fault = busy
    with pytest.raises(RegistryError, match="answered 503"):
        await verify(registry, digest, keys)


async def test_what_is_signed_about_the_artifact_is_not_its_signature(recorded: Found) -> None:
    registry, _, digest, keys = recorded
    findings, *_ = [each async for each in signatures_of(registry, digest)]
    assert isinstance(findings, Bundle)
    with pytest.raises(NotVerified, match=r"neither a signature nor a provenance, but .*/attestation/vuln/v1"):
        check(findings, digest, keys)


async def test_other_keys_and_other_artifacts_do_not_count(recorded: Found) -> None:
    registry, _, digest, keys = recorded
    others = (ec.generate_private_key(ec.SECP256R1()).public_key(), ed25519.Ed25519PrivateKey.generate().public_key())
    with pytest.raises(NotVerified, match="no matching signatures"):
        await verify(registry, digest, others)
    _, bundle, simple = [each async for each in signatures_of(registry, digest)]
    for each in (bundle, simple):
        check(each, digest, (*others, *keys))
        with pytest.raises(NotVerified, match="about another artifact"):
            check(each, "sha256:" + "0" * 64, keys)


async def test_no_changed_byte_counts(recorded: Found) -> None:
    registry, _, digest, keys = recorded
    _, bundle, simple = [each async for each in signatures_of(registry, digest)]
    assert isinstance(bundle, Bundle)
    assert isinstance(simple, Simple)
    for at in range(len(simple.payload)):
        changed = simple.payload[:at] + bytes([simple.payload[at] ^ 1]) + simple.payload[at + 1 :]
        with pytest.raises(NotVerified):
            check(Simple(payload=changed, signature=simple.signature, annotations={}), digest, keys)
    envelope = json.loads(bundle.body)
    for field in ("payload", "payloadType", "signatures"):
        changed_envelope = {**envelope["dsseEnvelope"], field: _changed(envelope["dsseEnvelope"][field])}
        with pytest.raises(NotVerified):
            check(Bundle(body=json.dumps({**envelope, "dsseEnvelope": changed_envelope}).encode()), digest, keys)


def _changed(found: Any) -> Any:
    if isinstance(found, list):
        raw = bytearray(base64.b64decode(found[0]["sig"]))
        raw[-1] ^= 1
        return [{"sig": base64.b64encode(raw).decode()}]
    return found.replace("=", "") + "A" if found.endswith("=") else found[:-4] + "AAAA"


def test_keys_that_do_not_sign_are_named() -> None:
    pem = rsa.generate_private_key(65537, 2048).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert len(keys_of({"a.pub": pem, "note": b"x"})) == 1
    for data, words in (({"a.pub": b"x"}, "'a.pub' holds no public key"), ({"a": pem}, "no key whose name ends in .pub")):
        with pytest.raises(NotVerified, match=words):
            keys_of(data)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from([SIGNED, "sha256", "https://in-toto.io/Statement/v1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["critical", "image", "type", "subject", "digest", "sha256", "_type", "predicateType", "dsseEnvelope", "payload"]
            ),
            inner,
            max_size=4,
        )
    ),
)


@given(_JSON)
def test_no_words_of_strangers_raise_anything_else(found: Any) -> None:
    text = json.dumps(found).encode()
    for judged in (
        lambda: check_payload(text, "sha256:0"),
        lambda: check_statement("application/vnd.in-toto+json", text, "sha256:0"),
        lambda: Envelope.of(Bundle(body=text)),
    ):
        with pytest.raises(NotVerified):
            judged()
