"""A Sigstore of our own: a Fulcio, its certificate log and a Rekor as keys, which sign as the real ones do. No network, no OIDC.

Out: trusted_root.json, and signatures in cosign's two forms, which cosign 3.1.3 verifies (`verify --trusted-root`, with `--offline` for the
old form). https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md , https://www.rfc-editor.org/rfc/rfc6962 (SCT) and
https://github.com/sigstore/protobuf-specs
"""

import base64
import hashlib
import json
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.sources.registry import StandIn, digest_of

ISSUER = "https://token.actions.githubusercontent.com"
SUBJECT = "https://github.com/team/app/.github/workflows/release.yml@refs/tags/v1.0.0"
SIGNS = "https://sigstore.dev/cosign/sign/v1"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIGNATURE, CERTIFICATE, LOGGED = (
    f"dev.{name}" for name in ("cosignproject.cosign/signature", "sigstore.cosign/certificate", "sigstore.cosign/bundle")
)
_SCTS = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_STARTED = datetime(2024, 1, 1, tzinfo=UTC)


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def der(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def signed(key: ec.EllipticCurvePrivateKey, content: bytes) -> bytes:
    return key.sign(content, ec.ECDSA(hashes.SHA256()))


def canonical(found: Any) -> bytes:
    return json.dumps(found, sort_keys=True, separators=(",", ":")).encode()


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass
class Sigstore:
    """Keys of all parts. Tests may give one another key, and so make it lie."""

    root: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    certificate_log: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    rekor: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    lives: timedelta = timedelta(minutes=10)
    logged_after: timedelta = timedelta(seconds=2)

    def authority(self) -> x509.Certificate:
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        made = x509.CertificateBuilder().subject_name(name("fulcio")).issuer_name(name("fulcio")).public_key(self.root.public_key())
        made = made.serial_number(1).not_valid_before(_STARTED).not_valid_after(_STARTED + timedelta(days=36500))
        made = made.add_extension(x509.BasicConstraints(True, 0), True).add_extension(usage, True)
        return made.add_extension(x509.SubjectKeyIdentifier.from_public_key(self.root.public_key()), False).sign(self.root, hashes.SHA256())

    def trusted_root(self) -> bytes:
        def log(key: ec.EllipticCurvePrivateKey, url: str) -> dict[str, Any]:
            public = {"rawBytes": b64(der(key)), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": {"start": "2024-01-01T00:00:00Z"}}
            identity = b64(hashlib.sha256(der(key)).digest())
            return {"baseUrl": url, "hashAlgorithm": "SHA2_256", "publicKey": public, "logId": {"keyId": identity}}

        authority = {
            "subject": {"organization": "test", "commonName": "fulcio"},
            "uri": "https://fulcio.invalid",
            "certChain": {"certificates": [{"rawBytes": b64(self.authority().public_bytes(Encoding.DER))}]},
            "validFor": {"start": "2024-01-01T00:00:00Z"},
        }
        return json.dumps(
            {
                "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
                "tlogs": [log(self.rekor, "https://rekor.invalid")],
                "certificateAuthorities": [authority],
                "ctlogs": [log(self.certificate_log, "https://ct.invalid")],
            }
        ).encode()

    def certificate(self, key: ec.EllipticCurvePrivateKey, subject: str, issuer: str, at: datetime) -> x509.Certificate:
        """What Fulcio gives out, with what its certificate log says of it."""
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        who = x509.RFC822Name(subject) if "@" in subject and "://" not in subject else x509.UniformResourceIdentifier(subject)
        text = issuer.encode()
        made = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(name("fulcio")).public_key(key.public_key())
        made = made.serial_number(x509.random_serial_number()).not_valid_before(at).not_valid_after(at + self.lives)
        made = made.add_extension(usage, True).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)
        made = made.add_extension(x509.SubjectAlternativeName([who]), True)
        made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.root.public_key()), False)
        for oid, value in (("1", text), ("8", b"\x0c" + bytes([len(text)]) + text)):
            made = made.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(f"1.3.6.1.4.1.57264.1.{oid}"), value), False)
        bare = made.sign(self.root, hashes.SHA256()).tbs_certificate_bytes
        return made.add_extension(x509.UnrecognizedExtension(_SCTS, self._timestamps(bare, at)), False).sign(self.root, hashes.SHA256())

    def _timestamps(self, bare: bytes, at: datetime) -> bytes:
        moment = struct.pack("!Q", int(at.timestamp() * 1000))
        entry = hashlib.sha256(der(self.root)).digest() + len(bare).to_bytes(3, "big") + bare
        proof = signed(self.certificate_log, b"\0\0" + moment + b"\0\1" + entry + b"\0\0")
        stamp = (
            b"\0" + hashlib.sha256(der(self.certificate_log)).digest() + moment + b"\0\0" + b"\4\3" + struct.pack("!H", len(proof)) + proof
        )
        listed = struct.pack("!H", len(stamp)) + stamp
        content = struct.pack("!H", len(listed)) + listed
        return b"\x04" + (b"\x81" if len(content) > 127 else b"") + bytes([len(content)]) + content

    def promise(self, body: bytes, at: datetime) -> dict[str, Any]:
        """What Rekor answers with: the entry, and its signature of it."""
        identity = hashlib.sha256(der(self.rekor)).hexdigest()
        entry = {"body": b64(body), "integratedTime": int((at + self.logged_after).timestamp()), "logID": identity, "logIndex": 7}
        return {"SignedEntryTimestamp": b64(signed(self.rekor, canonical(entry))), "Payload": entry}

    def proof(self, body: bytes) -> dict[str, Any]:
        """That the entry is the second of two."""
        leaf, other = hashlib.sha256(b"\0" + body).digest(), hashlib.sha256(b"\0other").digest()
        root = hashlib.sha256(b"\1" + other + leaf).digest()
        note = f"rekor.invalid - 1\n2\n{b64(root)}\n"
        seal = b64(hashlib.sha256(der(self.rekor)).digest()[:4] + signed(self.rekor, note.encode()))
        checkpoint = {"envelope": f"{note}\n\u2014 rekor.invalid {seal}\n"}
        return {"logIndex": "1", "rootHash": b64(root), "treeSize": "2", "hashes": [b64(other)], "checkpoint": checkpoint}

    def simple(self, digest: str, *, subject: str = SUBJECT, issuer: str = ISSUER, named: str = "") -> tuple[bytes, dict[str, str]]:
        """The payload of the old form and its annotations."""
        at, key = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1), new_key()
        critical = {"identity": {"docker-reference": ""}, "image": {"docker-manifest-digest": named or digest}}
        payload = json.dumps({"critical": {**critical, "type": "cosign container image signature"}, "optional": None}).encode()
        pem, proof = self.certificate(key, subject, issuer, at).public_bytes(Encoding.PEM), b64(signed(key, payload))
        body = {
            "apiVersion": "0.0.1",
            "kind": "hashedrekord",
            "spec": {
                "data": {"hash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()}},
                "signature": {"content": proof, "publicKey": {"content": b64(pem)}},
            },
        }
        return payload, {SIGNATURE: proof, CERTIFICATE: pem.decode(), LOGGED: json.dumps(self.promise(canonical(body), at))}

    def bundle(self, digest: str, *, subject: str = SUBJECT, issuer: str = ISSUER, predicate: str = SIGNS) -> dict[str, Any]:
        """The new form."""
        at, key = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1), new_key()
        about = [{"name": "", "digest": {"sha256": digest.removeprefix("sha256:")}}]
        statement = {"_type": "https://in-toto.io/Statement/v1", "subject": about, "predicateType": predicate, "predicate": {}}
        payload, kind = json.dumps(statement).encode(), "application/vnd.in-toto+json"
        proof = b64(signed(key, b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)))
        certificate = self.certificate(key, subject, issuer, at)
        envelope = {"payload": b64(payload), "payloadType": kind, "signatures": [{"sig": proof}]}
        body = canonical(
            {
                "apiVersion": "0.0.1",
                "kind": "dsse",
                "spec": {
                    "envelopeHash": {"algorithm": "sha256", "value": hashlib.sha256(json.dumps(envelope).encode()).hexdigest()},
                    "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
                    "signatures": [{"signature": proof, "verifier": b64(certificate.public_bytes(Encoding.PEM))}],
                },
            }
        )
        promise = self.promise(body, at)
        logged = {
            "logIndex": "7",
            "logId": {"keyId": b64(bytes.fromhex(promise["Payload"]["logID"]))},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(promise["Payload"]["integratedTime"]),
            "inclusionPromise": {"signedEntryTimestamp": promise["SignedEntryTimestamp"]},
            "inclusionProof": self.proof(body),
            "canonicalizedBody": b64(body),
        }
        material = {"certificate": {"rawBytes": b64(certificate.public_bytes(Encoding.DER))}, "tlogEntries": [logged]}
        return {"mediaType": BUNDLE, "verificationMaterial": material, "dsseEnvelope": envelope}


def put_simple(registry: StandIn, digest: str, payload: bytes, annotations: dict[str, str]) -> None:
    """As `cosign sign` does with the old form."""
    tag = f"{digest.replace(':', '-')}.sig"
    registry.push(tag, payload, media_type="application/vnd.dev.cosign.simplesigning.v1+json")
    manifest = json.loads(registry.manifests[registry.tags[tag]])
    manifest["layers"][0]["annotations"] = annotations
    registry.put(tag, json.dumps(manifest).encode())
    assert digest_of(payload) in registry.blobs


def put_bundle(registry: StandIn, digest: str, bundle: dict[str, Any]) -> None:
    """As cosign 3 does."""
    registry.attach(digest, BUNDLE, json.dumps(bundle).encode(), BUNDLE)
