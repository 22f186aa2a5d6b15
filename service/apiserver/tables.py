"""Tables for `kubectl get`: objects and a kind's columns in, a meta.k8s.io/v1 Table out.

https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from service.apiserver.resources import Resource

Object = dict[str, Any]
Cell = Callable[[Mapping[str, Any]], Any]


def age(text: Any) -> str:
    """Return how long ago a time was, as kubectl shows it: 45s, 12m, 5h, 3d."""
    try:
        since = (datetime.now(UTC) - datetime.fromisoformat(str(text))).total_seconds()
    except (ValueError, TypeError):
        return "<unknown>"
    for unit, seconds, most in (("s", 1, 120), ("m", 60, 7200), ("h", 3600, 172_800)):
        if since < most:
            return f"{max(0, int(since // seconds))}{unit}"
    return f"{int(since // 86_400)}d"


def _get(path: str, missing: Any = "") -> Cell:
    keys = path.split(".")

    def read(obj: Mapping[str, Any]) -> Any:
        value: Any = obj
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return missing if value is None else value

    return read


def _ready(have: str, want: str) -> Cell:
    left, right = _get(have, 0), _get(want, 0)
    return lambda obj: f"{left(obj)}/{right(obj)}"


def _size(*keys: str) -> Cell:
    return lambda obj: sum(len(obj.get(key) or {}) for key in keys)


def _ports(obj: Mapping[str, Any]) -> str:
    ports = obj.get("spec", {}).get("ports") or ()
    return ",".join(f"{port.get('port')}/{port.get('protocol', 'TCP')}" for port in ports) or "<none>"


def _true(kind: str) -> Cell:
    def read(obj: Mapping[str, Any]) -> str:
        return next((c.get("status", "") for c in obj.get("status", {}).get("conditions") or () if c.get("type") == kind), "Unknown")

    return read


def _job(obj: Mapping[str, Any]) -> str:
    done = {c.get("type") for c in obj.get("status", {}).get("conditions") or () if c.get("status") == "True"}
    return "Complete" if "Complete" in done else "Failed" if "Failed" in done else "Running"


def _object(obj: Mapping[str, Any]) -> str:
    involved = obj.get("involvedObject", {})
    return f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}"


def _created(obj: Mapping[str, Any]) -> str:
    return age(obj["metadata"].get("creationTimestamp"))


_BUILTIN: Mapping[str, tuple[tuple[str, Cell], ...]] = {
    "/configmaps": (("Data", _size("data", "binaryData")),),
    "/secrets": (("Type", _get("type")), ("Data", _size("data"))),
    "/namespaces": (("Status", _get("status.phase")),),
    "/services": (("Type", _get("spec.type")), ("Cluster-IP", _get("spec.clusterIP", "<none>")), ("Port(s)", _ports)),
    "/pods": (("Status", _get("status.phase")),),
    "/nodes": (("Ready", _true("Ready")),),
    "/persistentvolumeclaims": (("Status", _get("status.phase")),),
    "apps/deployments": (
        ("Ready", _ready("status.readyReplicas", "spec.replicas")),
        ("Up-to-date", _get("status.updatedReplicas", 0)),
        ("Available", _get("status.availableReplicas", 0)),
    ),
    "apps/statefulsets": (("Ready", _ready("status.readyReplicas", "spec.replicas")),),
    "apps/replicasets": (("Desired", _get("spec.replicas", 0)), ("Ready", _get("status.readyReplicas", 0))),
    "apps/daemonsets": (("Desired", _get("status.desiredNumberScheduled", 0)), ("Ready", _get("status.numberReady", 0))),
    "batch/jobs": (("Status", _job), ("Completions", _ready("status.succeeded", "spec.completions"))),
    "batch/cronjobs": (("Schedule", _get("spec.schedule")), ("Suspend", _get("spec.suspend"))),
    "networking.k8s.io/ingresses": (("Class", _get("spec.ingressClassName", "<none>")),),
    "coordination.k8s.io/leases": (("Holder", _get("spec.holderIdentity")),),
    "apiextensions.k8s.io/customresourcedefinitions": (("Created At", _get("metadata.creationTimestamp")),),
}
_EVENT: tuple[tuple[str, Cell], ...] = (
    ("Last Seen", lambda obj: age(obj.get("lastTimestamp") or obj.get("eventTime") or obj["metadata"].get("creationTimestamp"))),
    ("Type", _get("type")),
    ("Reason", _get("reason")),
    ("Object", _object),
    ("Message", _get("message")),
)


def _columns(resource: Resource) -> list[tuple[Object, Cell]]:
    if resource.key == "/events":
        return [({"name": name, "type": "string"}, cell) for name, cell in _EVENT]
    name = {"name": "Name", "type": "string", "format": "name", "description": "Name must be unique within a namespace."}
    out: list[tuple[Object, Cell]] = [(name, _get("metadata.name"))]
    if resource.builtin:
        out += [({"name": title, "type": "string"}, cell) for title, cell in _BUILTIN.get(resource.key, ())]
    elif resource.columns:
        for column in resource.columns:
            kept = {key: column[key] for key in ("name", "type", "format", "description", "priority") if key in column}
            out.append((kept, _json_path(str(column.get("jsonPath", "")), str(column.get("type")))))
        return [({"format": "", "description": "", "priority": 0, **column}, cell) for column, cell in out]
    out.append(({"name": "Age", "type": "string"}, _created))
    return [({"format": "", "description": "", "priority": 0, **column}, cell) for column, cell in out]


_STEP = re.compile(r"""\.?(?:\['([^']+)'\]|\[(\d+|\*)\]|\[\?\(@\.([\w.]+)\s*==\s*["']([^"']*)["']\)\]|((?:[^.\[\]\\]|\\.)+))""")


def _json_path(path: str, kind: str) -> Cell:
    """Compile the JSONPath of a printer column: fields, indexes, `[*]` and `[?(@.type=="Ready")]`."""
    steps = _STEP.findall(path.strip().removeprefix("{").removesuffix("}"))

    def read(obj: Mapping[str, Any]) -> Any:
        found: list[Any] = [obj]
        for quoted, index, test, wanted, plain in steps:
            found = [inner for value in found for inner in _step(value, quoted or plain.replace("\\", ""), index, (test, wanted))]
        value = found[0] if found else None
        if kind == "date":
            return (
                age(value) if value is not None else "<unknown>" if value is None and not steps else ("" if value is None else age(value))
            )
        if isinstance(value, (dict, list)):
            return json.dumps(value, separators=(",", ":"))
        return value

    return read


def _step(value: Any, name: str, index: str, test: tuple[str, str]) -> list[Any]:
    if test[0]:
        items = value if isinstance(value, list) else []
        return [item for item in items if str(_get(test[0], None)(item)) == test[1]]
    if index:
        items = value if isinstance(value, list) else []
        return list(items) if index == "*" else items[int(index) : int(index) + 1]
    return [value[name]] if isinstance(value, Mapping) and name in value else []


class TableForm:
    """The table of one kind: its columnDefinitions, and a row for each object."""

    def __init__(self, resource: Resource, include: str) -> None:
        """`include` is None, Metadata or Object: what a row carries besides its cells."""
        columns = _columns(resource)
        self.columns = [column for column, _ in columns]
        self._cells, self._include = [cell for _, cell in columns], include

    def head(self, meta: Object) -> Object:
        """Return the Table without its rows."""
        return {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta, "columnDefinitions": self.columns}

    def row(self, obj: Object) -> Object:
        """Return an object's row."""
        out: Object = {"cells": [cell(obj) for cell in self._cells]}
        if self._include == "Object":
            out["object"] = obj
        elif self._include != "None":
            out["object"] = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
        return out
