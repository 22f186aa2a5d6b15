"""JSON Web Tokens, checked against keys that are given: RSA with SHA-2, which is what Google and the CI services sign with.

In: `header.payload.signature` and the keys of its issuer (a JWK set). Out: the claims. No clock: who calls compares `exp`.
https://www.rfc-editor.org/rfc/rfc7519, https://www.rfc-editor.org/rfc/rfc8017#section-8.2.2
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from receivers.contract import BadPayload, BadSignature, RsaKey, UnknownKey
from receivers.payload import Json, length_of, parse, text, text_or
from receivers.rsa import is_signed, is_usable

LONGEST_TOKEN = 8192
MOST_KEYS = 100
_DIGESTS = {"RS256": "sha256", "RS384": "sha384", "RS512": "sha512"}


def keys_of(jwks: bytes) -> tuple[RsaKey, ...]:
    """Return the RSA keys of a JWK set; others are passed over. Raises BadPayload."""
    whole = parse(jwks)
    count = min(length_of(whole, "keys") or 0, MOST_KEYS)
    return tuple(key for number in range(count) if (key := _key(whole, number)) is not None)


def claims_of(token: str, keys: Sequence[RsaKey]) -> Mapping[str, Json]:
    """Return the claims of a token that one of the keys has signed. Raises BadSignature, and UnknownKey where its key is not among them."""
    header, payload, signature = _parts(token)
    try:
        told = parse(header)
        algorithm, key_id = text_or(told, "alg"), text_or(told, "kid")
        claims = parse(payload)
    except BadPayload as error:
        raise BadSignature("the token in Authorization is no JSON Web Token") from error
    if algorithm not in _DIGESTS:
        raise BadSignature(f"the token in Authorization is not signed with one of {', '.join(_DIGESTS)}")
    key = next((each for each in keys if each.id == key_id), None)
    if key is None:
        raise UnknownKey("the key that signed the token in Authorization is not one of those that its issuer publishes")
    signed = token.rpartition(".")[0].encode()
    if not is_signed(signed, signature, key, _DIGESTS[algorithm]):
        raise BadSignature("the signature of the token in Authorization does not fit: it was not made by its issuer")
    return claims


def expiry(token: str) -> datetime:
    """Return when a token ends. Raises BadSignature where it does not say so."""
    found = _moment(token, "exp")
    if found is None:
        raise BadSignature("the token in Authorization does not say when it ends")
    return found


def starts_at(token: str) -> datetime | None:
    """Return from when on a token counts, None where it does not say so. Raises BadSignature."""
    return _moment(token, "nbf")


def issuer_of(token: str) -> str:
    """Return who a token says has issued it, which proves nothing. Raises BadSignature."""
    try:
        return text_or(_unproven(token), "iss")
    except BadPayload as error:
        raise BadSignature("the token in Authorization is no JSON Web Token") from error


def _moment(token: str, name: str) -> datetime | None:
    """A time among the claims; some issuers write fractions of seconds."""
    seconds = _unproven(token).get(name)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 2**33:
        return None
    return datetime.fromtimestamp(int(seconds), UTC)


def _unproven(token: str) -> Mapping[str, Json]:
    try:
        return parse(_parts(token)[1])
    except BadPayload as error:
        raise BadSignature("the token in Authorization is no JSON Web Token") from error


def _parts(token: str) -> tuple[bytes, bytes, bytes]:
    parts = token.split(".")
    if len(parts) != 3 or len(token) > LONGEST_TOKEN or not token.isascii():
        raise BadSignature("the token in Authorization is no JSON Web Token")
    return _decoded(parts[0]), _decoded(parts[1]), _decoded(parts[2])


def _decoded(part: str) -> bytes:
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadSignature("the token in Authorization is no JSON Web Token") from error


def _key(whole: Json, number: int) -> RsaKey | None:
    at = ("keys", number)
    if text_or(whole, *at, "kty") != "RSA" or text_or(whole, *at, "use", default="sig") != "sig":
        return None
    try:
        modulus, exponent = (int.from_bytes(_decoded(text(whole, *at, part).rstrip("="))) for part in ("n", "e"))
    except BadSignature as error:
        raise BadPayload(f"keys.{number}", "not a key") from error
    key = RsaKey(id=text_or(whole, *at, "kid"), modulus=modulus, exponent=exponent)
    return key if is_usable(key) else None
