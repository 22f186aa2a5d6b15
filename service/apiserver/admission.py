"""Rules of builtin kinds beyond their schema: defaults that others read, immutable fields, and the mistakes that users make.

An object goes in; the changed object or causes come out. The numbers are those of k8s.io/kubernetes/pkg/apis/*/v1/defaults.go (1.36).
Left out (see unsupported.py): cross-field validation of Pod specs, quotas, limit ranges, service IP allocation beyond a plain counter.
"""

import base64
import copy
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


_POD: Object = {"containers": None}
_TEMPLATE: Object = {"metadata": {}, "spec": _POD}
# What an empty Go struct of the kind already has: these parts are nobody's when an object is created.
_EMPTY: Mapping[str, Object] = {
    "Deployment": {"spec": {"template": _TEMPLATE, "strategy": {}}, "status": {}},
    "StatefulSet": {"spec": {"template": _TEMPLATE, "updateStrategy": {}}, "status": {}},
    "DaemonSet": {"spec": {"template": _TEMPLATE, "updateStrategy": {}}, "status": {}},
    "ReplicaSet": {"spec": {"template": _TEMPLATE}, "status": {}},
    "Job": {"spec": {"template": _TEMPLATE}, "status": {}},
    "CronJob": {"spec": {"jobTemplate": {"metadata": {}, "spec": {"template": _TEMPLATE}}}, "status": {}},
    "Pod": {"spec": _POD, "status": {}},
    "Service": {"spec": {}, "status": {"loadBalancer": {}}},
    "Ingress": {"spec": {}, "status": {"loadBalancer": {}}},
    "PersistentVolumeClaim": {"spec": {"resources": {}}, "status": {}},
    "HorizontalPodAutoscaler": {"spec": {"scaleTargetRef": {}}, "status": {}},
    "Event": {"involvedObject": {}, "source": {}},
    "RoleBinding": {"roleRef": {}},
    "ClusterRoleBinding": {"roleRef": {}},
}
_BARE: Object = {"spec": {}, "status": {}}
_FIRST_STATUS: Mapping[str, Object] = {
    "Deployment": {},
    "StatefulSet": {"availableReplicas": 0, "replicas": 0},
    "ReplicaSet": {"replicas": 0},
    "ReplicationController": {"replicas": 0},
    "DaemonSet": {"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0},
    "Job": {},
    "CronJob": {},
    "Service": {"loadBalancer": {}},
    "Ingress": {"loadBalancer": {}},
    "Pod": {"phase": "Pending"},
    "PersistentVolumeClaim": {"phase": "Pending"},
    "PersistentVolume": {"phase": "Pending"},
    "PodDisruptionBudget": {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0},
    "ResourceQuota": {},
}


def empty(kind: str) -> Object:
    """Return what a new object of a builtin kind is compared with to find what its creator owns; not to be changed."""
    return {"metadata": {}, **_EMPTY.get(kind, _BARE)}


def first_status(kind: str) -> Object | None:
    """Return the status that a builtin kind is created with, None when it has none."""
    status = _FIRST_STATUS.get(kind)
    return None if status is None else copy.deepcopy(status)


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


def complete(kind: str, obj: Object, old: Object | None) -> None:
    """Fill what the real server fills for a builtin kind; changes `obj`, whose parts must not be shared."""
    spec = obj.get("spec")
    if kind == "Secret":
        _complete_secret(obj)
    elif kind == "Namespace":
        obj.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
        obj.setdefault("status", {}).setdefault("phase", "Active")
        obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"]["name"]
    elif kind == "Service" and isinstance(spec, dict):
        _complete_service(spec, old)
    elif kind in ("PersistentVolumeClaim", "PersistentVolume") and isinstance(spec, dict):
        spec.setdefault("volumeMode", "Filesystem")
    elif kind == "StorageClass":
        obj.setdefault("reclaimPolicy", "Delete")
        obj.setdefault("volumeBindingMode", "Immediate")
    elif kind == "Pod" and isinstance(spec, dict):
        _complete_pod(spec)
        spec.setdefault("enableServiceLinks", True)
    elif kind == "CronJob" and isinstance(spec, dict):
        _complete_cronjob(spec)
    elif kind in _TEMPLATED and isinstance(spec, dict):
        _complete_workload(kind, obj, spec)


def _complete_secret(obj: Object) -> None:
    obj.setdefault("type", "Opaque")
    plain = obj.pop("stringData", None)
    if isinstance(plain, dict):
        data = dict(obj.get("data") or {})
        data |= {key: base64.b64encode(str(value).encode()).decode() for key, value in plain.items()}
        obj["data"] = data


def _complete_service(spec: Object, old: Object | None) -> None:
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))
    if spec["type"] == "ExternalName":
        return
    if "clusterIP" not in spec and old is not None and _at(old, "spec.clusterIP"):
        spec["clusterIP"] = _at(old, "spec.clusterIP")
    if "clusterIP" in spec:
        spec.setdefault("clusterIPs", [spec["clusterIP"]])
    spec.setdefault("internalTrafficPolicy", "Cluster")
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def _complete_pod(spec: Object) -> None:
    for key, value in (
        ("restartPolicy", "Always"),
        ("dnsPolicy", "ClusterFirst"),
        ("schedulerName", "default-scheduler"),
        ("terminationGracePeriodSeconds", 30),
    ):
        spec.setdefault(key, value)
    spec.setdefault("securityContext", {})
    if "serviceAccountName" in spec:
        spec.setdefault("serviceAccount", spec["serviceAccountName"])
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        if isinstance(container, dict):
            _complete_container(container)
    for volume in spec.get("volumes") or ():
        for source in ("configMap", "secret", "projected", "downwardAPI"):
            if isinstance(volume.get(source), dict):
                volume[source].setdefault("defaultMode", 420)


