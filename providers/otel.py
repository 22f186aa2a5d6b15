"""otel: one span for an OpenTelemetry collector; all spans of one Alert and one revision are one trace.

Credentials: none, or `token`, or `username` and `password`, or `headers`, in the Secret, as the collector asks (Flux forgets them without
`headers`). The address is the collector's, such as `http://otel-collector:4318/v1/traces`. Sent is OTLP over HTTP as JSON, with Flux's
ids, names and attributes; nothing for a HelmRepository. The format: https://opentelemetry.io/docs/specs/otlp/#otlphttp and
https://github.com/open-telemetry/opentelemetry-proto
"""

import hashlib
from urllib.parse import urlsplit, urlunsplit

from providers.answers import address_of, basic, check, has_pair, json_request
from providers.card import is_error, line, plain
from providers.contract import Dialogue, Event, Target
from providers.flux_event import flux_bytes

TEXT = 8_000


def converse(event: Event, target: Target) -> Dialogue:
    """Send the span. Raises Misconfigured, Rejected, Busy."""
    parts = urlsplit(address_of(target))
    url = urlunsplit(parts._replace(path=parts.path if parts.path.strip("/") else "/v1/traces"))
    if event.kind == "HelmRepository":  # as in Flux: no source of what is deployed
        return
    headers = dict(target.headers)
    if not any(name.lower() == "authorization" for name in headers):
        if target.token:
            headers["Authorization"] = f"Bearer {target.token.reveal()}"
        elif has_pair(target):
            headers["Authorization"] = basic(target.username, target.password)
    namespace = event.alert.partition("/")[0]
    resource = {"service.name": event.alert, "service.namespace": namespace, "service.instance.id": event.alert_uid}
    scope = {"scope": {"name": "flux:notification-controller"}, "spans": [span(event)]}
    body = {"resourceSpans": [{"resource": {"attributes": _attributes(resource)}, "scopeSpans": [scope]}]}
    check("the collector", (yield json_request(url, body, headers=headers)))


def span(event: Event) -> dict[str, object]:
    """The span as OTLP's JSON."""
    own = {"object.uid": event.uid, "object.kind": event.kind, "object.name": event.name, "object.namespace": event.namespace}
    nanoseconds = str(int(event.timestamp.timestamp() * 1_000_000) * 1_000)
    told = {line(name, 100) or "-": plain(text, 1_000) for name, text in sorted(event.metadata.items())[:100]}
    return {
        "traceId": hashlib.sha256(f"{event.alert_uid}:{_revision(event)}".encode(errors="replace")).hexdigest()[:32],
        "spanId": hashlib.sha256(flux_bytes(event)).hexdigest()[:16],
        "name": line(f"{event.kind}: {event.namespace}/{event.name}", 500),
        "kind": 1,
        "startTimeUnixNano": nanoseconds,
        "endTimeUnixNano": nanoseconds,
        "attributes": _attributes(own | told),
        "status": {"code": 2 if is_error(event) else 1, "message": plain("\n".join(filter(None, (event.title, event.message))), TEXT)},
    }


def _revision(event: Event) -> str:
    data = event.metadata
    if "oci-digest" in data and "app-version" in data:
        return f"{data['app-version']}@{data['oci-digest']}"
    return data.get("revision", "unknown")


def _attributes(pairs: dict[str, str]) -> list[dict[str, object]]:
    return [{"key": name, "value": {"stringValue": plain(text, 1_000)}} for name, text in pairs.items()]
