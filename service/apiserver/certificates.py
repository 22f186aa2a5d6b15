"""The server's own certificate, token and kubeconfig, all in one folder and readable by the owner only.

kubectl sends a token over TLS alone, so the embedded server speaks TLS with a certificate that it makes itself.
https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
"""

import base64
import ipaddress
import json
import os
import secrets
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

VALID = timedelta(days=397)
RENEW_BEFORE = timedelta(days=30)


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only the owner may read, in one step."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    draft.replace(path)


def token(folder: Path) -> str:
    """Return the folder's bearer token; a random one is made the first time."""
    path = folder / "token"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32).encode())
    return path.read_text("ascii").strip()


def tls(folder: Path) -> tuple[ssl.SSLContext, bytes]:
    """Return a server context for 127.0.0.1 and the certificate (PEM) to trust; made anew a month before it ends."""
    certificate, key = folder / "server.crt", folder / "server.key"
    if not certificate.exists() or not key.exists() or _ends_soon(certificate.read_bytes()):
        made, made_key = _make()
        write_private(key, made_key)
        write_private(certificate, made)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context, certificate.read_bytes()


def _ends_soon(pem: bytes) -> bool:
    return x509.load_pem_x509_certificate(pem).not_valid_after_utc - datetime.now(UTC) < RENEW_BEFORE


def _make() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "embedded-apiserver")])
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(names, critical=False)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(serialization.Encoding.PEM), private


def kubeconfig(url: str, bearer: str, certificate: bytes) -> bytes:
    """Return a kubeconfig (JSON, which is YAML) for the server."""
    trusted = base64.b64encode(certificate).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "embedded",
        "clusters": [{"name": "embedded", "cluster": {"server": url, "certificate-authority-data": trusted}}],
        "users": [{"name": "embedded", "user": {"token": bearer}}],
        "contexts": [{"name": "embedded", "context": {"cluster": "embedded", "user": "embedded"}}],
    }
    return (json.dumps(config, indent=2) + "\n").encode()
