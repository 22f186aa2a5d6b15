"""Signatures that cosign has put beside an artifact: its digest in, each signature with what was signed out.

Two forms. The old one: a tag `sha256-<hex>.sig`, whose layers are payloads that name the digest, each with its signature in an annotation.
The one of cosign 3: Sigstore bundles in manifests that refer to the artifact's; in each a signed statement with the digest as its subject.
https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md and BUNDLE_SPEC.md beside it
"""

import base64
import binascii
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from service.sources.manifests import RegistryError
from service.sources.registry import Registry

BUNDLE = "application/vnd.dev.sigstore.bundle"
SIGNATURE = "dev.cosignproject.cosign/signature"
MOST_SIGNATURES = 50
MOST_BYTES = 256 * 1024
_STATEMENT = "application/vnd.in-toto+json"
_SIGNS = "https://sigstore.dev/cosign/sign/v1"
_BUILDS = "https://slsa.dev/provenance/"


class NotVerified(Exception):
    """No signature is good; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """An artifact may be taken. `is_verified` is False where a policy asks for no good signature; `words` say more, for people."""

    words: str = ""
    is_verified: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Simple:
    """The old form. `annotations` may hold a certificate and what a transparency log has said."""

    payload: bytes
    signature: str
    annotations: Mapping[str, str] = field(hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The new form, as JSON. https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto"""

    body: bytes


async def signatures_of(registry: Registry, digest: str) -> AsyncIterator[Simple | Bundle]:
    """Yield what has been put beside an artifact, bundles first, whatever it is worth. Raises RegistryError."""
    referring = [each for each in await registry.referrers(digest) if not each.artifact_type or each.artifact_type.startswith(BUNDLE)]
    for each in referring[:MOST_SIGNATURES]:
        found = await registry.manifest(each.digest)
        if found.layers and found.layers[0].media_type.startswith(BUNDLE):
            yield Bundle(body=await registry.small_blob(found.layers[0], most=MOST_BYTES))
    try:
        signed = await registry.manifest(await registry.digest_of(f"{digest.replace(':', '-')}.sig"))
    except RegistryError as error:
        if error.status != 404:
            raise
        return
    for layer in signed.layers[:MOST_SIGNATURES]:
        if SIGNATURE in layer.annotations:
            payload = await registry.small_blob(layer, most=MOST_BYTES)
            yield Simple(payload=payload, signature=layer.annotations[SIGNATURE], annotations=layer.annotations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What a bundle has signed. https://github.com/secure-systems-lab/dsse/blob/master/envelope.md"""

    kind: str
    payload: bytes
    signatures: tuple[bytes, ...]

    @classmethod
    def of(cls, bundle: Bundle) -> "Envelope":
        """Raises NotVerified."""
        try:
            found = json.loads(bundle.body)["dsseEnvelope"]
            signatures = tuple(base64.b64decode(each["sig"], validate=True) for each in found["signatures"])
            return cls(kind=str(found["payloadType"]), payload=base64.b64decode(found["payload"], validate=True), signatures=signatures)
        except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
            raise NotVerified("the bundle holds no signed statement") from error

    @property
    def signed(self) -> bytes:
        """The bytes that the signatures are of."""
        return b"DSSEv1 %d %s %d %s" % (len(self.kind.encode()), self.kind.encode(), len(self.payload), self.payload)


def check_statement(kind: str, statement: bytes, digest: str) -> None:
    """Return if a statement, whose signature is good, speaks for the artifact: it is a signature or says who built it.

    Others, such as the findings of a scan, are signed too and approve of nothing. Raises NotVerified.
    """
    try:
        found: Any = json.loads(statement)
        subjects = [str(each["digest"].get("sha256")) for each in found["subject"]]
        predicate = str(found["predicateType"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NotVerified("the signed statement does not have the form of one") from error
    if kind != _STATEMENT or not str(found.get("_type")).startswith("https://in-toto.io/Statement/"):
        raise NotVerified("what is signed is no in-toto statement")
    if digest.removeprefix("sha256:") not in subjects:
        raise NotVerified("the signed statement is about another artifact")
    if predicate != _SIGNS and not predicate.startswith(_BUILDS):
        raise NotVerified(f"the signed statement is neither a signature nor a provenance, but '{predicate[:100]}'")


def check_payload(payload: bytes, digest: str) -> None:
    """Return if a payload of the old form is cosign's and speaks of the digest. Raises NotVerified."""
    try:
        critical = json.loads(payload)["critical"]
        kind, named = critical["type"], critical["image"]["docker-manifest-digest"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise NotVerified("what is signed does not have the form of a signature's payload") from error
    if kind not in ("cosign container image signature", "atomic container signature") or named != digest:
        raise NotVerified("the signature is about another artifact")
