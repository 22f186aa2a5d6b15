"""The Pod's own words, as a kubelet, a scheduler and a controller manager write them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.cluster.blockers import creation_lines, pod_lines


def pod(
    phase: str = "Pending", *, containers: list[dict[str, Any]] | None = None, init: list[dict[str, Any]] | None = None, **more: Any
) -> dict[str, Any]:
    status: dict[str, Any] = {"phase": phase, "conditions": more.pop("conditions", [])}
    status |= {"containerStatuses": containers or [], "initContainerStatuses": init or []} | more.pop("status", {})
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-1", "namespace": "apps"}, "status": status, "spec": more}


def waiting(reason: str, message: str = "", /, **last: Any) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"name": "web", "ready": False, "restartCount": 7, "state": state, "lastState": {"terminated": last} if last else {}}


UNSCHEDULABLE = {
    "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
    "message": "0/3 nodes are available: 3 Insufficient memory.",
}  # fmt: skip
CLAIMED = [{"name": "data", "persistentVolumeClaim": {"claimName": "data-web"}}]
CASES: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    (
        pod(containers=[waiting("ImagePullBackOff", 'Back-off pulling image "shop:nope"')]),
        ('Pod web-1: container web: ImagePullBackOff; Back-off pulling image "shop:nope"',),
    ),
    (
        pod("Running", containers=[waiting("CrashLoopBackOff", "back-off", exitCode=1, reason="Error", message="panic: no database\n")]),
        ("Pod web-1: container web: CrashLoopBackOff; back-off; last ended with Error 1: panic: no database; restarts: 7",),
    ),
    (
        pod(init=[waiting("CreateContainerConfigError", 'secret "db" not found')]),
        ('Pod web-1: init container web: CreateContainerConfigError; secret "db" not found',),
    ),
    (pod(conditions=[UNSCHEDULABLE]), ("Pod web-1: Unschedulable: 0/3 nodes are available: 3 Insufficient memory.",)),
    (
        pod("Running", containers=[{"name": "web", "ready": False, "state": {"running": {"startedAt": "x"}}}]),
        ("Pod web-1: container web: runs, but is not ready",),
    ),
    (
        pod("Failed", status={"reason": "Evicted", "message": "The node was low on resource: memory."}),
        ("Pod web-1: Evicted: The node was low on resource: memory.",),
    ),
    (pod("Running", conditions=[{"type": "Ready", "status": "True"}]), ()),
    (pod(containers=[waiting("ContainerCreating")]), ("Pod web-1: Pod is in the Pending phase",)),
]


@pytest.mark.parametrize(("live", "lines"), CASES)
def test_a_pod_says_why(live: dict[str, Any], lines: tuple[str, ...]) -> None:
    assert pod_lines(live, ()) == lines


def test_a_claim_that_is_not_bound_is_named_first() -> None:
    claim = {"metadata": {"name": "data-web"}, "spec": {"storageClassName": "fast"}, "status": {"phase": "Pending"}}
    live = pod(conditions=[UNSCHEDULABLE], volumes=CLAIMED)
    assert pod_lines(live, [claim])[0] == "Pod web-1: PersistentVolumeClaim data-web is Pending, storage class fast"
    assert len(pod_lines(live, [claim])) == 2
    assert "is not there" in pod_lines(live, [{"metadata": {"name": "other"}}])[0]
    assert len(pod_lines(live, [claim | {"status": {"phase": "Bound"}}])) == 1


def test_a_quota_is_quoted() -> None:
    refused = 'pods "web-1" is forbidden: exceeded quota: small, requested: pods=1, used: pods=3, limited: pods=3'
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": refused}
    owner = {"kind": "ReplicaSet", "metadata": {"name": "web-7d"}, "status": {"conditions": [failure]}}
    assert creation_lines(owner) == (f"ReplicaSet web-7d: FailedCreate: {refused}",)
    assert creation_lines({"status": {"conditions": [failure | {"status": "False"}]}}) == ()


JSON = st.recursive(st.none() | st.integers() | st.text(max_size=4), lambda x: st.lists(x, max_size=3), max_leaves=4)
STATES = st.fixed_dictionaries({}, optional={"waiting": JSON, "terminated": JSON, "running": JSON, "name": JSON, "ready": JSON})


@given(st.sampled_from(["Pending", "Running", "Failed", ""]), st.lists(STATES, max_size=2))
def test_any_pod_can_be_told(phase: str, states: list[dict[str, Any]]) -> None:
    containers = [{"name": "x", "state": state, "lastState": state} for state in states]
    assert all(len(line) < 2000 for line in pod_lines(pod(phase, containers=containers), ()))
