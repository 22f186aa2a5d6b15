"""Google Artifact Registry and Container Registry, and objects of Cloud Storage, through Pub/Sub push.

Set up: the Pub/Sub topic `gcr` in the registry's project (for a bucket: a notification to a topic), and a push subscription to the
Receiver's address with authentication on: a service account, and an audience. The Receiver's Secret holds beside `token` (which makes the
path) the service account's address as `email` and the `audience`.
Proof: `Authorization: Bearer` and a token that Google has signed for that `email` and `audience`, which has not ended. Google's keys are
fetched and kept fresh in the background (www.googleapis.com); until they are there a delivery is answered 503, and Pub/Sub sends it again.
Tells: image, tag and digest; bucket and key. https://cloud.google.com/artifact-registry/docs/configure-notifications
"""

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime

from receivers.contract import BadPayload, BadSignature, BucketChange, Credentials, Delivery, Event, ImagePush, Sender, Verifier
from receivers.images import split
from receivers.jwt import claims_of, expiry
from receivers.payload import Json, flag, parse, text_or

ISSUERS = ("https://accounts.google.com", "accounts.google.com")
_OBJECTS = {"OBJECT_FINALIZE": False, "OBJECT_DELETE": True, "OBJECT_ARCHIVE": True, "OBJECT_METADATA_UPDATE": False}


class _GoogleVerifier:
    """The token in the header is checked when the body is complete: it says nothing about the body."""

    def __init__(self, token: str, credentials: Credentials) -> None:
        self._token = token
        self._credentials = credentials

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the body, which proves nothing here."""

    def check(self) -> None:
        """The body is complete. Raises BadSignature, UnknownKey."""
        claims = claims_of(self._token, self._credentials.keys)
        try:
            issuer, audience, email = (text_or(claims, name) for name in ("iss", "aud", "email"))
            verified = flag(claims, "email_verified")
        except BadPayload as error:
            raise BadSignature(f"the claims of the token cannot be read: {error}") from error
        if issuer not in ISSUERS:
            raise BadSignature("the token was not issued by Google")
        if not audience or audience != self._credentials.audience:
            raise BadSignature("the token is for another audience than the Secret's key audience names")
        if not email or email != self._credentials.email or not verified:
            raise BadSignature("the token is of another account than the Secret's key email names")


def verifier(headers: Mapping[str, str], credentials: Credentials) -> Verifier:
    """Return the check of the token in `Authorization`. Raises BadSignature."""
    return _GoogleVerifier(_bearer(headers), credentials)


def expires_at(headers: Mapping[str, str]) -> datetime:
    """Return when the token in `Authorization` ends. Raises BadSignature."""
    return expiry(_bearer(headers))


def read(delivery: Delivery) -> tuple[Event, ...]:
    """Return an ImagePush or a BucketChange, () for other messages. Raises BadPayload."""
    payload = parse(delivery.body)
    bucket = text_or(payload, "message", "attributes", "bucketId")
    if bucket:
        event, key = text_or(payload, "message", "attributes", "eventType"), text_or(payload, "message", "attributes", "objectId")
        return (BucketChange(bucket=bucket, key=key, deleted=_OBJECTS[event]),) if event in _OBJECTS else ()
    return _image(parse(_data(text_or(payload, "message", "data"))))


def _image(pushed: Json) -> tuple[Event, ...]:
    action = text_or(pushed, "action").upper()
    name, tag, _ = split(text_or(pushed, "tag"))
    by_digest, _, digest = split(text_or(pushed, "digest"))
    if action not in ("INSERT", "DELETE") or not (name or by_digest):
        return ()
    return (ImagePush(names=tuple(dict.fromkeys(filter(None, (name, by_digest)))), tag=tag, digest=digest, deleted=action == "DELETE"),)


def _data(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadPayload("message.data", "not base64") from error


def _bearer(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise BadSignature("Authorization is missing: turn authentication on in the push subscription, so that Google sends its token")
    return token.strip()


GCR = Sender(type="gcr", verifier=verifier, read=read, expires_at=expires_at, needs_keys=True)
