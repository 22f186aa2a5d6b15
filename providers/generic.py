"""generic: the event itself, as JSON, to any address.

Credentials: none are needed; what the receiver of the request asks for goes into the Secret's key `headers`, a YAML map such as
`Authorization: Bearer ...`. Sent is Flux's event JSON by POST, with the header `Gotk-Component`, also for events that only refresh
a commit's status. `Idempotency-Key` is the same in every attempt of a message: a kill between the answer and our note of it sends it
again. The format: https://fluxcd.io/flux/components/notification/providers/#generic-webhook
"""

from providers.answers import JSON, address_of, settle_as
from providers.contract import Event, Request, Secret, Target
from providers.flux_event import flux_bytes

settle = settle_as("the webhook")


def render(event: Event, target: Target) -> Request:
    """Return the request that posts the event. Raises Misconfigured where there is no address."""
    return Request(method="POST", url=Secret(address_of(target)), headers=headers_of(event, target), body=flux_bytes(event))


def headers_of(event: Event, target: Target) -> dict[str, str]:
    """The headers, those of the Secret last, so that they win."""
    component = "".join(each for each in event.controller if " " <= each <= "~")[:200]
    again = {"Idempotency-Key": event.id} if event.id else {}
    return {"Content-Type": JSON, "Gotk-Component": component, **again, **target.headers}
