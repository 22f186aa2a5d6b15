"""pagerduty: an incident for a failure, resolved by the recovery, and change events.

Credentials: in the service's Integrations tab add "Events API V2" and put its integration key into `spec.channel`; the address is
`https://events.pagerduty.com`, or `https://events.eu.pagerduty.com`. Sent is a trigger under the object's UID for a failure, a resolve
for a recovery and a change event for a success; nothing for what says neither. The format:
https://developer.pagerduty.com/docs/events-api-v2-overview
"""

from urllib.parse import urlsplit

from providers.answers import check, json_request, needs
from providers.card import heading, is_error, line, object_name, plain
from providers.contract import Dialogue, Event, Target, recovers
from providers.flux_event import timestamp
from providers.reason import words

ADDRESS = "https://events.pagerduty.com"
TEXT, SUMMARY = 30_000, 1_000
TO_DO = {400: "check the integration key in spec.channel", 403: "check the integration key in spec.channel"}


def converse(event: Event, target: Target) -> Dialogue:
    """Trigger, or resolve and tell of the change. Raises Misconfigured, Rejected, Busy."""
    parts = urlsplit(target.address.reveal() or ADDRESS)
    server = f"{parts.scheme}://{parts.netloc}"
    key = needs(target.channel, "no integration key: set spec.channel")
    about = {
        "summary": line(heading(event, f"{words(event.reason)}: {object_name(event)}"), SUMMARY),
        "source": f"Flux {line(event.controller, 100)}",
    }
    about |= {"timestamp": timestamp(event)}
    details = {"message": plain(event.message, TEXT), "metadata": {name: plain(text, 2_000) for name, text in metadata(event).items()}}
    enqueue = {"routing_key": key, "dedup_key": event.uid or object_name(event)}
    if is_error(event):
        parts_of = {"severity": "error", "component": line(event.name, 250), "group": line(event.kind, 250), "custom_details": details}
        body: dict[str, object] = enqueue | {"event_action": "trigger", "payload": about | parts_of}
    elif recovers(event.severity, event.reason):
        body = {**enqueue, "event_action": "resolve"}
    else:
        return
    check("PagerDuty", (yield json_request(f"{server}/v2/enqueue", body)), to_do=TO_DO)
    if not is_error(event) and not event.recovery_only:
        change = {"routing_key": key, "payload": about | {"custom_details": details}}
        check("PagerDuty", (yield json_request(f"{server}/v2/change/enqueue", change)), to_do=TO_DO)


def metadata(event: Event) -> dict[str, str]:
    """At most 50 names of the metadata, in order."""
    return dict(sorted(event.metadata.items())[:50])
