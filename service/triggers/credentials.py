"""What a Receiver's deliveries are checked with: its Secret, read from the API server.

In: a Receiver. Out: Credentials, or NoToken with what to do. Secrets are never written to disk.
https://fluxcd.io/flux/components/notification/receivers/#secret-reference
"""

import base64
import binascii
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from receivers import RECEIVERS
from receivers.contract import Credentials
from service.cluster.client import ApiError, Cluster
from service.kinds.notification import Receiver

READ_TIMEOUT = timedelta(seconds=10)


class NoToken(Exception):
    """The Secret is missing, or has no usable `token`. The message says which and what to do."""


async def credentials_of(cluster: Cluster, receiver: Receiver) -> Credentials:
    """Return what the Secret of a Receiver holds. Raises NoToken, ApiAway, ApiError."""
    namespace, name = receiver.metadata.namespace, receiver.spec.secret_ref
    sender = RECEIVERS.get(receiver.spec.type)
    if sender is not None and sender.issuers:
        return Credentials(token=b"")  # the path is made of the names alone, as with Flux
    if name is None:
        raise NoToken(f"spec.secretRef: needed by the type {receiver.spec.type}: name a Secret with the key token")
    try:
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/secrets/{quote(name, safe='')}"
        answer = await cluster.request("GET", path, timeout=READ_TIMEOUT)
    except ApiError as error:
        if not error.not_found:
            raise
        raise NoToken(f"Secret {namespace}/{name} is missing: create it with the key token") from error
    data = answer.body.get("data") or {}
    token = _decoded(data, "token", f"Secret {namespace}/{name}")
    if not token:
        raise NoToken(f"Secret {namespace}/{name} has no key token, or it is empty: put the hook's secret there")
    if sender is not None and sender.needs_topic:
        topic = _decoded(data, "topic", f"Secret {namespace}/{name}").decode("utf-8", "replace").strip()
        if not topic:
            raise NoToken(f"Secret {namespace}/{name} needs the key topic: the ARN of the topic that messages come from")
        return Credentials(token=token, audience=topic)
    if sender is None or not sender.needs_keys:
        return Credentials(token=token)
    email, audience = (
        _decoded(data, key, f"Secret {namespace}/{name}").decode("utf-8", "replace").strip() for key in ("email", "audience")
    )
    if not email or not audience:
        raise NoToken(f"Secret {namespace}/{name} needs the keys email and audience: the push subscription's service account and audience")
    return Credentials(token=token, email=email, audience=audience)


def _decoded(data: Mapping[str, Any], key: str, named: str) -> bytes:
    """One value of a Secret, empty where it is not there. Raises NoToken."""
    try:
        return base64.b64decode(data.get(key) or b"", validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise NoToken(f"{named}: the key {key} is not base64") from error