def _complete_container(container: Object) -> None:
    image = str(container.get("image", ""))
    tag = image.rsplit("/", 1)[-1].partition(":")[2] if "@" not in image else "digest"
    container.setdefault("imagePullPolicy", "Always" if tag in ("", "latest") else "IfNotPresent")
    container.setdefault("resources", {})
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
    for env in container.get("env") or ():
        reference = _at(env, "valueFrom.fieldRef")
        if isinstance(reference, dict):
            reference.setdefault("apiVersion", "v1")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(probe := container.get(name), dict):
            for key, value in (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)):
                probe.setdefault(key, value)
            if isinstance(http := probe.get("httpGet"), dict):
                http.setdefault("scheme", "HTTP")
                http.setdefault("path", "/")


def _complete_workload(kind: str, obj: Object, spec: Object) -> None:
    template = spec.get("template")
    if isinstance(template, dict) and isinstance(template.get("spec"), dict):
        _complete_pod(template["spec"])
    if kind in ("Deployment", "ReplicaSet", "StatefulSet", "ReplicationController"):
        spec.setdefault("replicas", 1)
    if kind in ("Deployment", "StatefulSet", "DaemonSet"):
        spec.setdefault("revisionHistoryLimit", 10)
    match kind:
        case "Deployment":
            spec.setdefault("progressDeadlineSeconds", 600)
            _complete_rollout(spec, "strategy", {"maxSurge": "25%", "maxUnavailable": "25%"})
        case "StatefulSet":
            spec.setdefault("podManagementPolicy", "OrderedReady")
            spec.setdefault("persistentVolumeClaimRetentionPolicy", {"whenDeleted": "Retain", "whenScaled": "Retain"})
            _complete_rollout(spec, "updateStrategy", {"partition": 0})
        case "DaemonSet":
            _complete_rollout(spec, "updateStrategy", {"maxSurge": 0, "maxUnavailable": 1})
        case "Job":
            _complete_job(obj, spec)


def _complete_rollout(spec: Object, field: str, numbers: Object) -> None:
    strategy = spec.setdefault(field, {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        for key, value in numbers.items():
            rolling.setdefault(key, value)


def _complete_job(obj: Object, spec: Object) -> None:
    for key, value in (
        ("backoffLimit", 6),
        ("completionMode", "NonIndexed"),
        ("suspend", False),
        ("podReplacementPolicy", "TerminatingOrFailed"),
        ("manualSelector", False),
    ):
        spec.setdefault(key, value)
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    uid = obj["metadata"].get("uid")
    if uid and not spec["manualSelector"] and "selector" not in spec:
        spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
        labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
        for prefix in ("batch.kubernetes.io/", ""):
            labels[prefix + "controller-uid"] = uid
            labels[prefix + "job-name"] = obj["metadata"]["name"]


def _complete_cronjob(spec: Object) -> None:
    for key, value in (
        ("concurrencyPolicy", "Allow"),
        ("suspend", False),
        ("successfulJobsHistoryLimit", 3),
        ("failedJobsHistoryLimit", 1),
    ):
        spec.setdefault(key, value)
    pod = _at(spec, "jobTemplate.spec.template.spec")
    if isinstance(pod, dict):
        _complete_pod(pod)


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
    if (
        kind == "Service"
        and _at(obj, "spec.type") != "ExternalName"
        and _at(obj, "spec.clusterIP") != "None"
        and not _at(obj, "spec.ports")
    ):
        causes.append(Cause(reason="FieldValueRequired", field="spec.ports", message="Required value"))
    prefix = {"Pod": "spec", "CronJob": "spec.jobTemplate.spec.template.spec"}.get(kind, "spec.template.spec" if kind in _TEMPLATED else "")
    if prefix:
        causes += _check_containers(_at(obj, prefix), prefix)
    return causes + (_check_immutable(kind, obj, old) if old is not None else [])


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
