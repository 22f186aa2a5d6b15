"""Signatures over bodies that stream in: HMAC with the Receiver's token, compared in constant time.

In: `algorithm=hex` as senders write it, and the token. Out: a Verifier. https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
"""

import binascii
import hmac

from receivers.contract import BadSignature, Credentials

DIGEST_BYTES = {"sha1": 20, "sha256": 32, "sha512": 64}


class HmacVerifier:
    """An HMAC of the body. `claim` is the digest that the sender sent. Raises BadSignature: unknown algorithm, empty token."""

    def __init__(self, algorithm: str, claim: bytes, credentials: Credentials) -> None:
        if algorithm not in DIGEST_BYTES:
            raise BadSignature(f"the signature's algorithm is not one of {', '.join(DIGEST_BYTES)}")
        if not credentials.token:
            raise BadSignature("the Receiver's token is empty, so no signature can be good")
        self._claim = claim
        self._mac = hmac.new(credentials.token, digestmod=algorithm)

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the body."""
        self._mac.update(chunk)

    def check(self) -> None:
        """The body is complete. Raises BadSignature."""
        if not hmac.compare_digest(self._mac.digest(), self._claim):
            raise BadSignature("the signature does not fit: the secret at the sender and the Receiver's token differ")


def hmac_of(value: str, credentials: Credentials, *, algorithms: tuple[str, ...], bare: str = "") -> HmacVerifier:
    """Return the verifier for a header's value, `sha256=<hex>`; with `bare` the value is hex digits alone, of that algorithm.

    Raises BadSignature where the value has another form or names an algorithm outside `algorithms`.
    """
    algorithm, equals, digits = value.strip().partition("=")
    if bare and not equals:
        algorithm, digits = bare, algorithm
    algorithm = algorithm.lower()
    if algorithm not in algorithms:
        raise BadSignature(f"the signature must begin with one of: {', '.join(f'{name}=' for name in algorithms)}")
    try:
        claim = binascii.unhexlify(digits)
    except (binascii.Error, ValueError) as error:
        raise BadSignature("the signature is not made of hex digits") from error
    if len(claim) != DIGEST_BYTES[algorithm]:
        raise BadSignature(f"the signature is {len(claim)} bytes long, {algorithm} has {DIGEST_BYTES[algorithm]}")
    return HmacVerifier(algorithm, claim, credentials)
