"""OpenPGP signatures: an armoured or clear-signed one and trusted keys in, the key id of the signer out. Blocking, a few milliseconds.

By Sequoia (the extra `openpgp`): the one maintained OpenPGP library for Python that works in process and has wheels. Its rules for
algorithms hold (SHA-1 and MD5 are refused), and on top of them Flux's: what is expired or revoked now does not count, also for what it
signed before. https://www.rfc-editor.org/rfc/rfc9580
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from service.sources.armour import MOST_BYTES, SignatureRefused

if TYPE_CHECKING:
    from pysequoia import Cert, Sig

T = TypeVar("T")
MISSING = "OpenPGP signatures need the extra openpgp: pip install 'sluice-gitops[openpgp]'"


@dataclass(frozen=True, slots=True)
class Cleartext:
    """A clear-signed message that is good: its text, and by which key."""

    text: bytes
    signer: str


def signer(signature: bytes, message: bytes, rings: Mapping[str, bytes]) -> str:
    """Return the id of the primary key whose detached signature this is. `rings`: the keys by their name. Raises SignatureRefused."""
    if len(signature) > MOST_BYTES:
        raise SignatureRefused(f"the OpenPGP signature is larger than {MOST_BYTES:,} bytes")
    pgp = _library()
    found: Sig = _read(pgp.Sig.from_bytes, signature, "the OpenPGP signature cannot be read")
    (certs, note), by = _certs(rings), (found.issuer_fingerprint or found.issuer_key_id or "")
    said = f"the OpenPGP signature by {_short(by)} is not of this content, or its key did not count when it was made"
    if not any(fingerprint.endswith(by) for cert in certs for fingerprint in _read(_keys, cert, said)):
        said = f"it is signed with the OpenPGP key {_short(by)}, which is not among the trusted keys"
    return _counted(_verified({"bytes": message, "signature": found}, certs, said + note), certs)


def cleartext(message: bytes, rings: Mapping[str, bytes]) -> Cleartext:
    """Return what a clear-signed message says. Raises SignatureRefused."""
    certs, note = _certs(rings)
    result = _verified({"bytes": message}, certs, f"no trusted OpenPGP key has signed exactly this{note}")
    return Cleartext(result.bytes or b"", _counted(result, certs))


def _library() -> Any:
    try:
        import pysequoia
    except ImportError as error:
        raise SignatureRefused(MISSING) from error
    return pysequoia


def _read(work: Callable[[T], Any], data: T, said: str) -> Any:
    try:
        return work(data)
    except BaseException as error:  # noqa: BLE001 - RuntimeError for all that is wrong, with a backtrace in its text
        _own(error)
        raise SignatureRefused(f"{said}: {(str(error).splitlines() or [''])[0][:200]}") from None


def _certs(rings: Mapping[str, bytes]) -> tuple[list["Cert"], str]:
    """The keys, and what to say of entries that hold none, as Flux passes them over. Raises SignatureRefused where there is no key."""
    split, note = _library().Cert.split_bytes, ""
    found: list[Cert] = []
    for name, ring in sorted(rings.items()):
        said = f"the key '{name}' holds no OpenPGP public keys"
        try:
            certs = _read(split, ring, said)
        except SignatureRefused as error:
            certs, said = [], str(error)
        found += certs
        note += "" if certs else f"; {said}"
    if not found:
        raise SignatureRefused(note.removeprefix("; ") or "there are no trusted OpenPGP keys")
    return found, note


def _keys(cert: "Cert") -> list[str]:
    from pysequoia.packet import PacketPile

    return [packet.fingerprint for packet in PacketPile.from_bytes(bytes(cert)) if packet.fingerprint]


def _verified(what: Mapping[str, Any], certs: list["Cert"], said: str) -> Any:
    def wanted(_ids: list[str]) -> list["Cert"]:
        return certs

    try:
        return _library().verify(store=wanted, **what)
    except BaseException as error:  # noqa: BLE001 - RuntimeError for all that is wrong
        _own(error)
        raise SignatureRefused(said) from None


def _own(error: BaseException) -> None:
    """Return if the error is the library's: a panic of its Rust code is no Exception, and nobody above would catch it."""
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        raise error


def _counted(result: Any, certs: Iterable["Cert"]) -> str:
    """The id of the first signer whose key counts now. Raises SignatureRefused."""
    why = "it has no valid signature"
    for each in result.valid_sigs:
        cert = next(cert for cert in certs if cert.fingerprint == each.certificate)
        name = _short(cert.fingerprint)
        flaw = _read(partial(_flaw, signing_key=each.signing_key), cert, f"the OpenPGP key {name} cannot be judged")
        if not flaw:
            return name
        why = f"it is signed with the OpenPGP key {name}, which {flaw}"
    raise SignatureRefused(why)


def _flaw(cert: "Cert", signing_key: str) -> str:
    """Why a key does not count now, "" where it does. Only the newest word on a subkey holds, and a revocation of it always."""
    now = datetime.now(UTC)
    if cert.is_revoked:
        return "is revoked"
    if cert.expiration is not None and cert.expiration <= now:
        return f"has expired on {cert.expiration:%Y-%m-%d}"
    if signing_key == cert.fingerprint:
        return ""
    bound = _Subkey.of(cert, signing_key)
    if bound.revoked:
        return f"has revoked its subkey {_short(signing_key)}"
    if bound.until is not None and bound.until <= now:
        return f"has a subkey {_short(signing_key)} that has expired on {bound.until:%Y-%m-%d}"
    return ""


@dataclass(frozen=True, slots=True)
class _Subkey:
    """What a certificate says of one of its subkeys, which Sequoia has checked for the time of the signature alone."""

    revoked: bool
    until: datetime | None

    @classmethod
    def of(cls, cert: "Cert", fingerprint: str) -> "_Subkey":
        from pysequoia.packet import PacketPile, SignatureType, Tag

        revoked, until, newest, created, inside = False, None, datetime.min.replace(tzinfo=UTC), None, False
        for packet in PacketPile.from_bytes(bytes(cert)):
            if packet.tag == Tag.PublicSubkey or packet.tag == Tag.SecretSubkey:
                inside, created = packet.fingerprint == fingerprint, packet.key_created
            elif inside and packet.tag == Tag.Signature:
                revoked |= packet.signature_type == SignatureType.SubkeyRevocation
                made = packet.signature_created
                if packet.signature_type == SignatureType.SubkeyBinding and made is not None and made >= newest:
                    newest, lasts = made, packet.key_validity_period
                    until = created + lasts if created is not None and lasts else None
        return cls(revoked, until)


def _short(fingerprint: str) -> str:
    """The key id by which people and Flux name a key."""
    return fingerprint[-16:].upper()
