"""What a Receiver's deliveries are checked with: its Secret, read from the API server.

In: a Receiver. Out: Credentials, or NoToken with what to do. Secrets are never written to disk. While a token is exchanged, the
Secret holds the former one as `token-previous` and, as `token-previous-until`, the time at which that ends.
https://fluxcd.io/flux/components/notification/receivers/#secret-reference
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from receivers import RECEIVERS
from receivers.contract import Credentials
from service.cluster.client import ApiError, Cluster
from service.kinds.notification import Receiver

READ_TIMEOUT = timedelta(seconds=10)
PREVIOUS, PREVIOUS_UNTIL = "token-previous", "token-previous-until"
GITHUB_TOKEN, GITHUB_URL = "github-token", "github-url"


class NoToken(Exception):
    """The Secret is missing, or has no usable `token`. The message says which and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a Secret holds: the credentials, and those with the former token while they count too.

    `problem` says why a former token does not count, "" where it does or there is none. `github_token` is for GitHub's own account of the
    hook, at `github_url` where that is not github.com; b"" without one.
    """

    current: Credentials
    previous: Credentials | None = None
    until: datetime | None = None
    problem: str = ""
    github_token: bytes = field(default=b"", repr=False)
    github_url: str = ""


async def held_for(cluster: Cluster, receiver: Receiver) -> Held:
    """Return what the Secret of a Receiver holds. Raises NoToken, ApiAway, ApiError."""
    sender = RECEIVERS.get(receiver.spec.type)
    if sender is not None and sender.issuers:
        return Held(current=Credentials(token=b""))  # the path is made of the names alone, as with Flux
    data, named = await _data(cluster, receiver)
    current = _credentials(receiver.spec.type, data, named)
    host = Held(
        current=current,
        github_token=_decoded(data, GITHUB_TOKEN, named) if receiver.spec.type == "github" else b"",
        github_url=_decoded(data, GITHUB_URL, named).decode("utf-8", "replace").strip(),
    )
    previous = _decoded(data, PREVIOUS, named)
    if not previous or previous == current.token:
        return host
    try:
        until = datetime.fromisoformat(_decoded(data, PREVIOUS_UNTIL, named).decode().strip())
    except ValueError:
        until = None
    if until is None or until.tzinfo is None:
        return replace(host, problem=f"{PREVIOUS} does not count: {PREVIOUS_UNTIL} must say when it ends, as 2027-01-31T18:00:00Z")
    return replace(host, previous=replace(current, token=previous), until=until.astimezone(UTC))


async def _data(cluster: Cluster, receiver: Receiver) -> tuple[Mapping[str, Any], str]:
    """The data of the Secret, and its name for messages. Raises NoToken, ApiAway, ApiError."""
    namespace, name = receiver.metadata.namespace, receiver.spec.secret_ref
    if name is None:
        raise NoToken(f"spec.secretRef: needed by the type {receiver.spec.type}: name a Secret with the key token")
    try:
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/secrets/{quote(name, safe='')}"
        answer = await cluster.request("GET", path, timeout=READ_TIMEOUT)
    except ApiError as error:
        if not error.not_found:
            raise
        raise NoToken(f"Secret {namespace}/{name} is missing: create it with the key token") from error
    return answer.body.get("data") or {}, f"Secret {namespace}/{name}"


def _credentials(type_: str, data: Mapping[str, Any], named: str) -> Credentials:
    """What the type needs of a Secret. Raises NoToken."""
    sender = RECEIVERS.get(type_)
    token = _decoded(data, "token", named)
    if not token:
        raise NoToken(f"{named} has no key token, or it is empty: put the hook's secret there")
    if sender is not None and sender.needs_topic:
        topic = _decoded(data, "topic", named).decode("utf-8", "replace").strip()
        if not topic:
            raise NoToken(f"{named} needs the key topic: the ARN of the topic that messages come from")
        return Credentials(token=token, audience=topic)
    if sender is None or not sender.needs_keys:
        return Credentials(token=token)
    email, audience = (_decoded(data, key, named).decode("utf-8", "replace").strip() for key in ("email", "audience"))
    if not email or not audience:
        raise NoToken(f"{named} needs the keys email and audience: the push subscription's service account and audience")
    return Credentials(token=token, email=email, audience=audience)


def _decoded(data: Mapping[str, Any], key: str, named: str) -> bytes:
    """One value of a Secret, empty where it is not there. Raises NoToken."""
    try:
        return base64.b64decode(data.get(key) or b"", validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise NoToken(f"{named}: the key {key} is not base64") from error
