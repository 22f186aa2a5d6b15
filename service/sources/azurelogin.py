"""The certificate of an application of Microsoft Entra ID in, a token for Azure's object store out.

The Secret's keys are Flux's: tenantId, clientId, clientCertificate (PEM, or PKCS #12 with clientCertificatePassword), authorityHost and
clientCertificateSendChain. What is signed is good for ten minutes and for the one token endpoint.
https://learn.microsoft.com/en-us/entra/identity-platform/certificate-credentials
"""

import asyncio
import base64
import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

import aiohttp
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key, pkcs12

from service.outbound import OutboundRefused, refusal_in
from service.sources.bucketclient import MEANING, BucketError
from service.sources.remote import Way

SCOPE = "https://storage.azure.com/.default"
AUTHORITY = "https://login.microsoftonline.com"
VALID = timedelta(minutes=10)
MOST_BYTES = 2**16


def wants(secret: Mapping[str, bytes]) -> bool:
    """Whether a Secret is one for this: clientSecret goes before it, as with Flux."""
    return all(secret.get(name) for name in ("tenantId", "clientId", "clientCertificate")) and not secret.get("clientSecret")


async def certificate_token(way: Way, secret: Mapping[str, bytes]) -> str:
    """Ask for a token. Raises BucketError."""
    said = {name: secret.get(name, b"").decode(errors="replace").strip() for name in ("tenantId", "clientId", "authorityHost")}
    url = f"{(said['authorityHost'] or AUTHORITY).rstrip('/')}/{quote(said['tenantId'], safe='')}/oauth2/v2.0/token"
    if not url.startswith("https://"):
        raise BucketError("the key 'authorityHost' is no https:// address", 401)
    host = urlsplit(url).netloc.rpartition("@")[2]
    form = {
        "grant_type": "client_credentials",
        "client_id": said["clientId"],
        "scope": SCOPE,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": await asyncio.to_thread(assertion, secret, said["clientId"], url, datetime.now(UTC)),
    }
    try:
        async with way.session.post(url, data=form, allow_redirects=False) as answer:
            if answer.status != 200:
                status = 401 if answer.status == 400 else answer.status  # that is how it says that it does not know the certificate
                raise BucketError(f"{host} gave no token: it answered {answer.status}{MEANING.get(answer.status, '')}", status)
            body = b""
            while len(body) < MOST_BYTES and (more := await answer.content.read(MOST_BYTES)):
                body += more
        token = json.loads(body)["access_token"]
    except (aiohttp.ClientError, ConnectionError, OutboundRefused) as error:
        raise BucketError(f"{host} gave no token: {refusal_in(error) or type(error).__name__}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BucketError(f"{host} gave no token") from error
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise BucketError(f"{host} gave no token")
    return token


def assertion(secret: Mapping[str, bytes], client: str, url: str, now: datetime) -> str:
    """What proves who asks. Raises BucketError where the certificate cannot be used."""
    key, chain = _loaded(secret["clientCertificate"], secret.get("clientCertificatePassword", b"").strip() or None)
    if not isinstance(key, RSAPrivateKey) or not chain:
        raise BucketError("the key 'clientCertificate' holds no certificate with its RSA key, as PEM or PKCS #12", 401)
    leaf = next((each for each in chain if each.public_key() == key.public_key()), None)
    if leaf is None:
        raise BucketError("the key 'clientCertificate' holds a private key of another certificate", 401)
    head: dict[str, object] = {"alg": "PS256", "typ": "JWT", "x5t#S256": _encoded(leaf.fingerprint(hashes.SHA256()))}
    if secret.get("clientCertificateSendChain", b"").strip().lower() in (b"1", b"true"):
        ordered = [leaf, *(each for each in chain if each != leaf)]
        head["x5c"] = [base64.b64encode(each.public_bytes(Encoding.DER)).decode() for each in ordered]
    moment = int(now.timestamp())
    claims = {
        "aud": url,
        "iss": client,
        "sub": client,
        "jti": str(uuid.uuid4()),
        "nbf": moment - 60,
        "exp": moment + int(VALID.total_seconds()),
    }
    text = ".".join(_encoded(json.dumps(part).encode()) for part in (head, claims))
    padding = PSS(mgf=MGF1(hashes.SHA256()), salt_length=PSS.DIGEST_LENGTH)
    return f"{text}.{_encoded(key.sign(text.encode(), padding, hashes.SHA256()))}"


def _loaded(content: bytes, password: bytes | None) -> tuple[object, list[x509.Certificate]]:
    try:
        if b"-----BEGIN " in content:
            key = load_pem_private_key(content, password=password, unsafe_skip_rsa_key_validation=True)  # the check takes 100 ms
            return key, x509.load_pem_x509_certificates(content)
        held = pkcs12.load_pkcs12(content, password)
        chain = [each.certificate for each in (held.cert, *held.additional_certs) if each is not None]
        return held.key, chain
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BucketError("the key 'clientCertificate' cannot be read, or clientCertificatePassword is wrong", 401) from None


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
