"""Signatures of the Notary Project: a trust policy, certificates and a digest in, who has signed out.

What a level enforces must hold; what it logs is told. Revocation is not looked up: where a policy enforces it, certificates that name a
list or a responder are refused. https://github.com/notaryproject/specifications/blob/main/specs/trust-store-trust-policy.md#signature-verification
and https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/ocirepositories.md#notation
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from cryptography.x509 import Certificate, load_der_x509_certificate, load_pem_x509_certificates

from service.sources.manifests import DIGEST
from service.sources.notationchain import is_revocable, subject_of
from service.sources.notationenvelope import AUTHORITY, Envelope, read
from service.sources.registry import Registry
from service.sources.signatures import MOST_BYTES, MOST_SIGNATURES, NotVerified, Outcome
from service.sources.trustpolicy import KEY, Statement, names_of, statement_for

SIGNATURE = "application/vnd.cncf.notary.signature"


def certificates_of(data: Mapping[str, bytes]) -> tuple[Certificate, ...]:
    """Return the certificates of a Secret's decoded data: all entries `*.crt` and `*.pem`. Raises NotVerified."""
    found: list[Certificate] = []
    for name in sorted(data):
        if name.endswith((".crt", ".pem")):
            try:
                is_text = b"-----BEGIN" in data[name]
                found += load_pem_x509_certificates(data[name]) if is_text else [load_der_x509_certificate(data[name])]
            except ValueError as error:
                raise NotVerified(f"the key '{name}' holds no certificate") from error
    if not found:
        raise NotVerified("the Secret has no key whose name ends in .crt or .pem")
    return tuple(found)


async def verify(registry: Registry, repository: str, digest: str, data: Mapping[str, bytes]) -> Outcome:
    """Return who has signed; not verified where the policy asks for no signature. Raises NotVerified, RegistryError."""
    if KEY not in data:
        raise NotVerified(f"the Secret has no key '{KEY}'")
    statement, trusted = statement_for(data[KEY], repository), certificates_of(data)
    if statement.is_skipped:
        return Outcome(words=f"the statement '{statement.name}' of '{KEY}' skips signatures", is_verified=False)
    why = "no signatures found"
    referring = [each for each in await registry.referrers(digest) if each.artifact_type == SIGNATURE]
    for each in referring[:MOST_SIGNATURES]:
        layers = (await registry.manifest(each.digest)).layers
        try:
            if len(layers) != 1:
                raise NotVerified("a manifest does not hold one signature")
            envelope = read(layers[0].media_type, await registry.small_blob(layers[0], most=MOST_BYTES))
            return judge(envelope, digest, statement, trusted, datetime.now(UTC))
        except NotVerified as error:
            why = f"no matching signatures: {error}"
    raise NotVerified(why)


def judge(envelope: Envelope, digest: str, statement: Statement, trusted: Sequence[Certificate], now: datetime) -> Outcome:
    """Return what the policy makes of a signature. Raises NotVerified."""
    if not DIGEST.fullmatch(envelope.digest) or envelope.digest != digest:
        raise NotVerified("the signature is about another artifact")
    checks: dict[str, Callable[[], None]] = {
        "authenticity": lambda: _check_authenticity(envelope, statement, trusted),
        "expiry": lambda: _check_expiry(envelope, now),
        "authenticTimestamp": lambda: _check_times(envelope, now),
        "revocation": lambda: _check_revocation(envelope),
    }
    logged: dict[str, str] = {}
    for check, holds in checks.items():
        if statement.actions[check] == "skip":
            continue
        try:
            holds()
        except NotVerified as error:
            if statement.actions[check] == "enforce":
                raise
            logged[check] = str(error)
    told = "".join(f"; only logged: {each}" for each in logged.values())
    return Outcome(words=f"signed by {subject_of(envelope.certificates[0])}{told}", is_verified="authenticity" not in logged)


def _check_authenticity(envelope: Envelope, statement: Statement, trusted: Sequence[Certificate]) -> None:
    store = "signingAuthority" if envelope.scheme == AUTHORITY else "ca"
    if store not in statement.stores or not set(trusted) & set(envelope.certificates):
        raise NotVerified(f"the certificate '{subject_of(envelope.certificates[0])}' does not come from one that the Secret holds")
    if statement.identities is not None and not statement.names(names_of(envelope.certificates[0].subject)):
        raise NotVerified(f"signed by '{subject_of(envelope.certificates[0])}', whom trustedIdentities of '{KEY}' does not name")


def _check_expiry(envelope: Envelope, now: datetime) -> None:
    if envelope.expires_at is not None and now >= envelope.expires_at:
        raise NotVerified(f"the signature has expired on {envelope.expires_at:%Y-%m-%d}")


def _check_times(envelope: Envelope, now: datetime) -> None:
    moment = envelope.signed_at if envelope.scheme == AUTHORITY else now
    for each in envelope.certificates:
        if not each.not_valid_before_utc <= moment <= each.not_valid_after_utc:
            raise NotVerified(f"the certificate '{subject_of(each)}' is not valid on {moment:%Y-%m-%d}")


def _check_revocation(envelope: Envelope) -> None:
    if is_revocable(envelope.certificates):
        why = "set signatureVerification.override.revocation to log or skip"
        raise NotVerified(f"whether '{subject_of(envelope.certificates[0])}' was revoked is not looked up by this version; {why}")
