"""Each state of the kinds of other projects, in the shape in which their controllers write it."""

from typing import Any

import pytest

from service.cluster.kstatus import status_of


def obj(api_version: str, kind: str, status: dict[str, Any], *, spec: dict[str, Any] | None = None, **meta: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"generation": 3, **meta}, "spec": spec or {}, "status": status}


def said(type: str, status: str, reason: str, message: str = "") -> dict[str, str]:
    return {"type": type, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z"}


def rollout(
    phase: str = "", *, observed: str = "3", message: str = "", spec: dict[str, Any] | None = None, **status: Any
) -> dict[str, Any]:
    full = {"phase": phase, "observedGeneration": observed, "message": message, **status}
    return obj("argoproj.io/v1alpha1", "Rollout", {key: value for key, value in full.items() if value != ""}, spec=spec)


def canary(phase: str, message: str = "") -> dict[str, Any]:
    promoted = said("Promoted", "Unknown", phase, message)
    return obj("flagger.app/v1beta1", "Canary", {"phase": phase, "canaryWeight": 0, "conditions": [promoted]} if phase else {})


def sealed(*conditions: dict[str, str], observed: int = 3) -> dict[str, Any]:
    return obj("bitnami.com/v1alpha1", "SealedSecret", {"observedGeneration": observed, "conditions": list(conditions)})


def external(kind: str, *conditions: dict[str, str], **status: Any) -> dict[str, Any]:
    return obj("external-secrets.io/v1", kind, {"conditions": list(conditions), **status})


WORKLOAD = {"workloadRef": {"kind": "Deployment", "name": "web"}}
OF_WORKLOAD = rollout("Healthy", spec=WORKLOAD, workloadObservedGeneration="4")
OF_WORKLOAD["metadata"]["annotations"] = {"rollout.argoproj.io/workload-generation": "5"}
SYNC_FAILED = said("Ready", "False", "SecretSyncedError", "could not get secret data from provider")
TABLE: list[tuple[dict[str, Any], str, str]] = [
    (rollout("Healthy"), "Current", "Rollout is healthy"),
    (rollout("Healthy", observed="2"), "InProgress", "Rollout generation is 3, but latest observed generation is 2"),
    (
        rollout("Progressing", message="more replicas need to be updated"),
        "InProgress",
        "Rollout is Progressing: more replicas need to be updated",
    ),
    (
        rollout("Progressing", message="Rollout aborted update to revision 2", abort=True),
        "Failed",
        "Rollout is aborted: Rollout aborted update to revision 2",
    ),
    (rollout("Paused", message="CanaryPauseStep"), "InProgress", "Rollout is Paused: CanaryPauseStep"),
    (rollout("Paused", spec={"paused": True}), "Current", "Rollout is paused by its spec"),
    (rollout("Degraded", message="ProgressDeadlineExceeded"), "Failed", "Rollout is degraded: ProgressDeadlineExceeded"),
    (rollout(), "InProgress", "Rollout has no phase yet"),
    (OF_WORKLOAD, "InProgress", "workload generation is 5, but latest observed generation is 4"),
    (obj("argoproj.io/v1alpha1", "AnalysisRun", {"phase": "Successful"}), "Current", "AnalysisRun is Successful"),
    (obj("argoproj.io/v1alpha1", "AnalysisRun", {"phase": "Running"}), "InProgress", "AnalysisRun is Running"),
    (obj("argoproj.io/v1alpha1", "AnalysisRun", {"phase": "Failed", "message": "3 > 2"}), "Failed", "AnalysisRun is Failed: 3 > 2"),
    (obj("argoproj.io/v1alpha1", "AnalysisRun", {"phase": "Error"}), "Failed", "AnalysisRun is Error"),
    (obj("argoproj.io/v1alpha1", "AnalysisRun", {"phase": "Inconclusive"}), "Unknown", "AnalysisRun is Inconclusive"),
    (canary(""), "InProgress", "Canary is not initialized"),
    *(
        (canary(phase), "InProgress", f"Canary is {phase}")
        for phase in ("Initializing", "Waiting", "Progressing", "WaitingPromotion", "Promoting", "Finalising")
    ),
    (canary("Initialized"), "Current", "Canary is Initialized"),
    (canary("Succeeded"), "Current", "Canary is Succeeded"),
    (canary("Failed", "canary deployment web not ready"), "Failed", "Canary failed and was rolled back: canary deployment web not ready"),
    (canary("Terminating"), "Terminating", "Canary is Terminating"),
    (sealed(), "InProgress", "SealedSecret is not looked at yet"),
    (sealed(observed=2), "InProgress", "SealedSecret generation is 3, but latest observed generation is 2"),
    (sealed(said("Synced", "True", "")), "Current", "SealedSecret is synced"),
    (
        sealed(said("Synced", "False", "", "no key could decrypt secret (password)")),
        "Failed",
        "SealedSecret cannot be unsealed: no key could decrypt secret (password)",
    ),
    (external("ExternalSecret"), "InProgress", "ExternalSecret is not looked at yet"),
    (
        external("ExternalSecret", said("Ready", "True", "SecretSynced"), syncedResourceVersion="3-ab"),
        "Current",
        "ExternalSecret is ready: SecretSynced",
    ),
    (
        external("ExternalSecret", said("Ready", "True", "SecretSynced"), syncedResourceVersion="2-ab"),
        "InProgress",
        "generation is 3, but what is synced is 2-ab",
    ),
    (external("ExternalSecret", SYNC_FAILED), "Failed", "SecretSyncedError: could not get secret data from provider"),
    (external("SecretStore", said("Ready", "True", "Valid")), "Current", "SecretStore is ready: Valid"),
    (
        external("ClusterSecretStore", said("Ready", "False", "InvalidProviderConfig", "no token")),
        "Failed",
        "InvalidProviderConfig: no token",
    ),
    (external("PushSecret", said("Ready", "Unknown", "")), "InProgress", ""),
    (
        external("ClusterExternalSecret", said("NotReady", "True", ""), said("Ready", "True", "")),
        "Current",
        "ClusterExternalSecret is ready",
    ),
    (
        external(
            "ClusterExternalSecret",
            said("Ready", "True", ""),
            said("PartiallyReady", "True", "", "one or more namespaces failed"),
            failedNamespaces=[{"namespace": "b"}],
        ),
        "Failed",
        "PartiallyReady: one or more namespaces failed: b",
    ),
    (external("ClusterExternalSecret"), "InProgress", "ClusterExternalSecret is not looked at yet"),
]


@pytest.mark.parametrize(("live", "status", "message"), TABLE)
def test_status_of_neighbours(live: dict[str, Any], status: str, message: str) -> None:
    health = status_of(live)
    assert (health.status.value, health.message) == (status, message)


def test_what_is_being_deleted_is_terminating_whatever_it_says() -> None:
    going = canary("Succeeded")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert status_of(going).status.value == "Terminating"
