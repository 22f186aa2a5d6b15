"""Zot.

Set up, in Zot's configuration: `"extensions": {"events": {"enable": true, "sinks": [{"type": "http",
"address": "https://hooks.example.com/hook/...", "credentials": {"username": "sluice", "password": "TOKEN"}}]}}`.
Zot sends an event once: what it could not deliver is found at the interval.
Proof: `Authorization` holds the token, as the Basic password or as `Bearer`.
Tells: image, tag and digest, not its own host. https://zotregistry.dev/latest/articles/events/
"""

from collections.abc import Mapping

from receivers.cloudevent import cloud_event
from receivers.contract import BadSignature, Credentials, Delivery, Event, ImagePush, Sender, Unchanged, Verifier
from receivers.images import named, tag_or_digest
from receivers.payload import Json, text, text_or
from receivers.signature import authorization


def verifier(headers: Mapping[str, str], credentials: Credentials) -> Verifier:
    """Return the check of `Authorization`. Raises BadSignature."""
    if "authorization" not in headers:
        raise BadSignature("Authorization is missing: set the Receiver's token as the password of the sink's credentials")
    return authorization(headers["authorization"], credentials)


def name(headers: Mapping[str, str]) -> str:
    """Return the event's type, such as `zotregistry.image.updated`."""
    return headers.get("ce-type", "")


def delivery_id(headers: Mapping[str, str]) -> str:
    """Return the event's id."""
    return headers.get("ce-id", "")


def read(delivery: Delivery) -> tuple[Event, ...]:
    """Return an ImagePush for updated and deleted images, Unchanged for a new empty repository, () otherwise. Raises BadPayload."""
    event = cloud_event(delivery)
    return events_of(event.type, event.data)


def events_of(kind: str, data: Json) -> tuple[Event, ...]:
    """Return what the data of an event of that type says; what stands before its last two parts can be configured. Raises BadPayload."""
    match ".".join(kind.split(".")[-2:]):
        case "image.updated" | "image.deleted" as what:
            tag, digest = tag_or_digest(text_or(data, "reference"))
            told = text_or(data, "digest") or digest
            return (ImagePush(names=(named("", text(data, "name")),), tag=tag, digest=told, deleted=what == "image.deleted"),)
        case "repository.created" | "image.lint_failed" as what:
            return (Unchanged(what=what),)
        case _:
            return ()


ZOT = Sender(type="zot", verifier=verifier, read=read, name=name, delivery_id=delivery_id)
