"""The CNCF registry (distribution, `registry:2` and `registry:3`) and what builds on it, such as GitLab's container registry.

Set up, in the registry's configuration:
`notifications: {endpoints: [{name: sluice, url: https://hooks.example.com/hook/..., headers: {Authorization: [Bearer TOKEN]},
ignore: {mediatypes: [application/octet-stream], actions: [pull]}}]}`. (GitLab, self-managed: `registry['notifications']` in gitlab.rb.)
Proof: `Authorization` holds the token: `Bearer <token>`, `Basic` with it as the password, or it alone.
Tells: image, tag and digest. Layers and pulls are taken and run nothing: each of our own fetches is a pull.
https://distribution.github.io/distribution/about/notifications/
"""

from collections.abc import Mapping

from receivers.contract import BadPayload, BadSignature, Credentials, Delivery, Event, ImagePush, Sender, Unchanged, Verifier
from receivers.images import MANIFESTS, host_of, named
from receivers.payload import Json, length_of, parse, text, text_or
from receivers.signature import authorization

MOST_EVENTS = 500  # of one envelope: a registry sends a few, and more would hold the service up


def verifier(headers: Mapping[str, str], credentials: Credentials) -> Verifier:
    """Return the check of `Authorization`. Raises BadSignature."""
    if "authorization" not in headers:
        raise BadSignature("Authorization is missing: add it with the Receiver's token to the endpoint's headers")
    return authorization(headers["authorization"], credentials)


def read(delivery: Delivery) -> tuple[Event, ...]:
    """Return an ImagePush for each manifest, one Unchanged where there is nothing else. Raises BadPayload."""
    payload = parse(delivery.body)
    count = length_of(payload, "events")
    if count is None:
        raise BadPayload("events", "missing: this is no envelope of a registry's notifications")
    if count > MOST_EVENTS:
        return ()
    found = dict.fromkeys(image for number in range(count) if (image := _image(payload, number)) is not None)
    return tuple(found) or (Unchanged(what="pulls and layers"),)


def _image(payload: Json, number: int) -> ImagePush | None:
    event = ("events", number)
    action, kind = text(payload, *event, "action"), text_or(payload, *event, "target", "mediaType")
    if action not in ("push", "delete") or (kind and kind not in MANIFESTS):
        return None
    if not kind and action == "push":
        return None
    host = text_or(payload, *event, "request", "host") or host_of(text_or(payload, *event, "target", "url"))
    return ImagePush(
        names=(named(host, text(payload, *event, "target", "repository")),),
        tag=text_or(payload, *event, "target", "tag"),
        digest=text_or(payload, *event, "target", "digest"),
        deleted=action == "delete",
    )


DISTRIBUTION = Sender(type="distribution", verifier=verifier, read=read)
