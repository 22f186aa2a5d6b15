"""SSH signatures: an armoured signature, what it should be of, and trusted public keys in; the fingerprint of the signer out.

The namespace keeps signatures for one purpose from counting for another; Git's is "git". Keys are lines as in authorized_keys. Strict: the
key inside the signature must be one of the trusted ones byte by byte, and nothing may be left over.
https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.sshsig and PROTOCOL.u2f (keys of security tokens)
"""

import base64
import binascii
import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from service.sources.armour import MOST_BYTES, SSH, SignatureRefused

_END = b"-----END SSH SIGNATURE-----"
_MAGIC = b"SSHSIG"
_HASHES = {b"sha256": hashlib.sha256, b"sha512": hashlib.sha512}
_RSA: dict[bytes, hashes.HashAlgorithm] = {b"rsa-sha2-256": hashes.SHA256(), b"rsa-sha2-512": hashes.SHA512()}
_CURVES: dict[bytes, tuple[ec.EllipticCurve, hashes.HashAlgorithm]] = {
    b"nistp256": (ec.SECP256R1(), hashes.SHA256()),
    b"nistp384": (ec.SECP384R1(), hashes.SHA384()),
    b"nistp521": (ec.SECP521R1(), hashes.SHA512()),
}
_ECDSA = b"ecdsa-sha2-"
_TOKEN = b"@openssh.com"
_TYPES = (b"ssh-ed25519", b"ssh-rsa", *(_ECDSA + curve for curve in _CURVES))
_TOKEN_TYPES = (b"sk-ssh-ed25519" + _TOKEN, b"sk-ecdsa-sha2-nistp256" + _TOKEN)
_LIMITS = ("cert-authority", "expiry-time=", "valid-after=", "valid-before=", "namespaces=")
"""Options of a key that say when it does not count."""
Public = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A trusted key. `blob` is it as SSH writes it; `application` is of keys that live in a security token, b"" for others."""

    blob: bytes
    type: bytes
    public: Public
    application: bytes = b""


def fingerprint(blob: bytes) -> str:
    """Return a key's fingerprint as `ssh-keygen -l` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def keys_in(text: bytes, name: str) -> tuple[PublicKey, ...]:
    """Return the keys of one entry of a Secret, a key a line. Raises SignatureRefused, which says where a line cannot be read."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith(b"#"):
            continue
        try:
            found.append(_key_in(words))
        except (_Malformed, ValueError, UnsupportedAlgorithm) as error:
            raise SignatureRefused(f"line {number} of the key '{name}' holds no public SSH key that can be used: {error}") from error
    return tuple(found)


def signer(signature: bytes, message: bytes, keys: Iterable[PublicKey], *, namespace: str) -> str:
    """Return the fingerprint of the trusted key that has signed the message. Raises SignatureRefused."""
    try:
        blob, signed, bare = _opened(signature, message, namespace.encode())
        by = fingerprint(blob)
        key = next((each for each in keys if each.blob == blob), None)
        if key is None:
            raise SignatureRefused(f"it is signed with the SSH key {by}, which is not among the trusted keys")
        _check(key, _Reader(bare), signed)
    except (_Malformed, ValueError) as error:
        raise SignatureRefused(f"the SSH signature cannot be read: {error}") from error
    except InvalidSignature as error:
        raise SignatureRefused(f"the SSH signature by {by} is not of this content") from error
    return by


class _Malformed(Exception):
    """Bytes that are not what the format says."""


class _Reader:
    """Reads SSH's wire format, https://www.rfc-editor.org/rfc/rfc4251#section-5."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        if size > len(self._data) - self._at:
            raise _Malformed("it ends too early")
        self._at += size
        return self._data[self._at - size : self._at]

    def string(self) -> bytes:
        (size,) = struct.unpack(">I", self.take(4))
        return self.take(size)

    def number(self) -> int:
        """A positive mpint."""
        raw = self.string()
        if not raw or raw[0] >= 0x80 or (raw[0] == 0 and (len(raw) == 1 or raw[1] < 0x80)):
            raise _Malformed("a number is not written as SSH writes positive ones")
        return int.from_bytes(raw, "big")

    def end(self) -> None:
        if self._at != len(self._data):
            raise _Malformed("something is left over")


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _base64(text: bytes) -> bytes:
    try:
        found = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise _Malformed("it is not base64") from error
    if base64.b64encode(found) != text:
        raise _Malformed("its base64 has stray bits")
    return found


