"""Azure Container Registry, by its own webhooks.

Set up: the registry's Webhooks > Add; the actions push and delete; the address with the Receiver's `status.webhookPath`.
For hooks through Event Grid take the type `cloudevents`.
Proof: none but the path, which is made from the token.
Tells: image, tag and digest; name and version of a pushed chart. https://learn.microsoft.com/azure/container-registry/container-registry-webhook-reference
"""

from receivers.contract import ChartPush, Delivery, Event, ImagePush, Ping, Sender, Unchanged
from receivers.generic import verifier
from receivers.images import named
from receivers.payload import Json, parse, text, text_or


def read(delivery: Delivery) -> tuple[Event, ...]:
    """Return an ImagePush or a ChartPush, Ping for `ping`, () for other actions. Raises BadPayload."""
    payload = parse(delivery.body)
    return events_of(text_or(payload, "action"), payload)


def events_of(action: str, data: Json) -> tuple[Event, ...]:
    """Return what an action on `target`, asked for at `request.host`, says. Raises BadPayload."""
    match action.lower():
        case "push" | "delete":
            return (_image(data, deleted=action.lower() == "delete"),)
        case "chart_push" | "chart_delete":
            return (_chart(data, deleted=action.lower() == "chart_delete"),)
        case "quarantine":
            return (Unchanged(what="quarantine"),)  # it cannot be pulled before the push that follows
        case "ping":
            return (Ping(),)
        case _:
            return ()


def _image(data: Json, *, deleted: bool) -> ImagePush:
    return ImagePush(
        names=(named(text_or(data, "request", "host"), text(data, "target", "repository")),),
        tag=text_or(data, "target", "tag"),
        digest=text_or(data, "target", "digest"),
        deleted=deleted,
    )


def _chart(data: Json, *, deleted: bool) -> ChartPush:
    host = text_or(data, "request", "host")
    return ChartPush(
        urls=(f"https://{host}/helm/v1/repo",) if host else (),
        name=text(data, "target", "name"),
        version=text_or(data, "target", "version").removesuffix(".tgz"),
        deleted=deleted,
    )


ACR = Sender(type="acr", verifier=verifier, read=read)
