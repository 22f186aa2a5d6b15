"""What proves where a body comes from: HMAC with the Receiver's token over what streams in, or the token itself; compared in constant time.

In: headers as senders write them, and the token. Out: a Verifier. https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
and https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from receivers.contract import BadSignature, Credentials

DIGEST_BYTES = {"sha1": 20, "sha256": 32, "sha512": 64}


class HmacVerifier:
    """An HMAC of the body. `claim` is the digest that the sender sent. Raises BadSignature: unknown algorithm, empty token."""

    def __init__(self, algorithm: str, claim: bytes, credentials: Credentials) -> None:
        if algorithm not in DIGEST_BYTES:
            raise BadSignature(f"the signature's algorithm is not one of {', '.join(DIGEST_BYTES)}")
        _check_not_empty(credentials)
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
    _check_not_empty(credentials)
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


STANDARD_PREFIX = b"whsec_"  # how the secrets of Standard Webhooks begin


class StandardVerifier:
    """Standard Webhooks: HMAC-SHA256 of `id.timestamp.body` with the base64 after `whsec_`. Raises BadSignature."""

    def __init__(self, headers: Mapping[str, str], credentials: Credentials) -> None:
        standard_time(headers)
        parts = (entry.partition(",") for entry in headers["webhook-signature"].split())
        self._claims = [_unbase64(encoded) for version, _, encoded in parts if version == "v1"]
        key = _unbase64(credentials.token.removeprefix(STANDARD_PREFIX))
        if not key or not credentials.token.startswith(STANDARD_PREFIX):
            raise BadSignature("the delivery is signed, and the Receiver's token is no signing secret: it must be whsec_ and base64")
        self._mac = hmac.new(key, digestmod="sha256")
        self._mac.update(_bytes(f"{headers.get('webhook-id', '')}.{headers['webhook-timestamp']}."))

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the body."""
        self._mac.update(chunk)

    def check(self) -> None:
        """The body is complete. Raises BadSignature."""
        if not any([hmac.compare_digest(self._mac.digest(), claim) for claim in self._claims]):
            raise BadSignature("no v1 signature of webhook-signature fits: the signing secret and the Receiver's token differ")


def standard_time(headers: Mapping[str, str]) -> datetime:
    """Return when a delivery of Standard Webhooks was signed. Raises BadSignature where `webhook-timestamp` is no time."""
    given = headers.get("webhook-timestamp", "")
    if not given.isascii() or not given.isdigit() or len(given) > 11:
        raise BadSignature("webhook-timestamp is not a number of seconds")
    return datetime.fromtimestamp(int(given), UTC)


class TokenVerifier:
    """The token itself came in a header. `given` are the forms in which it may have: one of them must be the token."""

    def __init__(self, given: Sequence[bytes], credentials: Credentials) -> None:
        _check_not_empty(credentials)
        self._given = tuple(given)
        self._token = credentials.token

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the body, which proves nothing here."""

    def check(self) -> None:
        """The body is complete. Raises BadSignature."""
        if not any([hmac.compare_digest(each, self._token) for each in self._given]):
            raise BadSignature("the token in the header does not fit: what the sender sends and the Receiver's token differ")


class PathVerifier:
    """Nothing but the path, which is made from the token, proves where the body comes from."""

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the body, which proves nothing here."""

    def check(self) -> None:
        """The body is complete, and good: whoever sent it knew the path."""


def token_in(value: str, credentials: Credentials) -> TokenVerifier:
    """Return the verifier for a header that must be the token, whole. Raises BadSignature where the token is empty."""
    return TokenVerifier((_bytes(value),), credentials)


def authorization(value: str, credentials: Credentials) -> TokenVerifier:
    """Return the verifier for `Authorization`: the token alone, `Bearer <token>`, or `Basic` with the token as the password.

    Raises BadSignature where the token is empty.
    """
    scheme, _, rest = value.strip().partition(" ")
    given = [_bytes(value)]
    if scheme.lower() == "bearer":
        given.append(_bytes(rest.strip()))
    elif scheme.lower() == "basic":
        given.append(_password(rest.strip()))
    return TokenVerifier(given, credentials)


def _password(encoded: str) -> bytes:
    return _unbase64(encoded).partition(b":")[2]


def _unbase64(encoded: str | bytes) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _bytes(value: str) -> bytes:
    """As it was sent: what is not UTF-8 in a header comes as surrogates."""
    return value.encode("utf-8", "surrogateescape")


def _check_not_empty(credentials: Credentials) -> None:
    if not credentials.token:
        raise BadSignature("the Receiver's token is empty, so nothing proves where a delivery comes from")
