"""A job that can show who it is: a run of GitHub Actions, GitLab CI, Buildkite or a Kubernetes Pod, by an OpenID Connect token.

Set up: no Secret; `spec.oidcProviders` names the issuer (`issuerURL: https://token.actions.githubusercontent.com`), the audience that the
job asks for (`notification-controller` by default), and what the claims must say (`validations: [{expression: claims.repository_owner ==
'acme', message: only our own repositories}]`): whoever can get a token of a public issuer could call else. The job sends its token:
`curl -X POST -H "Authorization: Bearer $TOKEN" https://hooks.example.com/hook/...`.
Proof: `Authorization: Bearer` and a token (RS256, RS384 or RS512) of one of the issuers, for the audience, which has begun and not ended,
and whose claims hold. An issuer's keys are fetched and kept fresh in the background; until they are there a delivery is answered 503.
Tells: nothing; any body is taken, and filters read it as `req`, the token as `claims`.
https://fluxcd.io/flux/components/notification/receivers/#generic-oidc-receiver
"""

from collections.abc import Mapping
from datetime import datetime

from receivers.contract import BadPayload, BadSignature, Credentials, Delivery, Event, Sender, UnknownKey, Verifier
from receivers.jwt import claims_of, expiry, issuer_of, starts_at
from receivers.payload import Json, length_of, text_or, texts


class _TokenVerifier:
    """The token in the header is checked when the body is complete: it says nothing about the body."""

    def __init__(self, headers: Mapping[str, str], credentials: Credentials) -> None:
        self._headers = headers
        self._credentials = credentials

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the body, which proves nothing here."""

    def check(self) -> None:
        """The body is complete. Raises BadSignature, UnknownKey."""
        claims(self._headers, self._credentials)


def claims(headers: Mapping[str, str], credentials: Credentials) -> Mapping[str, Json]:
    """Return the claims of the token in `Authorization`. Raises BadSignature, and UnknownKey where its key is not known (yet)."""
    token = _bearer(headers)
    named = issuer_of(token)
    issuer = next((each for each in credentials.issuers if each.url == named), None)
    if issuer is None:
        raise BadSignature("the token in Authorization is of an issuer that spec.oidcProviders does not name")
    if not issuer.keys:
        raise UnknownKey(f"the keys of {issuer.url} are not known yet")
    found = claims_of(token, issuer.keys)
    if issuer.audience not in _audiences(found):
        raise BadSignature(f"the token in Authorization is for another audience than {issuer.audience}")
    return found


def verifier(headers: Mapping[str, str], credentials: Credentials) -> Verifier:
    """Return the check of the token in `Authorization`. Raises BadSignature."""
    _bearer(headers)
    return _TokenVerifier(headers, credentials)


def expires_at(headers: Mapping[str, str]) -> datetime:
    """Return when the token in `Authorization` ends. Raises BadSignature."""
    return expiry(_bearer(headers))


def begins_at(headers: Mapping[str, str]) -> datetime | None:
    """Return from when on the token counts, None where it does not say. Raises BadSignature."""
    return starts_at(_bearer(headers))


def read(_delivery: Delivery) -> tuple[Event, ...]:
    """Return (): the body is the sender's own affair."""
    return ()


def _audiences(found: Mapping[str, Json]) -> tuple[str, ...]:
    try:
        if isinstance(found.get("aud"), list):
            return (texts(found, "aud") or ()) if (length_of(found, "aud") or 0) <= 64 else ()
        return (text_or(found, "aud"),)
    except BadPayload as error:
        raise BadSignature(f"the claims of the token cannot be read: {error}") from error


def _bearer(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise BadSignature("Authorization is missing: send `Bearer` and the job's OpenID Connect token")
    return token.strip()


GENERIC_OIDC = Sender(
    type="generic-oidc", verifier=verifier, read=read, expires_at=expires_at, begins_at=begins_at, claims=claims, issuers=True
)