def _opened(signature: bytes, message: bytes, namespace: bytes) -> tuple[bytes, bytes, bytes]:
    """The key that an armoured signature names, what was really signed, and the bare signature of that."""
    lines = signature.strip().split(b"\n")
    if len(signature) > MOST_BYTES or len(lines) < 3 or lines[0] != SSH or lines[-1] != _END:
        raise _Malformed("it has not its first and last line")
    blob = _Reader(_base64(b"".join(lines[1:-1])))
    if blob.take(len(_MAGIC)) != _MAGIC or blob.take(4) != b"\0\0\0\1":
        raise _Malformed("it is not of version 1")
    key, given, reserved, algorithm, bare = (blob.string() for _ in range(5))
    blob.end()
    if given != namespace:
        raise _Malformed(f"it was not made for the namespace {namespace.decode()}")
    if reserved or algorithm not in _HASHES:
        raise _Malformed("it uses something else than sha256 or sha512")
    digest = _HASHES[algorithm](message).digest()
    return key, _MAGIC + b"".join(_string(part) for part in (namespace, reserved, algorithm, digest)), bare


def _check(key: PublicKey, signature: _Reader, signed: bytes) -> None:
    """Raises InvalidSignature, _Malformed, ValueError."""
    form, raw = signature.string(), signature.string()
    if key.application:
        signed = hashlib.sha256(key.application).digest() + signature.take(5) + hashlib.sha256(signed).digest()  # 5: flags, counter
    signature.end()
    match key.public:
        case rsa.RSAPublicKey() as public if form in _RSA:
            public.verify(raw, signed, padding.PKCS1v15(), _RSA[form])
        case ed25519.Ed25519PublicKey() as public if form == key.type:
            public.verify(raw, signed)
        case ec.EllipticCurvePublicKey() as public if form == key.type:
            numbers = _Reader(raw)
            r, s = numbers.number(), numbers.number()
            numbers.end()
            name = key.type.removesuffix(_TOKEN).rpartition(b"-")[2]
            public.verify(encode_dss_signature(r, s), signed, ec.ECDSA(_CURVES[name][1]))
        case _:
            raise _Malformed(f"signatures {form.decode(errors='replace')!r} are not for such a key")


def _key_in(words: list[bytes]) -> PublicKey:
    """A key from the words of a line: options or principals may stand before it."""
    at = next((at for at, word in enumerate(words[:2]) if word in (*_TYPES, *_TOKEN_TYPES)), None)
    if at is None or len(words) < at + 2:
        raise _Malformed("a line is TYPE BASE64, of a type " + ", ".join(each.decode() for each in (*_TYPES, *_TOKEN_TYPES)))
    limits = [each for each in _LIMITS if each.encode() in words[0].lower()] if at else []
    if limits:
        raise _Malformed(f"the option {limits[0].rstrip('=')} is not carried out; remove the line or the option")
    blob = _base64(words[at + 1])
    reader = _Reader(blob)
    if reader.string() != words[at]:
        raise _Malformed("its type is not what is written before it")
    return _public(blob, words[at], reader)


def _public(blob: bytes, kind: bytes, reader: _Reader) -> PublicKey:
    public: Public
    if kind == b"ssh-rsa":
        exponent, modulus = reader.number(), reader.number()
        public = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    elif kind.endswith(b"ssh-ed25519") or kind.startswith(b"sk-ssh-ed25519"):
        public = ed25519.Ed25519PublicKey.from_public_bytes(reader.string())
    else:
        name = reader.string()
        if _ECDSA + name != kind.removeprefix(b"sk-").removesuffix(_TOKEN):
            raise _Malformed("its curve is not that of its type")
        public = ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[name][0], reader.string())
    application = reader.string() if kind in _TOKEN_TYPES else b""
    if kind in _TOKEN_TYPES and not application:
        raise _Malformed("it names no application")
    reader.end()
    return PublicKey(blob=blob, type=kind, public=public, application=application)
