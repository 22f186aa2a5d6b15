"""The check of signatures without a key, by sigstore's library; to be imported in a process of its own alone.

In: signatures, a digest, who may have signed, and a trusted root. Out: who has signed. The library checks the certificate's chain to the
root at the time that the log or a timestamp proves, the certificate's own log (SCT), the entry of the transparency log and the signature.
The old form brings the log's promise (SET) and no proof of inclusion, which the library insists on, so that one step is taken differently
for it. https://github.com/sigstore/sigstore-python and https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
"""

import base64
import hashlib
import json
import tempfile
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import (
    Certificate,
    ExtensionNotFound,
    ObjectIdentifier,
    OtherName,
    RFC822Name,
    SubjectAlternativeName,
    UniformResourceIdentifier,
    UnrecognizedExtension,
    load_der_x509_certificate,
    load_pem_x509_certificate,
)
from sigstore import models
from sigstore._internal.trust import RekorKeyring
from sigstore.errors import VerificationError
from sigstore.verify import Verifier

from service.kinds.oci import OIDCIdentity
from service.kustomize.selectors import go_regexp
from service.sources.signatures import Bundle, NotVerified, Simple, check_payload, check_statement

CERTIFICATE, LOGGED = "dev.sigstore.cosign/certificate", "dev.sigstore.cosign/bundle"
_ISSUER, _OLD_ISSUER = ObjectIdentifier("1.3.6.1.4.1.57264.1.8"), ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_OTHER_NAME = ObjectIdentifier("1.3.6.1.4.1.57264.1.7")


def check(found: Sequence[Simple | Bundle], digest: str, identities: Sequence[OIDCIdentity], root: bytes | None) -> str:
    """Return who has signed the artifact, as `subject (issuer)`. Raises NotVerified."""
    verifier, why = _verifier(root), "no signatures found"
    for each in found:
        signer = _Signer(identities)
        try:
            _checked(verifier, each, digest, signer)
        except NotVerified as error:
            why = f"no matching signatures: {error}"
        except VerificationError as error:
            why = f"no matching signatures: {str(error).partition(chr(10))[0][:200]}"
        except Exception as error:  # noqa: BLE001 - whatever the library trips over in the bytes of strangers: it is no good signature
            why = f"no matching signatures: one does not have the form of one ({type(error).__name__})"
        else:
            return signer.name
    raise NotVerified(why)


def _verifier(root: bytes | None) -> Verifier:
    if root is None:
        return Verifier(trusted_root=models.ClientTrustConfig.production(offline=True).trusted_root)
    with tempfile.NamedTemporaryFile(prefix="trusted-root-") as file:
        file.write(root)
        file.flush()
        try:
            return Verifier(trusted_root=models.TrustedRoot.from_file(file.name))
        except Exception as error:
            why = f"the key 'trusted_root.json' of spec.verify.trustedRootSecretRef cannot be used: {type(error).__name__}"
            raise NotVerified(why) from error


def _checked(verifier: Verifier, found: Simple | Bundle, digest: str, signer: "_Signer") -> None:
    if isinstance(found, Bundle):
        if not signer.identities:
            raise NotVerified("a bundle counts only if spec.verify.matchOIDCIdentity names who may have signed")
        check_statement(*verifier.verify_dsse(models.Bundle.from_json(found.body), signer), digest)
        return
    verifier.verify_artifact(found.payload, _Promised.from_json(_bundled(found)), signer)
    check_payload(found.payload, digest)


class _Signer:
    """The library asks this whether a certificate, whose chain is good, is of somebody who may sign."""

    def __init__(self, identities: Sequence[OIDCIdentity]) -> None:
        self.identities = identities
        self.name = ""

    def verify(self, certificate: Certificate) -> None:
        """Raises NotVerified."""
        subjects, issuer = _subjects(certificate), _issuer(certificate)
        if not subjects or not issuer or not all(each.isprintable() for each in (*subjects, issuer)):
            raise NotVerified("a certificate does not say who has signed")
        for subject in subjects:
            if not self.identities or any(_is_of(each, subject, issuer) for each in self.identities):
                self.name = f"{subject} ({issuer})"
                return
        raise NotVerified(f"signed by {subjects[0][:200]} ({issuer[:200]}), whom spec.verify.matchOIDCIdentity does not name")


