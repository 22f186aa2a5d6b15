"""An event as Flux's own JSON, for targets that are given the whole of it.

In: an event. Out: the object that notification-controller forwards: https://github.com/fluxcd/pkg/blob/main/apis/event/v1beta1/event.go
"""

import json
from collections.abc import Mapping
from datetime import UTC

from providers.contract import Event


def flux_json(event: Event) -> dict[str, object]:
    """Return Flux's event JSON: names in the order of Go's encoder, empty optional ones left out, the time in whole seconds of UTC."""
    involved = {
        "kind": event.kind,
        "namespace": event.namespace,
        "name": event.name,
        "uid": event.uid,
        "apiVersion": event.api_version,
        "resourceVersion": event.resource_version,
    }
    body: dict[str, object] = {
        "involvedObject": {name: value for name, value in involved.items() if value},
        "severity": event.severity,
        "timestamp": timestamp(event),
        "message": event.message,
        "reason": event.reason,
        "metadata": dict(sorted(event.metadata.items())),
        "reportingController": event.controller,
        "reportingInstance": event.instance,
    }
    optional: Mapping[str, object] = {"metadata": event.metadata, "reportingInstance": event.instance}
    return {name: value for name, value in body.items() if optional.get(name, True)}


def flux_bytes(event: Event) -> bytes:
    """The same as UTF-8; halves of surrogate pairs, which it cannot hold, become `?`."""
    return json.dumps(flux_json(event), separators=(",", ":"), ensure_ascii=False).encode(errors="replace")


def timestamp(event: Event) -> str:
    """`2026-01-31T12:00:00Z`."""
    return event.timestamp.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
