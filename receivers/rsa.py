"""RSA signatures, checked against a key that is given.

In: message, signature, key. Out: yes or no. https://www.rfc-editor.org/rfc/rfc8017#section-8.2.2
"""

import hashlib
import hmac

from receivers.contract import RsaKey

MODULUS_BITS = range(2048, 8193)
_DIGEST_INFO = {  # up to the digest
    "sha1": bytes.fromhex("3021300906052b0e03021a05000414"),
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}


def is_usable(key: RsaKey) -> bool:
    """Whether a key is neither weak nor made to be slow."""
    return key.modulus.bit_length() in MODULUS_BITS and 3 <= key.exponent < 2**32 and key.exponent % 2 == 1


def is_signed(message: bytes, signature: bytes, key: RsaKey, digest: str) -> bool:
    """RSASSA-PKCS1-v1_5: the whole padded block is built and compared, so that nothing in it can be something else."""
    length = (key.modulus.bit_length() + 7) // 8
    if len(signature) != length:
        return False
    opened = pow(int.from_bytes(signature), key.exponent, key.modulus).to_bytes(length)
    block = _DIGEST_INFO[digest] + hashlib.new(digest, message, usedforsecurity=False).digest()
    return hmac.compare_digest(opened, b"\x00\x01" + b"\xff" * (length - len(block) - 3) + b"\x00" + block)
