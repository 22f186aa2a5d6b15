"""sentry: an issue for a failure, a transaction for a success.

Credentials: in the project's settings choose Client Keys (DSN) and put the DSN (`https://<key>@<host>/<project>`) into the Secret's key
`address`; `spec.channel` is the environment. Sent is an envelope whose id is made of the event: a repetition is counted once. The format:
https://develop.sentry.dev/sdk/data-model/envelopes/
"""

import hashlib
import json
import re
from urllib.parse import urlsplit

from providers.answers import address_of, dumped, settle_as
from providers.card import is_error, line, plain
from providers.contract import Event, Misconfigured, Request, Secret, Target
from providers.flux_event import flux_bytes, timestamp

TEXT = 8_000
settle = settle_as("Sentry", {401: "put a valid DSN into the Secret's key address", 403: "put a valid DSN into the Secret's key address"})


def render(event: Event, target: Target) -> Request:
    """Return the request that posts the envelope. Raises Misconfigured where the DSN is missing or none."""
    parts = urlsplit(address_of(target))
    prefix, _, project = parts.path.rstrip("/").rpartition("/")
    key = parts.username or ""
    if not re.fullmatch(r"[A-Za-z0-9]{1,100}", key) or not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", project):
        raise Misconfigured("the address is not a DSN: set it to https://<key>@<host>/<project>, as the project's Client Keys show it")
    digest = hashlib.sha256(flux_bytes(event)).hexdigest()
    kind = "event" if is_error(event) else "transaction"
    payload = dumped(_shared(event, digest, target.channel) | (_issue(event) if is_error(event) else _transaction(event, digest)))
    head = json.dumps({"event_id": digest[:32], "sent_at": timestamp(event)}).encode()
    item = json.dumps({"type": kind, "length": len(payload), "content_type": "application/json"}).encode()
    host = parts.netloc.rpartition("@")[2]
    headers = {
        "Content-Type": "application/x-sentry-envelope",
        "X-Sentry-Auth": f"Sentry sentry_version=7, sentry_client=sluice/1, sentry_key={key}",
    }
    url = Secret(f"{parts.scheme}://{host}{prefix}/api/{project}/envelope/")
    return Request(method="POST", url=url, headers=headers, body=b"\n".join((head, item, payload, b"")))


def _shared(event: Event, digest: str, environment: str) -> dict[str, object]:
    body: dict[str, object] = {
        "event_id": digest[:32],
        "timestamp": event.timestamp.timestamp(),
        "platform": "other",
        "transaction": line(f"{event.kind}: {event.namespace}/{event.name}", 200),
        "message": {"formatted": plain("\n".join(filter(None, (event.title, event.message or event.reason))), TEXT)},
    }
    return body | ({"environment": line(environment, 64)} if environment else {})


def _metadata(event: Event) -> dict[str, str]:
    return {line(name, 32) or "-": line(text, 200) for name, text in sorted(event.metadata.items())[:40]}


def _issue(event: Event) -> dict[str, object]:
    """All failures of an object for the same reason are one issue."""
    return {
        "level": "error",
        "server_name": line(event.controller, 100),
        "fingerprint": [line(each, 300) or "-" for each in (event.kind, event.namespace, event.name, event.reason)],
        "contexts": {"metadata": _metadata(event)},
    }


def _transaction(event: Event, digest: str) -> dict[str, object]:
    own = {"kind": event.kind, "namespace": event.namespace, "name": event.name}
    tags = {f"flux_involved_object_{name}": line(text, 200) for name, text in own.items()}
    tags |= {"flux_reporting_controller": line(event.controller, 200), "flux_reporting_instance": line(event.instance, 200)}
    tags |= {"flux_reason": line(event.reason, 200)}
    return {
        "type": "transaction",
        "start_timestamp": event.timestamp.timestamp(),
        "contexts": {"trace": {"trace_id": digest[:32], "span_id": digest[32:48], "op": "event", "status": "ok"}},
        "tags": {name: text for name, text in (_metadata(event) | tags).items() if text},
        "spans": [],
    }
