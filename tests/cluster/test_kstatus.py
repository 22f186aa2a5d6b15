from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.cluster.kstatus import Status, status_of

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def obj(
    api_version: str, kind: str, status: dict[str, Any] | None = None, spec: dict[str, Any] | None = None, **meta: Any
) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"generation": 2, **meta}, "spec": spec or {}, "status": status or {}}


def conditions(*listed: tuple[str, str, str]) -> list[dict[str, str]]:
    return [{"type": type, "status": status, "reason": reason, "message": f"{type} says so"} for type, status, reason in listed]


ROLLED_OUT = conditions(("Progressing", "True", "NewReplicaSetAvailable"), ("Available", "True", "MinimumReplicasAvailable"))
DONE = {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1, "conditions": ROLLED_OUT}
DEADLINE = {"progressDeadlineSeconds": 600}


def deployment(spec: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    return obj("apps/v1", "Deployment", {**DONE, **status}, {**DEADLINE, **(spec or {})})


def stateful_set(spec: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    full = {"replicas": 1, "readyReplicas": 1, "currentReplicas": 1, "currentRevision": "a", "updateRevision": "a", **status}
    return obj("apps/v1", "StatefulSet", full, spec)


def daemon_set(**status: Any) -> dict[str, Any]:
    full = {
        "observedGeneration": 2,
        **dict.fromkeys(
            ("desiredNumberScheduled", "currentNumberScheduled", "updatedNumberScheduled", "numberAvailable", "numberReady"), 2
        ),
        **status,
    }
    return obj("apps/v1", "DaemonSet", {key: value for key, value in full.items() if value is not None})


def pod(phase: str, listed: list[dict[str, str]] | None = None, waiting: str = "") -> dict[str, Any]:
    containers = [{"name": "web", "state": {"waiting": {"reason": waiting}}}]
    return obj("v1", "Pod", {"phase": phase, "conditions": listed or [], "containerStatuses": containers if waiting else []})


def unscheduled(second: int) -> list[dict[str, str]]:
    return [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": f"2026-01-01T11:59:{second}Z"}]


def job(**status: Any) -> dict[str, Any]:
    return obj("batch/v1", "Job", status)


BEHIND = "generation is 2, but latest observed generation is 1"
PARTITION = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}, "replicas": 3}
CRD = "apiextensions.k8s.io/v1", "CustomResourceDefinition"
TABLE: list[tuple[dict[str, Any], str, str]] = [
    # generic rules come before all others
    (obj("v1", "ConfigMap", deletionTimestamp="2026-01-01T00:00:00Z"), "Terminating", "Resource scheduled for deletion"),
    (obj("x.io/v1", "X", {"observedGeneration": 1}), "InProgress", "X generation is 2, but latest observed generation is 1"),
    (obj("x.io/v1", "X", {"observedGeneration": -1}), "InProgress", "X generation is 2, but latest observed generation is -1"),
    (obj("x.io/v1", "X", {"conditions": conditions(("Reconciling", "True", ""))}), "InProgress", "Reconciling says so"),
    (obj("x.io/v1", "X", {"conditions": conditions(("Stalled", "True", ""), ("Ready", "True", ""))}), "Failed", "Stalled says so"),
    (obj("x.io/v1", "X", {"conditions": conditions(("Stalled", "False", ""), ("Ready", "True", ""))}), "Current", "Resource is Ready"),
    (obj("x.io/v1", "X", {"conditions": conditions(("Ready", "False", ""))}), "InProgress", "Ready says so"),
    (obj("x.io/v1", "X", {"conditions": conditions(("Ready", "Unknown", ""))}), "InProgress", "Ready says so"),
    (obj("x.io/v1", "X"), "Current", "Resource is current"),
    # a Deployment of another group is any object
    (obj("x.io/v1", "Deployment"), "Current", "Resource is current"),
    (deployment(), "Current", "Deployment is available. Replicas: 1"),
    (deployment(observedGeneration=1), "InProgress", "Deployment generation is 2, but latest observed generation is 1"),
    (obj("apps/v1", "Deployment"), "InProgress", "replicas: 0/1"),
    (deployment({"replicas": 3}), "InProgress", "replicas: 1/3"),
    (deployment({"replicas": 2}, replicas=2), "InProgress", "Updated: 1/2"),
    (deployment(replicas=2), "InProgress", "Pending termination: 1"),
    (deployment(availableReplicas=0), "InProgress", "Available: 0/1"),
    (deployment(readyReplicas=0), "InProgress", "Ready: 0/1"),
    (deployment(conditions=ROLLED_OUT[1:]), "InProgress", "ReplicaSet not Available"),
    (deployment(conditions=ROLLED_OUT[:1]), "InProgress", "Deployment not Available"),
    (deployment({"progressDeadlineSeconds": 2**31 - 1}, conditions=ROLLED_OUT[1:]), "Current", "Deployment is available. Replicas: 1"),
    (deployment(conditions=conditions(("Progressing", "False", "ProgressDeadlineExceeded"))), "Failed", "Progress deadline exceeded"),
    (
        deployment({"replicas": 0}, **dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 0)),
        "Current",
        "Deployment is available. Replicas: 0",
    ),
    (stateful_set(), "Current", "All replicas scheduled as expected. Replicas: 1"),
    (
        stateful_set({"updateStrategy": {"type": "OnDelete"}}, readyReplicas=0),
        "Current",
        "StatefulSet is using the ondelete update strategy",
    ),
    (stateful_set({"replicas": 2}), "InProgress", "Replicas: 1/2"),
    (stateful_set(readyReplicas=0), "InProgress", "Ready: 0/1"),
    (stateful_set(replicas=2), "InProgress", "Pending termination: 1"),
    (stateful_set(currentReplicas=0), "InProgress", "current: 0/1"),
    (stateful_set(updateRevision="b"), "InProgress", "Waiting for updated revision to match current"),
    (stateful_set(PARTITION, replicas=3, readyReplicas=3), "InProgress", "updated: 0/1"),
    (stateful_set(PARTITION, replicas=3, readyReplicas=3, updatedReplicas=1), "Current", "Partition rollout complete. updated: 1"),
    (
        obj("apps/v1", "ReplicaSet", {"replicas": 1, "readyReplicas": 1, "availableReplicas": 1, "fullyLabeledReplicas": 1}),
        "Current",
        "ReplicaSet is available. Replicas: 1",
    ),
    (obj("apps/v1", "ReplicaSet"), "InProgress", "Labelled: 0/1"),
    (
        obj("apps/v1", "ReplicaSet", {"conditions": conditions(("ReplicaFailure", "True", ""))}),
        "InProgress",
        "Replica Failure condition. Check Pods",
    ),
    (daemon_set(), "Current", "All replicas scheduled as expected. Replicas: 2"),
    (daemon_set(observedGeneration=None), "InProgress", "Missing .status.observedGeneration"),
    (daemon_set(desiredNumberScheduled=None), "InProgress", "Missing .status.desiredNumberScheduled"),
    (daemon_set(updatedNumberScheduled=1), "InProgress", "Updated: 1/2"),
    (daemon_set(numberReady=1), "InProgress", "Ready: 1/2"),
    (pod("Succeeded"), "Current", "Pod has completed successfully"),
    (pod("Failed"), "Current", "Pod has completed, but not successfully"),
    (pod("Running", conditions(("Ready", "True", ""))), "Current", "Pod is Ready"),
    (pod("Running"), "InProgress", "Pod is running but is not Ready"),
    (pod("Running", waiting="CrashLoopBackOff"), "Failed", "Containers in CrashLoop state: web"),
    (pod("Pending", waiting="CrashLoopBackOff"), "Failed", "Containers in CrashLoop state: web"),
    (pod("Pending", waiting="ContainerCreating"), "InProgress", "Pod is in the Pending phase"),
    (pod("Pending", unscheduled(50)), "InProgress", "Pod has not been scheduled"),
    (pod("Pending", unscheduled(40)), "Failed", "Pod could not be scheduled"),
    (obj("v1", "Pod"), "InProgress", "Pod phase not available"),
    (obj("batch/v1", "Job"), "InProgress", "Job not started"),
    (obj("batch/v1", "Job", {"startTime": "2026-01-01T00:00:00Z"}), "InProgress", "Job in progress"),
    (job(succeeded=1, conditions=conditions(("Complete", "True", ""))), "Current", "Job Completed. succeeded: 1/1"),
    (job(failed=2, conditions=conditions(("Failed", "True", ""))), "Failed", "Job Failed. failed: 2/1"),
    (obj("batch/v1", "Job", spec={"suspend": True}), "Current", "Job is suspended"),
    (obj("batch/v1", "CronJob"), "Current", "Resource is always ready"),
    (obj("v1", "PersistentVolumeClaim", {"phase": "Bound"}), "Current", "PVC is Bound"),
    (obj("v1", "PersistentVolumeClaim"), "InProgress", "PVC is not Bound. phase: unknown"),
    (obj("v1", "Service", spec={"type": "LoadBalancer"}), "InProgress", "ClusterIP not set. Service type: LoadBalancer"),
    (obj("v1", "Service", spec={"type": "LoadBalancer", "clusterIP": "10.0.0.1"}), "Current", "Service is ready"),
    (obj("v1", "Service"), "Current", "Service is ready"),
    (obj(*CRD, {"conditions": conditions(("NamesAccepted", "True", ""), ("Established", "True", ""))}), "Current", "CRD is established"),
    (obj(*CRD, {"conditions": conditions(("NamesAccepted", "False", ""))}), "Failed", "NamesAccepted says so"),
    (obj(*CRD, {"conditions": conditions(("Established", "False", "Installing"))}), "InProgress", "Install in progress"),
    (obj(*CRD, {"conditions": conditions(("Established", "False", "NotAccepted"))}), "Failed", "Established says so"),
    (obj(*CRD), "InProgress", "Install in progress"),
    (obj("policy/v1", "PodDisruptionBudget", {"observedGeneration": 2}), "Current", "AllowedDisruptions has been computed."),
    (obj("policy/v1", "PodDisruptionBudget", {"observedGeneration": 1}), "InProgress", "PodDisruptionBudget " + BEHIND),
]  # fmt: skip


@pytest.mark.parametrize(("live", "status", "message"), TABLE)
def test_status_is_kstatus(live: dict[str, Any], status: str, message: str) -> None:
    health = status_of(live, now=NOW)
    assert (health.status.value, health.message) == (status, message)


def test_no_object_is_not_found() -> None:
    assert status_of(None).status is Status.NOT_FOUND


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda x: st.lists(x, max_size=3), max_leaves=5)
FIELDS = st.sampled_from(["replicas", "conditions", "phase", "observedGeneration", "containerStatuses", "type", "suspend"])


@given(
    st.sampled_from(["Pod", "Deployment", "Job", "StatefulSet", "X"]),
    st.dictionaries(FIELDS, JSON),
    st.dictionaries(FIELDS, JSON) | st.none(),
)
def test_any_object_has_a_health(kind: str, status: dict[str, Any], spec: dict[str, Any] | None) -> None:
    api_version = {"Pod": "v1", "Job": "batch/v1", "X": "x.io/v1"}.get(kind, "apps/v1")
    assert status_of({"apiVersion": api_version, "kind": kind, "metadata": {"generation": 1}, "status": status, "spec": spec}).message
