"""Quay: quay.io and Red Hat Quay.

Set up: the repository's Settings > Events and Notifications > Create Notification; the event "Push to Repository", the method
"Webhook POST", the address with the Receiver's `status.webhookPath`.
Proof: none but the path, which is made from the token.
Tells: image and tags, no digest. https://docs.projectquay.io/use_quay.html#repository-events
"""

from collections.abc import Mapping

from receivers.contract import Delivery, Event, ImagePush, Sender
from receivers.generic import verifier
from receivers.images import named
from receivers.payload import Json, length_of, parse, text_or, texts

MOST_TAGS = 200


def read(delivery: Delivery) -> tuple[Event, ...]:
    """Return an ImagePush for each tag, () for other notifications. Raises BadPayload."""
    payload = parse(delivery.body)
    found = text_or(payload, "docker_url") or named("", text_or(payload, "repository"))
    return tuple(ImagePush(names=(found,), tag=tag) for tag in _tags(payload)) if found.strip("/") else ()


def _tags(payload: Mapping[str, Json]) -> tuple[str, ...]:
    """The updated tags: a list, or, of older Quays, a map from tag to image id; () where they are too many to be of use."""
    tags = payload.get("updated_tags")
    if isinstance(tags, Mapping):
        payload = {"updated_tags": list(tags)}
    return (texts(payload, "updated_tags") or ()) if (length_of(payload, "updated_tags") or 0) <= MOST_TAGS else ()


QUAY = Sender(type="quay", verifier=verifier, read=read)
