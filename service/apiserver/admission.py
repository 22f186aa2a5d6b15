"""Rules of builtin kinds beyond their schema: names, immutable fields, and the mistakes that users make.

An object goes in, causes come out, in the words of k8s.io/kubernetes/pkg/apis/*/validation (1.36).
Left out (see unsupported.py): cross-field validation of Pod specs, quotas, limit ranges.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from service.apiserver.refusal import Cause

Object = dict[str, Any]

_DNS_REGEX = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_DNS_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
_DNS_NAME = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
_LABEL_VALUE = re.compile(r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")
_LABEL_KEY = re.compile(r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$")
_DATA_KEY = re.compile(r"^[-._a-zA-Z0-9]+$")
_LABEL_KINDS = frozenset(("Namespace", "Service"))
_PATH_KINDS = frozenset(("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"))
_IMMUTABLE: Mapping[str, tuple[str, ...]] = {
    "Deployment": ("spec.selector",),
    "ReplicaSet": ("spec.selector",),
    "DaemonSet": ("spec.selector",),
    "StatefulSet": ("spec.selector", "spec.serviceName", "spec.volumeClaimTemplates", "spec.podManagementPolicy"),
    "Job": ("spec.selector", "spec.template", "spec.completionMode"),
    "StorageClass": ("provisioner", "parameters", "reclaimPolicy"),
    "RoleBinding": ("roleRef",),
    "ClusterRoleBinding": ("roleRef",),
    "PriorityClass": ("value",),
    "IngressClass": ("spec.controller",),
    "PersistentVolumeClaim": ("spec.accessModes", "spec.storageClassName", "spec.volumeMode", "spec.selector"),
    "Secret": ("type",),
}
_TEMPLATED = frozenset(("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController", "Job", "PodTemplate"))


def check_metadata(kind: str, meta: Mapping[str, Any], *, builtin: bool) -> list[Cause]:
    """Return what is wrong with names, labels and annotations."""
    name, causes = meta.get("name", ""), []
    if builtin and kind in _PATH_KINDS:
        if name in (".", "..") or "/" in name or "%" in name:
            causes.append(_wrong("metadata.name", name, "may not contain '/' or '%' or be '.' or '..'"))
    elif builtin and kind in _LABEL_KINDS:
        if not _DNS_LABEL.match(name):
            causes.append(
                _wrong(
                    "metadata.name",
                    name,
                    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
                    "and must start and end with an alphanumeric character (e.g. 'my-name', "
                    "regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
                )
            )
    elif len(name) > 253 or not _DNS_NAME.match(name):
        causes.append(
            _wrong(
                "metadata.name",
                name,
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
                "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '"
                + _DNS_REGEX
                + "')",
            )
        )
    for key, value in (meta.get("labels") or {}).items():
        causes += _check_key("metadata.labels", key)
        if not isinstance(value, str) or len(value) > 63 or not _LABEL_VALUE.match(value):
            causes.append(
                _wrong(
                    "metadata.labels",
                    value,
                    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' "
                    "or '.', and must start and end with an alphanumeric character, at most 63 of them",
                )
            )
    for key in meta.get("annotations") or {}:
        causes += _check_key("metadata.annotations", key.lower())
    if sum(len(key) + len(str(value)) for key, value in (meta.get("annotations") or {}).items()) > 262_144:
        causes.append(
            Cause(reason="FieldValueTooLong", field="metadata.annotations", message="Too long: may not be more than 262144 bytes")
        )
    return causes


def _check_key(field: str, key: str) -> list[Cause]:
    if _LABEL_KEY.match(key) and len(key.rsplit("/", 1)[-1]) <= 63:
        return []
    return [
        _wrong(
            field,
            key,
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
            "alphanumeric character, at most 63 of them, with an optional DNS subdomain prefix and '/'",
        )
    ]


def _wrong(field: str, value: Any, why: str) -> Cause:
    return Cause(
        reason="FieldValueInvalid",
        field=field,
        message=f"Invalid value: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))[:300]}: {why}",
    )


def _at(obj: Any, path: str) -> Any:
    for key in path.split("."):
        obj = obj.get(key) if isinstance(obj, Mapping) else None
    return obj


def check(kind: str, obj: Object, old: Object | None) -> list[Cause]:
    """Return what the real server refuses beyond the schema, as far as this server checks it."""
    causes: list[Cause] = []
    if kind in ("ConfigMap", "Secret"):
        for key in [*(obj.get("data") or {}), *(obj.get("binaryData") or {})]:
            if not _DATA_KEY.match(key) or len(key) > 253:
                causes.append(_wrong(f"data[{key}]", key, "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"))
        if (
            sum(len(key) + len(str(value)) for key, value in (obj.get("data") or {}).items())
            > 1_048_576 * (4 if kind == "Secret" else 3) // 3
        ):
            causes.append(Cause(reason="FieldValueTooLong", field="data", message="Too long: may not be more than 1048576 bytes"))
    if kind in _TEMPLATED - {"Job", "PodTemplate"}:
        causes += _check_selector(kind, obj)
    if kind == "Service":
        causes += _check_ports(obj)
    elif kind == "PersistentVolumeClaim":
        needed = ("spec.accessModes", "spec.resources.requests.storage")
        causes += [Cause(reason="FieldValueRequired", field=path, message="Required value") for path in needed if not _at(obj, path)]
    prefix = {"Pod": "spec", "CronJob": "spec.jobTemplate.spec.template.spec"}.get(kind, "spec.template.spec" if kind in _TEMPLATED else "")
    if prefix:
        causes += _check_containers(_at(obj, prefix), prefix)
    return causes + (_check_immutable(kind, obj, old) if old is not None else [])


def _check_ports(obj: Object) -> list[Cause]:
    ports = _at(obj, "spec.ports") or []
    if not ports and _at(obj, "spec.type") != "ExternalName" and _at(obj, "spec.clusterIP") != "None":
        return [Cause(reason="FieldValueRequired", field="spec.ports", message="Required value")]
    return [
        Cause(reason="FieldValueRequired", field=f"spec.ports[{at}].name", message="Required value")
        for at, port in enumerate(ports)
        if len(ports) > 1 and not port.get("name")
    ]


def _check_selector(kind: str, obj: Object) -> list[Cause]:
    selector, labels = _at(obj, "spec.selector"), _at(obj, "spec.template.metadata.labels") or {}
    matches = selector if kind == "ReplicationController" else _at(obj, "spec.selector.matchLabels")
    if not selector:
        return (
            [Cause(reason="FieldValueRequired", field="spec.selector", message="Required value")]
            if selector is None
            else [
                _wrong(
                    "spec.selector",
                    selector,
                    "empty selector is invalid for deployment" if kind == "Deployment" else "empty selector is invalid",
                )
            ]
        )
    if any(labels.get(key) != value for key, value in (matches or {}).items()):
        return [_wrong("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")]
    return []


def _check_containers(pod: Any, prefix: str) -> list[Cause]:
    causes: list[Cause] = []
    containers = pod.get("containers") if isinstance(pod, dict) else None
    if not containers:
        return [Cause(reason="FieldValueRequired", field=f"{prefix}.containers", message="Required value")]
    for at, container in enumerate(containers):
        if not container.get("image"):
            causes.append(Cause(reason="FieldValueRequired", field=f"{prefix}.containers[{at}].image", message="Required value"))
        if not _DNS_LABEL.match(str(container.get("name", ""))):
            causes.append(_wrong(f"{prefix}.containers[{at}].name", container.get("name", ""), "a lowercase RFC 1123 label is needed"))
    return causes


def _check_immutable(kind: str, obj: Object, old: Object) -> list[Cause]:
    causes: list[Cause] = []
    for path in _IMMUTABLE.get(kind, ()):
        before, after = _at(old, path), _at(obj, path)
        if before != after and not (before is None and path == "spec.storageClassName"):
            causes.append(_wrong(path, after, "field is immutable"))
    if kind in ("ConfigMap", "Secret") and old.get("immutable"):
        causes += [
            Cause(reason="FieldValueForbidden", field=field, message="Forbidden: field is immutable when `immutable` is set")
            for field in ("data", "binaryData")
            if (old.get(field) or {}) != (obj.get(field) or {})
        ]
        if not obj.get("immutable"):
            message = "Forbidden: field is immutable when `immutable` is set"
            causes.append(Cause(reason="FieldValueForbidden", field="immutable", message=message))
    address = _at(old, "spec.clusterIP")
    kept = address and _at(old, "spec.type") == "ClusterIP" == _at(obj, "spec.type")
    if kind == "Service" and kept and _at(obj, "spec.clusterIP") != address:
        causes.append(_wrong("spec.clusterIPs[0]", _at(obj, "spec.clusterIP"), "may not change once set"))
    return causes
