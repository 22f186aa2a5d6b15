"""Signatures that cosign has put beside an artifact: public keys and a digest in, whether one of the signatures is good out.

The form with keys: a tag `sha256-<hex>.sig` in the same repository, whose layers are payloads that name the digest, each with its
signature in an annotation. The transparency log is not asked, as Flux does with keys.
https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from service.sources.manifests import RegistryError
from service.sources.registry import Registry

ANNOTATION = "dev.cosignproject.cosign/signature"
MOST_SIGNATURES = 50
MOST_PAYLOAD_BYTES = 64 * 1024
Key = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey


class NotVerified(Exception):
    """No signature is good; the message says why."""


def keys_of(data: Mapping[str, bytes]) -> tuple[Key, ...]:
    """Return the keys of a Secret's decoded data: all entries whose name ends in `.pub`. Raises NotVerified."""
    found: list[Key] = []
    for name in sorted(data):
        if not name.endswith(".pub"):
            continue
        try:
            key = load_pem_public_key(data[name])
        except (ValueError, UnsupportedAlgorithm) as error:
            raise NotVerified(f"the key '{name}' holds no public key in PEM form") from error
        if not isinstance(key, Key):
            raise NotVerified(f"the key '{name}' is of a kind that does not sign")
        found.append(key)
    if not found:
        raise NotVerified("the Secret has no key whose name ends in .pub")
    return tuple(found)


async def verify(registry: Registry, digest: str, keys: Sequence[Key]) -> None:
    """Return if one signature of one key is good for the digest. Raises NotVerified, RegistryError."""
    try:
        manifest = await registry.manifest(await registry.digest_of(f"{digest.replace(':', '-')}.sig"))
    except RegistryError as error:
        if error.status != 404:
            raise
        raise NotVerified("no signatures found") from error
    for layer in manifest.layers[:MOST_SIGNATURES]:
        signature = layer.annotations.get(ANNOTATION)
        if signature is None:
            continue
        payload = await registry.small_blob(layer, most=MOST_PAYLOAD_BYTES)
        if names(payload, digest) and any(is_good(key, signature, payload) for key in keys):
            return
    raise NotVerified("no matching signatures")


def names(payload: bytes, digest: str) -> bool:
    """Whether a payload is cosign's and speaks of the digest."""
    try:
        critical = json.loads(payload)["critical"]
        kind, named = critical["type"], critical["image"]["docker-manifest-digest"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    return kind in ("cosign container image signature", "atomic container signature") and bool(named == digest)


def is_good(key: Key, signature: str, payload: bytes) -> bool:
    """Whether a base64 signature of the payload is by the key."""
    try:
        raw = base64.b64decode(signature, validate=True)
        match key:
            case ec.EllipticCurvePublicKey():
                key.verify(raw, payload, ec.ECDSA(hashes.SHA256()))
            case rsa.RSAPublicKey():
                key.verify(raw, payload, padding.PKCS1v15(), hashes.SHA256())
            case ed25519.Ed25519PublicKey():
                key.verify(raw, payload)
    except (binascii.Error, InvalidSignature):
        return False
    return True
