"""A signed claim (JWT, RS256), by which a service proves who it is.

In: claims and a private key in PEM form. Out: the compact text. https://www.rfc-editor.org/rfc/rfc7519
"""

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key


def signed(claims: Mapping[str, object], pem: str) -> str | None:
    """The signed claims, None where the key is not an RSA key in PEM form."""
    try:
        key = load_pem_private_key(pem.encode(), password=None, unsafe_skip_rsa_key_validation=True)  # the check takes 100 ms
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    if not isinstance(key, RSAPrivateKey):
        return None
    text = ".".join(_encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
    return f"{text}.{_encoded(key.sign(text.encode(), PKCS1v15(), hashes.SHA256()))}"


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
