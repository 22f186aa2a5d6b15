"""Event: what happened to an object, between the reconcilers, the event intake and the alerts.

In and out: Flux's event JSON, as its controllers post it to notification-controller, and typed values.
The format: https://github.com/fluxcd/pkg/blob/main/apis/event/v1beta1/event.go
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from service.kinds.meta import EVENT_PREFIX, ObjectKey, format_time, parse_time
from service.kinds.schema import Invalid

MESSAGE_LIMIT = 39_000
TRACE_KEY = EVENT_PREFIX + "trace"
Severity = Literal["info", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event. `metadata` keys carry the group of the object, such as `kustomize.toolkit.fluxcd.io/revision`.

    `trace` is sluice's own id of the delivery that led here, "" for events of others.
    """

    involved: ObjectKey
    involved_api_version: str
    severity: Severity
    reason: str
    message: str
    involved_uid: str = ""
    involved_resource_version: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
    timestamp: datetime = field(default_factory=lambda: datetime.now(UTC))
    reporting_controller: str = ""
    reporting_instance: str = ""
    trace: str = ""

    def to_json(self) -> dict[str, object]:
        """Return Flux's event JSON. A message past 39,000 characters is cut; the trace travels in the metadata."""
        involved = {
            "apiVersion": self.involved_api_version,
            "kind": self.involved.kind,
            "name": self.involved.name,
            "namespace": self.involved.namespace,
            "uid": self.involved_uid,
            "resourceVersion": self.involved_resource_version,
        }
        message = self.message if len(self.message) <= MESSAGE_LIMIT else self.message[: MESSAGE_LIMIT - 3] + "..."
        return {
            "involvedObject": {name: value for name, value in involved.items() if value},
            "severity": self.severity,
            "timestamp": format_time(self.timestamp),
            "message": message,
            "reason": self.reason,
            "metadata": {**self.metadata, TRACE_KEY: self.trace} if self.trace else dict(self.metadata),
            "reportingController": self.reporting_controller,
            "reportingInstance": self.reporting_instance,
        }

    @classmethod
    def from_json(cls, body: object) -> "Event":
        """Return the event of a posted body. Raises Invalid with the path of what is missing or has another shape."""
        event = _object(body, "event")
        involved = _object(event.get("involvedObject"), "involvedObject")
        severity = _text(event, "severity")
        if severity not in ("info", "error"):
            raise Invalid("severity", "must be info or error")
        described = _object(event.get("metadata") or {}, "metadata")
        metadata = {name: _text(described, name, "metadata.") for name in described}
        api_version = _text(involved, "apiVersion", "involvedObject.", required=False)
        return cls(
            involved=ObjectKey(
                group=api_version.rpartition("/")[0],
                kind=_text(involved, "kind", "involvedObject."),
                namespace=_text(involved, "namespace", "involvedObject.", required=False),
                name=_text(involved, "name", "involvedObject."),
            ),
            involved_api_version=api_version,
            involved_uid=_text(involved, "uid", "involvedObject.", required=False),
            involved_resource_version=_text(involved, "resourceVersion", "involvedObject.", required=False),
            severity="error" if severity == "error" else "info",
            reason=_text(event, "reason"),
            message=_text(event, "message", required=False),
            trace=metadata.pop(TRACE_KEY, ""),
            metadata=metadata,
            timestamp=_time(event),
            reporting_controller=_text(event, "reportingController", required=False),
            reporting_instance=_text(event, "reportingInstance", required=False),
        )


def _object(value: object, path: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise Invalid(path, "must be an object")
    return value


def _text(body: Mapping[str, object], name: str, prefix: str = "", *, required: bool = True) -> str:
    value = body.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or (required and not value and not prefix.startswith("metadata")):
        raise Invalid(f"{prefix}{name}", "must be a string" if value else "is missing")
    return value


def _time(event: Mapping[str, object]) -> datetime:
    try:
        return parse_time(_text(event, "timestamp"))
    except ValueError as error:
        raise Invalid("timestamp", "must be a time like 2026-01-31T12:00:00Z") from error
