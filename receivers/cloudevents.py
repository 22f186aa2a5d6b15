"""Anything that sends CloudEvents over HTTP, in the binary or the structured binding: Azure Event Grid, Knative, Argo Events, a script.

Set up: the address with the Receiver's `status.webhookPath`, and the header `Authorization: Bearer <token>`. (Event Grid: a subscription
with the CloudEvents schema, endpoint type Web Hook, and `Authorization` as a secret static delivery property; its handshake is answered.)
Proof: `Authorization` holds the token.
Tells: image, tag and digest in events of Azure Container Registry, Harbor, Zot and CDEvents; bucket and key in those of Azure's and
Google's storage. Other types say nothing: all that the Receiver names runs. https://github.com/cloudevents/spec
"""

from collections.abc import Mapping

from receivers import acr, cdevents, harbor, zot
from receivers.cloudevent import CloudEvent, cloud_event
from receivers.contract import BadSignature, BucketChange, Credentials, Delivery, Event, Sender, Verifier
from receivers.payload import text, text_or
from receivers.signature import authorization

_AZURE_IMAGES = "Microsoft.ContainerRegistry."
_AZURE_ACTIONS = {"ImagePushed": "push", "ImageDeleted": "delete", "ChartPushed": "chart_push", "ChartDeleted": "chart_delete"}
_AZURE_BLOBS = {"Microsoft.Storage.BlobCreated": False, "Microsoft.Storage.BlobDeleted": True}
_GOOGLE_OBJECTS = {"google.cloud.storage.object.v1.finalized": False, "google.cloud.storage.object.v1.deleted": True}
_CONTAINERS, _BLOBS = "/blobServices/default/containers/", "/blobs/"


def verifier(headers: Mapping[str, str], credentials: Credentials) -> Verifier:
    """Return the check of `Authorization`. Raises BadSignature."""
    if "authorization" not in headers:
        raise BadSignature("Authorization is missing: let the sender send it with the Receiver's token")
    return authorization(headers["authorization"], credentials)


def delivery_id(headers: Mapping[str, str]) -> str:
    """Return the event's id, which only the binary binding tells in a header."""
    return headers.get("ce-id", "")


def read(delivery: Delivery) -> tuple[Event, ...]:
    """Return what events of the known types say, () for others. Raises BadPayload."""
    event = cloud_event(delivery)
    if event.type.startswith(_AZURE_IMAGES):
        return acr.events_of(_AZURE_ACTIONS.get(event.type.removeprefix(_AZURE_IMAGES), ""), event.data)
    if event.type.startswith("harbor."):
        return harbor.events_of(event.type, event.data)
    if event.type.startswith("dev.cdevents."):
        return cdevents.events_of(event.data)
    if event.type in _AZURE_BLOBS:
        return _azure_blob(event)
    if event.type in _GOOGLE_OBJECTS:
        bucket, key = text(event.data, "bucket"), text_or(event.data, "name")
        return (BucketChange(bucket=bucket, key=key, deleted=_GOOGLE_OBJECTS[event.type]),)
    if event.type.startswith("zotregistry."):
        return zot.events_of(event.type, event.data)
    return ()


def _azure_blob(event: CloudEvent) -> tuple[Event, ...]:
    """The subject is `/blobServices/default/containers/<container>/blobs/<path>`."""
    container, found, key = event.subject.removeprefix(_CONTAINERS).partition(_BLOBS)
    if not found or not event.subject.startswith(_CONTAINERS):
        return ()
    return (BucketChange(bucket=container, key=key, deleted=_AZURE_BLOBS[event.type]),)


CLOUDEVENTS = Sender(type="cloudevents", verifier=verifier, read=read, delivery_id=delivery_id, asks_first=True)
