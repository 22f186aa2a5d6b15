"""Certificates of Notary Project signatures: the rules that a chain of code signing keeps, and what is trusted of it.

https://github.com/notaryproject/specifications/blob/main/specs/signature-specification.md#certificate-requirements
"""

from collections.abc import Sequence
from typing import TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.x509 import (
    AuthorityInformationAccess,
    BasicConstraints,
    Certificate,
    CRLDistributionPoints,
    ExtendedKeyUsage,
    ExtensionNotFound,
    ExtensionType,
    KeyUsage,
)
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from service.sources.signatures import NotVerified

T = TypeVar("T", bound=ExtensionType)
_OTHER_USES = {
    ExtendedKeyUsageOID.SERVER_AUTH,
    ExtendedKeyUsageOID.CLIENT_AUTH,
    ExtendedKeyUsageOID.EMAIL_PROTECTION,
    ExtendedKeyUsageOID.TIME_STAMPING,
    ExtendedKeyUsageOID.OCSP_SIGNING,
}


def check_chain(chain: Sequence[Certificate]) -> None:
    """From the leaf to a root that has signed itself; times are not looked at. Raises NotVerified."""
    for at, each in enumerate(chain):
        is_last = at == len(chain) - 1
        issuer = each if is_last else chain[at + 1]
        if not _is_by(each, issuer) or (not is_last and _is_by(each, each)):
            raise NotVerified(f"the certificate '{subject_of(each)}' is not issued by the next one, or the chain does not end at a root")
        if at == 0:
            _check_leaf(each)
        else:
            _check_authority(each, at - 1)


def is_revocable(chain: Sequence[Certificate]) -> bool:
    """Whether somebody could have revoked one of the certificates, the root apart."""
    return any(_names_a_list(each) for each in chain[:-1] or chain)


def subject_of(certificate: Certificate) -> str:
    """The name of a certificate's owner, for people."""
    return certificate.subject.rfc4514_string()[:200]


def _names_a_list(certificate: Certificate) -> bool:
    access = _extension(certificate, AuthorityInformationAccess)
    asked = access is not None and any(each.access_method == AuthorityInformationAccessOID.OCSP for each in access)
    return asked or _extension(certificate, CRLDistributionPoints) is not None


def _is_by(certificate: Certificate, issuer: Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _check_leaf(leaf: Certificate) -> None:
    constraints, usage = _extension(leaf, BasicConstraints), _usage(leaf)
    others = (usage.key_encipherment, usage.data_encipherment, usage.key_agreement, usage.key_cert_sign, usage.crl_sign)
    extended = _extension(leaf, ExtendedKeyUsage)
    if not usage.digital_signature or any(others) or (constraints is not None and constraints.ca):
        raise NotVerified(f"the certificate '{subject_of(leaf)}' is not for signatures alone")
    if extended is not None and _OTHER_USES & set(extended):
        raise NotVerified(f"the certificate '{subject_of(leaf)}' is for something else than signing code")


def _check_authority(certificate: Certificate, below: int) -> None:
    constraints = _extension(certificate, BasicConstraints)
    if constraints is None or not constraints.ca or not _usage(certificate).key_cert_sign:
        raise NotVerified(f"the certificate '{subject_of(certificate)}' is not that of an authority")
    if constraints.path_length is not None and constraints.path_length < below:
        raise NotVerified(f"the certificate '{subject_of(certificate)}' does not allow so long a chain")


def _usage(certificate: Certificate) -> KeyUsage:
    try:
        found = certificate.extensions.get_extension_for_class(KeyUsage)
    except (ExtensionNotFound, ValueError) as error:
        raise NotVerified(f"the certificate '{subject_of(certificate)}' does not say what its key is for") from error
    if not found.critical:
        raise NotVerified(f"the certificate '{subject_of(certificate)}' does not bind what its key is for")
    return found.value


def _extension(certificate: Certificate, kind: type[T]) -> T | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except ExtensionNotFound:
        return None