def _is_of(identity: OIDCIdentity, subject: str, issuer: str) -> bool:
    return go_regexp(identity.issuer).search(issuer) is not None and go_regexp(identity.subject).search(subject) is not None


def _subjects(certificate: Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    others = [asn1.decode_der(str, each.value) for each in names.get_values_for_type(OtherName) if each.type_id == _OTHER_NAME]
    return [*names.get_values_for_type(UniformResourceIdentifier), *names.get_values_for_type(RFC822Name), *others]


def _issuer(certificate: Certificate) -> str:
    for oid in (_ISSUER, _OLD_ISSUER):
        try:
            value = certificate.extensions.get_extension_for_oid(oid).value
        except ExtensionNotFound:
            continue
        assert isinstance(value, UnrecognizedExtension)
        return asn1.decode_der(str, value.value) if oid == _ISSUER else value.value.decode()
    return ""


def _bundled(found: Simple) -> str:
    """The old form, whose parts are annotations, in the library's words. Raises NotVerified, ValueError, KeyError."""
    if CERTIFICATE not in found.annotations or LOGGED not in found.annotations:
        raise NotVerified("a signature has no certificate, or comes without the word of a transparency log")
    logged: Any = json.loads(found.annotations[LOGGED])
    entry = logged["Payload"]
    body = json.loads(base64.b64decode(entry["body"]))
    leaf = load_pem_x509_certificate(found.annotations[CERTIFICATE].encode()).public_bytes(Encoding.DER)
    log = {
        "logIndex": str(entry["logIndex"]),
        "logId": {"keyId": base64.b64encode(bytes.fromhex(entry["logID"])).decode()},
        "kindVersion": {"kind": body["kind"], "version": body["apiVersion"]},
        "integratedTime": str(entry["integratedTime"]),
        "inclusionPromise": {"signedEntryTimestamp": logged["SignedEntryTimestamp"]},
        "inclusionProof": {"logIndex": "0", "treeSize": "1", "rootHash": "", "hashes": []},  # the form asks for one: this proves nothing
        "canonicalizedBody": entry["body"],
    }
    signed = {"algorithm": "SHA2_256", "digest": base64.b64encode(hashlib.sha256(found.payload).digest()).decode()}
    material = {"x509CertificateChain": {"certificates": [{"rawBytes": base64.b64encode(leaf).decode()}]}, "tlogEntries": [log]}
    return json.dumps(
        {
            "mediaType": models.Bundle.BundleType.BUNDLE_0_1.value,
            "verificationMaterial": material,
            "messageSignature": {"messageDigest": signed, "signature": found.signature},
        }
    )


class _PromisedEntry(models.TransparencyLogEntry):
    """An entry that the log has promised to take in, by its signature; without the proof that it did.

    Should the library call these otherwise one day, it asks for that proof, and nothing is good.
    """

    def _validate(self) -> None:
        if not self._inner.inclusion_promise or not self._inner.integrated_time:
            raise VerificationError("the entry has neither a proof nor a promise of the log")

    def _verify(self, keyring: RekorKeyring) -> None:
        self._verify_set(keyring)


class _Promised(models.Bundle):
    """A bundle with such an entry."""

    def _verify(self) -> None:
        material = self._inner.verification_material
        assert material.x509_certificate_chain is not None
        self._signing_certificate = load_der_x509_certificate(material.x509_certificate_chain.certificates[0].raw_bytes)
        self._log_entry = _PromisedEntry(material.tlog_entries[0])
