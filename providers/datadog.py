"""datadog: one event in Datadog.

Credentials: choose Organization Settings, API Keys, New Key, and put it into the Secret's key `token`; the address is that of your site,
such as `https://api.datadoghq.com` or `https://api.datadoghq.eu`. Sent is an event of the source fluxcd, with the object and the metadata
as tags in lower case, all of one object under one aggregation key. The format:
https://docs.datadoghq.com/api/latest/events/#post-an-event-v1
"""

from urllib.parse import urlsplit

from providers.answers import address_of, json_request, needs, settle_as
from providers.card import facts, heading, is_error, line, plain
from providers.contract import Event, Request, Target

TEXT = 3_900  # of 4,000
settle = settle_as("Datadog", {403: "put a valid API key into the Secret's key token, and set spec.address to your site"})


def render(event: Event, target: Target) -> Request:
    """Return the request that posts the event. Raises Misconfigured where address or key is missing."""
    parts = urlsplit(address_of(target))
    key = needs(target.token, "no API key: put it into the Secret's key token")
    own = {"flux_reporting_controller": event.controller, "flux_reason": event.reason, "kube_kind": event.kind}
    own |= {"kube_name": event.name, "kube_namespace": event.namespace}
    pairs = [*own.items(), *facts(event, longest=180)]
    text = plain(event.message or event.reason, TEXT)
    body: dict[str, object] = {
        "title": line(heading(event, f"Events from the {event.kind} {event.name}/{event.namespace}"), 100),
        "text": f"\u200b{text}" if text.startswith("%%%") else text,  # those three would make Markdown of it
        "tags": [f"{name}:{line(value, 180)}".lower() for name, value in pairs if line(value, 180)],
        "source_type_name": "fluxcd",
        "date_happened": int(event.timestamp.timestamp()),
        "alert_type": "error" if is_error(event) else "info",
    }
    if event.uid:
        body["aggregation_key"] = line(event.uid, 100)
    return json_request(f"{parts.scheme}://{parts.netloc}/api/v1/events", body, headers={"DD-API-KEY": key})
