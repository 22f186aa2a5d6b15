"""Envelopes of Notary Project signatures, as JWS or COSE: bytes in, what was signed, when and by which certificates out.

The signature is checked with the first certificate, and the certificates form a chain of code signing; whether it ends at somebody who is
trusted is not said here. https://github.com/notaryproject/specifications/blob/main/specs/signature-specification.md
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509 import Certificate, DuplicateExtension, InvalidVersion, UnsupportedGeneralNameType, load_der_x509_certificate

from service.sources.cbor import BadCbor, Tagged, decode
from service.sources.notationchain import check_chain
from service.sources.signatures import NotVerified

JWS, COSE = "application/jose+json", "application/cose"
AUTHORITY = "notary.x509.signingAuthority"
_PAYLOAD = "application/vnd.cncf.notary.payload.v1+json"
_SCHEME, _TIME, _AUTHENTIC_TIME, _EXPIRY, _PLUGIN = (
    f"io.cncf.notary.{name}" for name in ("signingScheme", "signingTime", "authenticSigningTime", "expiry", "verificationPlugin")
)
_HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_COSE_NAMES = {-7: "ES256", -35: "ES384", -36: "ES512", -37: "PS256", -38: "PS384", -39: "PS512"}
_KEYS = {
    ("RSA", 2048): "PS256",
    ("RSA", 3072): "PS384",
    ("RSA", 4096): "PS512",
    ("EC", 256): "ES256",
    ("EC", 384): "ES384",
    ("EC", 521): "ES512",
}

_MALFORMED = (
    ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError, binascii.Error, UnsupportedAlgorithm,
    InvalidVersion, DuplicateExtension, UnsupportedGeneralNameType,
)  # fmt: skip
"""What reading raises where the bytes are not what they should be; a certificate's parser has errors of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A signature that is good by its own certificates. `signed_at` is proven with the scheme of signing authorities alone."""

    digest: str
    scheme: str
    signed_at: datetime
    expires_at: datetime | None
    certificates: tuple[Certificate, ...]


def read(media_type: str, body: bytes) -> Envelope:
    """Raises NotVerified."""
    try:
        match media_type:
            case "application/jose+json":
                return _jws(body)
            case "application/cose":
                return _cose(body)
    except _MALFORMED as error:
        raise NotVerified("a signature does not have the form of one") from error
    raise NotVerified(f"a signature has a form that is not known: {media_type[:100]}")


def _jws(body: bytes) -> Envelope:
    found = json.loads(body)
    header = json.loads(_unpadded(found["protected"]))
    chain = tuple(load_der_x509_certificate(base64.b64decode(each, validate=True)) for each in found["header"]["x5c"])
    signed = f"{found['protected']}.{found['payload']}".encode()
    _check_signature(chain, str(header["alg"]), _unpadded(found["signature"]), signed)
    times = {name: datetime.fromisoformat(header[name]) for name in (_TIME, _AUTHENTIC_TIME, _EXPIRY) if name in header}
    return _envelope({**header, **times}, header["crit"], header["cty"], _unpadded(found["payload"]), chain)


def _cose(body: bytes) -> Envelope:
    found = decode(body)
    protected, unprotected, payload, signature = found.value
    header, certificates = decode(protected), unprotected[33]
    chain = tuple(load_der_x509_certificate(each) for each in certificates)
    if found.tag != 18 or not isinstance(header, dict):
        raise BadCbor("it is no COSE_Sign1")
    signed = b"\x84\x6aSignature1" + _cbor_bytes(protected) + b"\x40" + _cbor_bytes(payload)
    _check_signature(chain, _COSE_NAMES[header[1]], signature, signed)
    times = {name: _epoch(header[name]) for name in (_TIME, _AUTHENTIC_TIME, _EXPIRY) if name in header}
    return _envelope({**header, **times}, header[2], header[3], payload, chain)


def _envelope(header: Mapping[Any, Any], critical: list[Any], content: str, payload: bytes, chain: tuple[Certificate, ...]) -> Envelope:
    """What both forms say. Raises NotVerified, ValueError and the like."""
    scheme = header[_SCHEME]
    if _PLUGIN in header:
        raise NotVerified("a signature asks for a verification plugin, which is not carried out")
    time = {"notary.x509": _TIME, AUTHORITY: _AUTHENTIC_TIME}[scheme]
    must = {_SCHEME, *([_EXPIRY] if _EXPIRY in header else []), *([_AUTHENTIC_TIME] if scheme == AUTHORITY else [])}
    if set(critical) != must or content != _PAYLOAD or not {_TIME, _AUTHENTIC_TIME} & set(header) == {time}:
        raise NotVerified("a signature has critical attributes that are not known, or lacks one")
    signed_at, expires_at = header[time], header.get(_EXPIRY)
    if signed_at.tzinfo is None or (expires_at is not None and expires_at <= signed_at):
        raise NotVerified("a signature expires before it was made")
    check_chain(chain)
    target = json.loads(payload)["targetArtifact"]
    return Envelope(digest=str(target["digest"]), scheme=scheme, signed_at=signed_at, expires_at=expires_at, certificates=chain)


def _check_signature(chain: tuple[Certificate, ...], algorithm: str, signature: bytes, signed: bytes) -> None:
    """By the first certificate, with the one algorithm that its key is for. Raises NotVerified, IndexError."""
    if not chain:
        raise NotVerified("a signature comes without certificates")
    key = chain[0].public_key()
    kind = "RSA" if isinstance(key, rsa.RSAPublicKey) else "EC"
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) or _KEYS.get((kind, key.key_size)) != algorithm:
        raise NotVerified("a signature's algorithm is not that of its certificate")
    hashed = _HASHES[algorithm[2:]]
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signed, padding.PSS(padding.MGF1(hashed), padding.PSS.AUTO), hashed)
        else:
            half = (key.key_size + 7) // 8
            if len(signature) != 2 * half:
                raise InvalidSignature
            pair = encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))
            key.verify(pair, signed, ec.ECDSA(hashed))
    except InvalidSignature as error:
        raise NotVerified("a signature is not by its certificate, or what is signed was changed") from error


def _unpadded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _cbor_bytes(content: bytes) -> bytes:
    size = len(content)
    if size < 24:
        return bytes([0x40 + size]) + content
    length = 1 if size < 2**8 else 2 if size < 2**16 else 4
    return bytes([0x57 + length.bit_length()]) + size.to_bytes(length, "big") + content


def _epoch(found: Tagged) -> datetime:
    if found.tag != 1 or not isinstance(found.value, int):
        raise BadCbor("a time is none")
    return datetime.fromtimestamp(found.value, UTC)
