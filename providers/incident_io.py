"""incident.io: an alert for a failure, resolved by the recovery.

Credentials: choose Alerts, Sources, HTTP, and put the token of the source into the Secret's key `token` and its URL
(`https://api.incident.io/v2/alert_events/http/...`) into `spec.address`. Sent is a firing alert under the object's UID for a failure and
the same as resolved for a recovery; nothing for what says neither. The format: https://api-docs.incident.io/tag/Alert-Events-V2
"""

from providers.answers import address_of, check, json_request, needs
from providers.card import heading, is_error, line, object_name, plain
from providers.contract import Dialogue, Event, Target, recovers
from providers.reason import words


def converse(event: Event, target: Target) -> Dialogue:
    """Raise or resolve. Raises Misconfigured, Rejected, Busy."""
    address = address_of(target)
    token = needs(target.token, "no token: put the alert source's token into the Secret's key token")
    if not is_error(event) and not recovers(event.severity, event.reason):
        return
    metadata = {line(name, 100) or "-": plain(text, 1_000) for name, text in sorted(event.metadata.items())[:50]}
    own = {"kind": event.kind, "name": event.name, "namespace": event.namespace, "reason": event.reason, "severity": event.severity}
    body = {
        "title": line(heading(event, f"{words(event.reason)}: {object_name(event)}"), 250),
        "description": plain(event.message or event.reason, 10_000),
        "status": "firing" if is_error(event) else "resolved",
        "deduplication_key": event.uid or object_name(event),
        "metadata": metadata | {name: line(text, 300) for name, text in own.items()},
    }
    answer = yield json_request(address, body, headers={"Authorization": f"Bearer {token}"})
    check("incident.io", answer, to_do={404: "set spec.address to the URL of the alert source"})
