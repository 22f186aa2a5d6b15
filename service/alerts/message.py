"""A stored message: an event with the Alert's metadata, as JSON in the outbox and as the providers' Event.

In and out: our own JSON, written and read by this module only.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from providers import contract
from service.kinds.event import MESSAGE_LIMIT, Event
from service.kinds.notification import Alert


def payload_of(event: Event, metadata: Mapping[str, str], alert: Alert, *, recovery_only: bool = False) -> str:
    """The JSON to store. `recovery_only` is a recovery that only ends an alarm."""
    return json.dumps(
        {
            "kind": event.involved.kind,
            "namespace": event.involved.namespace,
            "name": event.involved.name,
            "severity": event.severity,
            "reason": event.reason,
            "message": event.message[:MESSAGE_LIMIT],
            "timestamp": event.timestamp.isoformat(),
            "metadata": dict(metadata),
            "alert": f"{alert.metadata.namespace}/{alert.metadata.name}",
            "controller": event.reporting_controller,
            "instance": event.reporting_instance,
            "api_version": event.involved_api_version,
            "uid": event.involved_uid,
            "resource_version": event.involved_resource_version,
            "alert_uid": alert.metadata.uid,
            "recovery_only": recovery_only,
            "trace": event.trace,
        }
    )


def _told(body: Mapping[str, Any]) -> contract.Event:
    members = tuple(_told(each) for each in body.get("members", ()))
    return contract.Event(**{**body, "timestamp": datetime.fromisoformat(body["timestamp"]), "members": members})


def event_of(payload: str) -> tuple[contract.Event, str]:
    """The event for the provider, and the trace id of the delivery that led to it. Raises ValueError, KeyError, TypeError on other JSON."""
    body = json.loads(payload)
    trace = body.pop("trace")
    told_once = hashlib.sha256(payload.encode()).hexdigest()[:32]
    return replace(_told(body), id=told_once), trace
