"""What the real server fills in for builtin kinds: defaults that others read, first statuses, Secrets' stringData.

Objects in, changed objects out. The numbers are those of k8s.io/kubernetes/pkg/apis/*/v1/defaults.go (1.36). No addresses are allocated.
"""

import base64
import copy
from collections.abc import Callable, Mapping
from typing import Any

Object = dict[str, Any]
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


def complete(kind: str, obj: Object, old: Object | None) -> None:
    """Fill what the real server fills for a builtin kind; changes `obj`, whose parts must not be shared."""
    spec = obj.get("spec")
    if kind in _SMALL:
        _SMALL[kind](obj)
    elif kind == "Secret":
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


def _complete_autoscaler(obj: Object) -> None:
    obj["spec"].setdefault("minReplicas", 1)


def _complete_policy(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("policyTypes", ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])


def _complete_binding(obj: Object) -> None:
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", "rbac.authorization.k8s.io")


def _complete_priority(obj: Object) -> None:
    obj.setdefault("preemptionPolicy", "PreemptLowerPriority")
    obj.setdefault("value", 0)


_SMALL: Mapping[str, Callable[[Object], None]] = {
    "HorizontalPodAutoscaler": _complete_autoscaler,
    "NetworkPolicy": _complete_policy,
    "RoleBinding": _complete_binding,
    "ClusterRoleBinding": _complete_binding,
    "PriorityClass": _complete_priority,
}


def _complete_secret(obj: Object) -> None:
    obj.setdefault("type", "Opaque")
    if isinstance(obj.get("data"), dict):
        obj["data"] = {key: "".join(value.split()) for key, value in obj["data"].items()}
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


def _at(obj: Any, path: str) -> Any:
    for key in path.split("."):
        obj = obj.get(key) if isinstance(obj, Mapping) else None
    return obj
