"""Signatures of cosign by key: public keys and a digest in, whether one of the signatures beside the artifact is good out.

The transparency log is not asked, as Flux does with keys. https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
"""

import base64
import binascii
from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from service.sources.registry import Registry
from service.sources.signatures import Bundle, Envelope, NotVerified, Simple, check_payload, check_statement, signatures_of

Key = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey


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
    why = "no signatures found"
    async for each in signatures_of(registry, digest):
        try:
            check(each, digest, keys)
        except NotVerified as error:
            why = f"no matching signatures: {error}"
        else:
            return
    raise NotVerified(why)


def check(found: Simple | Bundle, digest: str, keys: Sequence[Key]) -> None:
    """Return if a signature is good, by one of the keys, and speaks for the digest. Raises NotVerified."""
    if isinstance(found, Bundle):
        envelope = Envelope.of(found)
        if not any(is_good(key, each, envelope.signed) for key in keys for each in envelope.signatures):
            raise NotVerified("a bundle is not signed by one of the keys")
        check_statement(envelope.kind, envelope.payload, digest)
        return
    try:
        signature = base64.b64decode(found.signature, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NotVerified("a signature is not base64") from error
    if not any(is_good(key, signature, found.payload) for key in keys):
        raise NotVerified("a signature is not by one of the keys")
    check_payload(found.payload, digest)


def is_good(key: Key, signature: bytes, signed: bytes) -> bool:
    """Whether a signature of some bytes is by the key."""
    try:
        match key:
            case ec.EllipticCurvePublicKey():
                key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
            case rsa.RSAPublicKey():
                key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
            case ed25519.Ed25519PublicKey():
                key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True
