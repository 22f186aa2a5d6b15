"""A live object in, its health out: Current, InProgress, Failed, Terminating, NotFound or Unknown. Pure.

The rules are kstatus' (https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/status/core.go and generic.go), for Jobs
those of Flux (fluxcd/pkg/runtime/statusreaders), which wait for completion. Messages are kstatus' own. Kinds of other projects: neighbours.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from service.cluster.neighbours import RULES as NEIGHBOURS
from service.cluster.verdict import Health, Status

__all__ = ["CRASHING", "Health", "Status", "status_of"]

UNSCHEDULABLE_AFTER = timedelta(seconds=15)
CRASHING = "Containers in CrashLoop state: "
_NO_DEADLINE = 2**31 - 1

Object = Mapping[str, Any]


def status_of(obj: Object | None, *, now: datetime | None = None) -> Health:
    """Compute the health of a live object; None is NotFound. `now` (UTC) matters for Pods that cannot be scheduled."""
    if obj is None:
        return Health(status=Status.NOT_FOUND, message="Resource not found")
    generic = _generic(obj)
    if generic is not None:
        return generic
    group = str(obj.get("apiVersion", "")).rpartition("/")[0]
    kind = str(obj.get("kind", ""))
    if (group, kind) == ("", "Pod"):
        return _pod(obj, now or datetime.now(UTC))
    rule = _RULES.get((group, kind))
    return rule(obj) if rule is not None else _ready(obj)


def _current(message: str) -> Health:
    return Health(status=Status.CURRENT, message=message)


def _in_progress(message: str) -> Health:
    return Health(status=Status.IN_PROGRESS, message=message)


def _failed(message: str) -> Health:
    return Health(status=Status.FAILED, message=message)


def _part(obj: Object, *path: str) -> Any:
    value: Any = obj
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _number(obj: Object, *path: str, default: int = 0) -> int:
    value = _part(obj, *path)
    return value if isinstance(value, int) else default


def _conditions(obj: Object) -> dict[str, Mapping[str, Any]]:
    listed = _part(obj, "status", "conditions")
    if not isinstance(listed, list):
        return {}
    return {str(condition.get("type")): condition for condition in listed if isinstance(condition, Mapping)}


def _is(condition: Mapping[str, Any] | None, status: str) -> bool:
    return condition is not None and condition.get("status") == status


def _generic(obj: Object) -> Health | None:
    if _part(obj, "metadata", "deletionTimestamp"):
        return Health(status=Status.TERMINATING, message="Resource scheduled for deletion")
    generation, observed = _part(obj, "metadata", "generation"), _part(obj, "status", "observedGeneration")
    if isinstance(generation, int) and isinstance(observed, int) and generation != observed:
        return _in_progress(f"{obj.get('kind')} generation is {generation}, but latest observed generation is {observed}")
    conditions = _conditions(obj)
    if _is(conditions.get("Reconciling"), "True"):
        return _in_progress(str(conditions["Reconciling"].get("message", "")))
    if _is(conditions.get("Stalled"), "True"):
        return _failed(str(conditions["Stalled"].get("message", "")))
    return None


def _ready(obj: Object) -> Health:
    ready = _conditions(obj).get("Ready")
    if ready is None:
        return _current("Resource is current")
    return _current("Resource is Ready") if _is(ready, "True") else _in_progress(str(ready.get("message", "")))


def _first(*checks: tuple[bool, str]) -> Health | None:
    """InProgress with the message of the first check that is true."""
    return next((_in_progress(message) for wrong, message in checks if wrong), None)


def _deployment(obj: Object) -> Health:
    conditions = _conditions(obj)
    progressing, available = conditions.get("Progressing"), conditions.get("Available")
    if progressing is not None and progressing.get("reason") == "ProgressDeadlineExceeded":
        return _failed("Progress deadline exceeded")
    rolled_out = _number(obj, "spec", "progressDeadlineSeconds", default=_NO_DEADLINE) == _NO_DEADLINE or (
        _is(progressing, "True") and progressing is not None and progressing.get("reason") == "NewReplicaSetAvailable"
    )
    wanted = _number(obj, "spec", "replicas", default=1)
    there, updated = _number(obj, "status", "replicas"), _number(obj, "status", "updatedReplicas")
    ready, usable = _number(obj, "status", "readyReplicas"), _number(obj, "status", "availableReplicas")
    return _first(
        (wanted > there, f"replicas: {there}/{wanted}"),
        (wanted > updated, f"Updated: {updated}/{wanted}"),
        (there > wanted, f"Pending termination: {there - wanted}"),
        (updated > usable, f"Available: {usable}/{updated}"),
        (wanted > ready, f"Ready: {ready}/{wanted}"),
        (not rolled_out, "ReplicaSet not Available"),
        (not _is(available, "True"), "Deployment not Available"),
    ) or _current(f"Deployment is available. Replicas: {there}")


def _stateful_set(obj: Object) -> Health:
    if _part(obj, "spec", "updateStrategy", "type") == "OnDelete":
        return _current("StatefulSet is using the ondelete update strategy")
    wanted = _number(obj, "spec", "replicas", default=1)
    there, ready = _number(obj, "status", "replicas"), _number(obj, "status", "readyReplicas")
    current, updated = _number(obj, "status", "currentReplicas"), _number(obj, "status", "updatedReplicas")
    waiting = _first(
        (wanted > there, f"Replicas: {there}/{wanted}"),
        (wanted > ready, f"Ready: {ready}/{wanted}"),
        (there > wanted, f"Pending termination: {there - wanted}"),
    )
    if waiting is not None:
        return waiting
    partition = _number(obj, "spec", "updateStrategy", "rollingUpdate", "partition", default=-1)
    if partition != -1:
        if updated < wanted - partition:
            return _in_progress(f"updated: {updated}/{wanted - partition}")
        return _current(f"Partition rollout complete. updated: {updated}")
    return _first(
        (wanted > current, f"current: {current}/{wanted}"),
        (
            _part(obj, "status", "currentRevision") != _part(obj, "status", "updateRevision"),
            "Waiting for updated revision to match current",
        ),
    ) or _current(f"All replicas scheduled as expected. Replicas: {there}")


def _replica_set(obj: Object) -> Health:
    wanted = _number(obj, "spec", "replicas", default=1)
    there, ready = _number(obj, "status", "replicas"), _number(obj, "status", "readyReplicas")
    usable, labelled = _number(obj, "status", "availableReplicas"), _number(obj, "status", "fullyLabeledReplicas")
    return _first(
        (_is(_conditions(obj).get("ReplicaFailure"), "True"), "Replica Failure condition. Check Pods"),
        (wanted > labelled, f"Labelled: {labelled}/{wanted}"),
        (wanted > usable, f"Available: {usable}/{wanted}"),
        (wanted > ready, f"Ready: {ready}/{wanted}"),
        (there > wanted, f"Pending termination: {there - wanted}"),
    ) or _current(f"ReplicaSet is available. Replicas: {there}")


def _daemon_set(obj: Object) -> Health:
    wanted = _number(obj, "status", "desiredNumberScheduled", default=-1)
    there, updated = _number(obj, "status", "currentNumberScheduled"), _number(obj, "status", "updatedNumberScheduled")
    usable, ready = _number(obj, "status", "numberAvailable"), _number(obj, "status", "numberReady")
    return _first(
        (_part(obj, "metadata", "generation") is None, "Missing .metadata.generation"),
        (_part(obj, "status", "observedGeneration") is None, "Missing .status.observedGeneration"),
        (wanted == -1, "Missing .status.desiredNumberScheduled"),
        (wanted > there, f"Current: {there}/{wanted}"),
        (wanted > updated, f"Updated: {updated}/{wanted}"),
        (wanted > usable, f"Available: {usable}/{wanted}"),
        (wanted > ready, f"Ready: {ready}/{wanted}"),
    ) or _current(f"All replicas scheduled as expected. Replicas: {wanted}")


def _pod(obj: Object, now: datetime) -> Health:
    conditions = _conditions(obj)
    match _part(obj, "status", "phase"):
        case "Succeeded":
            return _current("Pod has completed successfully")
        case "Failed":
            return _current("Pod has completed, but not successfully")
        case "Running" if _is(conditions.get("Ready"), "True"):
            return _current("Pod is Ready")
        case "Running":
            return _crashing(obj) or _in_progress("Pod is running but is not Ready")
        case "Pending":
            scheduled = conditions.get("PodScheduled")
            if _is(scheduled, "False") and scheduled is not None and scheduled.get("reason") == "Unschedulable":
                if now - _time(scheduled.get("lastTransitionTime"), now) > UNSCHEDULABLE_AFTER:
                    return _failed("Pod could not be scheduled")
                return _in_progress("Pod has not been scheduled")
            return _crashing(obj) or _in_progress("Pod is in the Pending phase")
        case _:
            return _in_progress("Pod phase not available")


def _crashing(obj: Object) -> Health | None:
    names = [
        str(container.get("name"))
        for field in ("initContainerStatuses", "containerStatuses")
        for container in _part(obj, "status", field) or ()
        if _part(container, "state", "waiting", "reason") == "CrashLoopBackOff"
    ]
    return _failed(CRASHING + ",".join(names)) if names else None


def _time(text: object, default: datetime) -> datetime:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return default


def _job(obj: Object) -> Health:
    conditions = _conditions(obj)
    completions = _number(obj, "spec", "completions", default=_number(obj, "spec", "parallelism", default=1))
    if _is(conditions.get("Complete"), "True"):
        return _current(f"Job Completed. succeeded: {_number(obj, 'status', 'succeeded')}/{completions}")
    if _is(conditions.get("Failed"), "True"):
        return _failed(f"Job Failed. failed: {_number(obj, 'status', 'failed')}/{completions}")
    if _part(obj, "spec", "suspend") is True:
        return _current("Job is suspended")
    return _in_progress("Job in progress" if _part(obj, "status", "startTime") else "Job not started")


def _claim(obj: Object) -> Health:
    phase = _part(obj, "status", "phase")
    return _current("PVC is Bound") if phase == "Bound" else _in_progress(f"PVC is not Bound. phase: {phase or 'unknown'}")


def _service(obj: Object) -> Health:
    if _part(obj, "spec", "type") == "LoadBalancer" and not _part(obj, "spec", "clusterIP"):
        return _in_progress("ClusterIP not set. Service type: LoadBalancer")
    return _current("Service is ready")


def _definition(obj: Object) -> Health:
    conditions = _conditions(obj)
    names, established = conditions.get("NamesAccepted"), conditions.get("Established")
    if names is not None and _is(names, "False"):
        return _failed(str(names.get("message", "")))
    if established is not None and _is(established, "False") and established.get("reason") != "Installing":
        return _failed(str(established.get("message", "")))
    return _current("CRD is established") if _is(established, "True") else _in_progress("Install in progress")


def _always(_obj: Object) -> Health:
    return _current("Resource is always ready")


def _budget(_obj: Object) -> Health:
    return _current("AllowedDisruptions has been computed.")


_RULES: dict[tuple[str, str], Callable[[Object], Health]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "ReplicaSet"): _replica_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Service"): _service,
    ("", "Secret"): _always,
    ("", "ConfigMap"): _always,
    ("batch", "Job"): _job,
    ("batch", "CronJob"): _always,
    ("policy", "PodDisruptionBudget"): _budget,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    **NEIGHBOURS,
}
