"""CDEvents: Jenkins, Tekton and other builders that tell of what they published, as CloudEvents in the binary binding.

Set up: give the sender the address with the Receiver's `status.webhookPath`. `spec.events` are types, such as
`dev.cdevents.artifact.published.0.2.0`, compared with the header `Ce-Type`.
Proof: none but the path, which is made from the token; a body that is no CDEvent is refused.
Tells: name, tag and digest of an image, where the artifact's id is a package URL of an image. https://cdevents.dev/docs/
"""

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote

from receivers.contract import BadPayload, Delivery, Event, ImagePush, Sender
from receivers.generic import verifier
from receivers.images import named
from receivers.payload import Json, parse, text

_TYPE = re.compile(r"dev\.cdevents\.(?P<subject>[a-z]+)\.(?P<predicate>[a-z]+)\.\d+\.\d+\.\d+(?:-[a-z]+)?")
_PURL = re.compile(r"pkg:(?:oci|docker)/(?P<path>[^@?#]+)(?:@(?P<version>[^?#]+))?(?:\?(?P<qualifiers>[^#]*))?(?:#.*)?", re.IGNORECASE)
_NEEDED = ("version", "id", "source", "timestamp")
_QUALIFIERS = 16


def name(headers: Mapping[str, str]) -> str:
    """Return the event's type as the header tells it."""
    return headers.get("ce-type", "")


def delivery_id(headers: Mapping[str, str]) -> str:
    """Return the event's id."""
    return headers.get("ce-id", "")


def read(delivery: Delivery) -> tuple[Event, ...]:
    """Return an ImagePush for a published image, () for other events. Raises BadPayload, also for what is no CDEvent."""
    return events_of(parse(delivery.body))


def events_of(payload: Json) -> tuple[Event, ...]:
    """Return what the JSON of a CDEvent says. Raises BadPayload."""
    kind = _TYPE.fullmatch(text(payload, "context", "type"))
    if kind is None:
        raise BadPayload("context.type", "not a type of CDEvents, such as dev.cdevents.artifact.published.0.2.0")
    for each in _NEEDED:
        if not text(payload, "context", each):
            raise BadPayload(f"context.{each}", "empty, and needed in each CDEvent")
    subject = text(payload, "subject", "id")
    if kind["subject"] != "artifact" or kind["predicate"] not in ("published", "deleted"):
        return ()
    found = _image(subject, deleted=kind["predicate"] == "deleted")
    return () if found is None else (found,)


def _image(purl: str, *, deleted: bool) -> ImagePush | None:
    """What a package URL says: `pkg:oci/shop@sha256:...?repository_url=ghcr.io/acme/shop&tag=1.0`, `pkg:docker/acme/shop@1.0`."""
    parts = _PURL.fullmatch(purl)
    if parts is None:
        return None
    try:
        qualifiers = dict(parse_qsl(parts["qualifiers"] or "", max_num_fields=_QUALIFIERS))
    except ValueError as error:
        raise BadPayload("subject.id", "the package URL's qualifiers cannot be read") from error
    path, version = unquote(parts["path"]).strip("/"), unquote(parts["version"] or "")
    host = qualifiers.get("repository_url", "").removeprefix("https://").strip("/")
    last = path.rpartition("/")[2]
    whole = host if host.endswith(f"/{last}") else named(host, path)  # OCI's holds the whole name, Docker's the host
    digest = version if version.startswith("sha256:") else ""
    return ImagePush(names=(whole,), tag=qualifiers.get("tag", "") or ("" if digest else version), digest=digest, deleted=deleted)


CDEVENTS = Sender(type="cdevents", verifier=verifier, read=read, name=name, delivery_id=delivery_id)
