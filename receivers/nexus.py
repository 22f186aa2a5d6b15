"""Sonatype Nexus Repository 3.

Set up: Administration > System > Capabilities > Create > Webhook: Repository; the repository, the event types component (and asset), the
Receiver's token as the secret key.
Proof: `X-Nexus-Webhook-Signature`: a hex HMAC-SHA1 of the body with the token.
Tells: name and tag of an image, name and version of a chart; neither host nor digest.
https://help.sonatype.com/en/example-headers-and-payloads.html
"""

import re
from collections.abc import Mapping

from receivers.contract import BadSignature, ChartPush, Credentials, Delivery, Event, ImagePush, Sender, Unchanged, Verifier
from receivers.images import named, tag_or_digest
from receivers.payload import Json, parse, text, text_or
from receivers.signature import hmac_of

_MANIFEST = re.compile(r"/?v2/(?P<name>.+)/manifests/(?P<reference>[^/]+)")


def verifier(headers: Mapping[str, str], credentials: Credentials) -> Verifier:
    """Return the check of `X-Nexus-Webhook-Signature`. Raises BadSignature."""
    if "x-nexus-webhook-signature" not in headers:
        raise BadSignature("X-Nexus-Webhook-Signature is missing: set the Receiver's token as the secret key of the capability")
    return hmac_of(headers["x-nexus-webhook-signature"], credentials, algorithms=("sha1",), bare="sha1")


def delivery_id(headers: Mapping[str, str]) -> str:
    """Return the id of the delivery."""
    return headers.get("x-nexus-webhook-delivery", "")


def read(delivery: Delivery) -> tuple[Event, ...]:
    """Return an ImagePush or a ChartPush, Unchanged for a layer, () for other formats and events. Raises BadPayload."""
    payload = parse(delivery.body)
    deleted = text_or(payload, "action").upper() in ("DELETED", "PURGED")
    if payload.get("component") is not None:
        return _component(payload, deleted=deleted)
    if payload.get("asset") is not None:
        return _asset(payload, deleted=deleted)
    return ()


def _component(payload: Json, *, deleted: bool) -> tuple[Event, ...]:
    version = text_or(payload, "component", "version")
    match text_or(payload, "component", "format"):
        case "docker":
            tag, digest = tag_or_digest(version)
            return (ImagePush(names=(named("", text(payload, "component", "name")),), tag=tag, digest=digest, deleted=deleted),)
        case "helm":
            return (ChartPush(urls=(), name=text(payload, "component", "name"), version=version, deleted=deleted),)
        case _:
            return ()


def _asset(payload: Json, *, deleted: bool) -> tuple[Event, ...]:
    if text_or(payload, "asset", "format") != "docker":
        return ()
    found = _MANIFEST.fullmatch(text_or(payload, "asset", "name"))
    if found is None:
        return (Unchanged(what="layer"),)
    tag, digest = tag_or_digest(found["reference"])
    return (ImagePush(names=(named("", found["name"]),), tag=tag, digest=digest, deleted=deleted),)


NEXUS = Sender(type="nexus", verifier=verifier, read=read, delivery_id=delivery_id)
