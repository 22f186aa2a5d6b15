"""Messages of AWS SNS: what is signed in them, and which addresses in them are addresses of SNS.

In: the body of a message, the topic that it must be of, keys of certificates by their addresses. Out: a Verifier.
https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from receivers.contract import BadPayload, BadSignature, Credentials, UnknownKey
from receivers.payload import Json, long_text, parse, text, text_or
from receivers.rsa import is_signed

LONGEST = 640 * 1024  # SNS carries 256 KiB, written as JSON within JSON
_HOST = re.compile(r"sns\.[a-z0-9-]{3,40}\.amazonaws\.com(?:\.cn)?")
_DIGESTS = {"1": "sha1", "2": "sha256"}
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


class MessageVerifier:
    """The signature stands in the body, so the body is kept. Raises BadSignature."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._body = bytearray()

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the body. Raises BadSignature where it is longer than SNS sends."""
        self._body += chunk
        if len(self._body) > LONGEST:
            raise BadSignature("the message is longer than SNS sends")

    def check(self) -> None:
        """The body is complete. Raises BadSignature, UnknownKey."""
        try:
            self._check(parse(bytes(self._body)))
        except BadPayload as error:
            raise BadSignature(f"the message's signature cannot be read: {error}") from error

    def _check(self, message: Mapping[str, Json]) -> None:
        address, digest = text(message, "SigningCertURL"), _DIGESTS.get(text_or(message, "SignatureVersion"))
        fields = _SIGNED.get(text(message, "Type"))
        if fields is None or digest is None:
            raise BadSignature("the message is of a type, or has a signature of a version, that SNS does not send")
        if not is_certificate(address):
            raise BadSignature("SigningCertURL is not an address of SNS")
        if not hmac.compare_digest(text(message, "TopicArn").encode(), self._credentials.audience.encode()):
            raise BadSignature("the message is of another topic than the Secret's key topic names")
        key = next((each for each in self._credentials.keys if each.id == address), None)
        if key is None:
            raise UnknownKey("the certificate that the message is signed with is not known yet", key=address)
        signed = "".join(f"{name}\n{long_text(message, name)}\n" for name in fields if message.get(name) is not None)
        if not is_signed(signed.encode(), _decoded(text(message, "Signature")), key, digest):
            raise BadSignature("the message's signature does not fit: it was not made by SNS")


def is_certificate(address: str) -> bool:
    """Whether an address is one where SNS has its certificates."""
    parts = urlsplit(address)
    return _is_sns(address) and parts.path.endswith(".pem") and not parts.query


def confirmation(address: str, topic: str) -> str:
    """The address that confirms the subscription. Raises BadPayload for any other."""
    query = parse_qs(urlsplit(address).query, max_num_fields=8) if _is_sns(address) else {}
    if query.get("Action") != ["ConfirmSubscription"] or query.get("TopicArn") != [topic]:
        raise BadPayload("SubscribeURL", "not an address of SNS that confirms a subscription to this topic")
    return address


def _is_sns(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme == "https" and parts.netloc == parts.hostname and _HOST.fullmatch(parts.netloc) is not None
    except ValueError:
        return False


def _decoded(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadSignature("the message's signature is not base64") from error
