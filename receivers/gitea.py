"""Gitea, Forgejo and Gogs by their own headers. (The type `github` understands them by GitHub's, which they also send.)

Set up: the repository's Settings > Webhooks > Add Webhook > Gitea (Forgejo, Gogs); the Receiver's token as the secret, "Push events".
Proof: `X-Forgejo-Signature`, `X-Gitea-Signature` or `X-Gogs-Signature`: a hex HMAC-SHA256 of the body with the token.
Tells: repository, ref and commits of a push. They do not say whether it was forced, so no changed files. https://docs.gitea.com/usage/webhooks
"""

from collections.abc import Mapping

from receivers.contract import BadSignature, Credentials, Delivery, Event, Sender, Verifier
from receivers.github import read_named
from receivers.signature import hmac_of

_PRODUCTS = ("forgejo", "gitea", "gogs")  # the newest first: each also sends its ancestors' headers


def verifier(headers: Mapping[str, str], credentials: Credentials) -> Verifier:
    """Return the check of the first signature among Forgejo's, Gitea's and Gogs'. Raises BadSignature."""
    value = _first(headers, "signature")
    if not value:
        raise BadSignature("X-Gitea-Signature is missing: set the Receiver's token as the secret of the hook at the sender")
    return hmac_of(value, credentials, algorithms=("sha256",), bare="sha256")


def name(headers: Mapping[str, str]) -> str:
    """Return the event's name, such as `push`."""
    return _first(headers, "event")


def delivery_id(headers: Mapping[str, str]) -> str:
    """Return the id under which the sender lists the delivery."""
    return _first(headers, "delivery")


def read(delivery: Delivery) -> tuple[Event, ...]:
    """Return a GitPush for `push`, () for other events. Raises BadPayload."""
    return read_named(delivery, name(delivery.headers))


def _first(headers: Mapping[str, str], part: str) -> str:
    return next((headers[f"x-{product}-{part}"] for product in _PRODUCTS if headers.get(f"x-{product}-{part}")), "")


GITEA = Sender(type="gitea", verifier=verifier, read=read, name=name, delivery_id=delivery_id)
