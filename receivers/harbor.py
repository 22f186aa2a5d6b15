"""Harbor.

Set up: the project's Webhooks > New Webhook; notify type http, either payload format, the Receiver's token as the Auth Header, whole; the
events "Artifact pushed", "Artifact deleted" and, where images are only pulled after a scan, "Scanning finished".
Proof: `Authorization` is the token, whole (an Auth Header of `Bearer x` needs the token `Bearer x`).
Tells: image, tag and digest. Pulls are taken and run nothing: each of our own fetches is one.
https://goharbor.io/docs/latest/working-with-projects/project-configuration/configure-webhooks/
"""

from collections.abc import Mapping

from receivers.cloudevent import cloud_event, is_cloud_event
from receivers.contract import BadSignature, Credentials, Delivery, Event, ImagePush, Sender, Unchanged, Verifier
from receivers.images import named, split, tag_or_digest
from receivers.payload import Json, length_of, parse, text_or
from receivers.signature import token_in

_PUSHED = ("push_artifact", "harbor.artifact.pushed")
_SCANNED = ("scanning_completed", "harbor.scan.completed")  # from then on it may be pulled, where the project asks for a scan
_DELETED = ("delete_artifact", "harbor.artifact.deleted")
MOST_RESOURCES = 200  # of one event: more are as good as not told
_PULLED = ("pull_artifact", "harbor.artifact.pulled")


def verifier(headers: Mapping[str, str], credentials: Credentials) -> Verifier:
    """Return the check of `Authorization`. Raises BadSignature."""
    if "authorization" not in headers:
        raise BadSignature("Authorization is missing: set the Receiver's token as the webhook's Auth Header")
    return token_in(headers["authorization"], credentials)


def read(delivery: Delivery) -> tuple[Event, ...]:
    """Return an ImagePush for each resource, Unchanged for a pull, () for other events. Raises BadPayload."""
    payload = parse(delivery.body)
    if is_cloud_event(delivery.headers, payload):
        event = cloud_event(delivery)
        return events_of(event.type, event.data)
    return events_of(text_or(payload, "type"), payload.get("event_data"))


def events_of(kind: str, data: Json) -> tuple[Event, ...]:
    """Return what the data of an event of that type says; `kind` in either of Harbor's formats. Raises BadPayload."""
    kind = kind.lower()
    if kind in _PULLED:
        return (Unchanged(what=kind),)
    if kind not in (*_PUSHED, *_SCANNED, *_DELETED):
        return ()
    count = length_of(data, "resources") or 0
    return tuple(_image(data, number, deleted=kind in _DELETED) for number in range(count)) if count <= MOST_RESOURCES else ()


def _image(data: Json, number: int, *, deleted: bool) -> ImagePush:
    found, tag, digest = split(text_or(data, "resources", number, "resource_url"))
    if "/" not in found:
        found = named("", text_or(data, "repository", "repo_full_name"))
    told, other = tag_or_digest(text_or(data, "resources", number, "tag"))
    return ImagePush(
        names=(found,), tag=told or tag, digest=text_or(data, "resources", number, "digest") or digest or other, deleted=deleted
    )


HARBOR = Sender(type="harbor", verifier=verifier, read=read)
