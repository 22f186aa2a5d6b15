"""opsgenie: an alert for a failure, closed by the recovery. Flux never closes them, and opens alerts for successes too.

Credentials: in Opsgenie choose Settings, Integrations, API, and put the API key into the Secret's key `token`; the address is
`https://api.opsgenie.com/v2/alerts`, or `https://api.eu.opsgenie.com/v2/alerts`. Sent is an alert for a failure, under an alias made of
the Provider and the object, and the closing of that alias for a recovery; nothing for what says neither. The format:
https://docs.opsgenie.com/docs/alert-api
"""

import hashlib

from providers.answers import check, json_request, needs
from providers.card import heading, is_error, line, plain
from providers.contract import Dialogue, Event, Target, recovers

ADDRESS = "https://api.opsgenie.com/v2/alerts"
TO_DO = {401: "put a valid API key into the Secret's key token", 403: "give the API key the right to create and close alerts"}
TO_DO |= {404: "set spec.address to https://api.opsgenie.com/v2/alerts", 422: "check what the integration asks of an alert"}


def converse(event: Event, target: Target) -> Dialogue:
    """Open or close. Raises Misconfigured, Rejected, Busy."""
    key = needs(target.token, "no API key: put it into the Secret's key token")
    address, headers = (target.address.reveal() or ADDRESS).rstrip("/"), {"Authorization": f"GenieKey {key}"}
    alias = alias_of(event, target)
    if is_error(event):
        details = {line(name, 100) or "-": plain(text, 500) for name, text in sorted(event.metadata.items())[:12]}
        details |= {"severity": event.severity, "reason": line(event.reason, 100), "namespace": line(event.namespace, 300)}
        body = {
            "message": line(heading(event, f"{event.kind}/{event.name}"), 130),
            "alias": alias,
            "description": plain(event.message or event.reason, 14_000),
            "details": details,
            "source": line(event.controller, 100),
        }
        check("Opsgenie", (yield json_request(address, body, headers=headers)), to_do=TO_DO)
    elif recovers(event.severity, event.reason):
        note = {"source": line(event.controller, 100), "note": plain(event.message or event.reason, 2_000)}
        closing = json_request(f"{address}/{alias}/close?identifierType=alias", note, headers=headers)
        check("Opsgenie", (yield closing), to_do=TO_DO)


def alias_of(event: Event, target: Target) -> str:
    """The same for all failures of an object, so that its recovery closes them."""
    parts = (target.uid, event.kind, event.namespace, event.name)
    return hashlib.sha256("/".join(parts).encode(errors="replace")).hexdigest()
