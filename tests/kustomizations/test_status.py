"""The status of a Kustomization after each kind of end, as Flux's CLI and dashboards read it."""

from datetime import timedelta
from typing import Any

from service.kinds.codec import decode
from service.kinds.kustomize import Kustomization
from service.kustomizations.status import Ended, digest_of, end_patch, finished_message, invalid_patch, move_patch

REVISION = "main@sha1:" + "a" * 40


def raw(**status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": "shop", "namespace": "apps", "uid": "u", "generation": 3},
        "spec": {"interval": "10m", "prune": True, "sourceRef": {"kind": "GitRepository", "name": "fleet"}},
        "status": status,
    }


def conditions(patch: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    return {c["type"]: (c["status"], c["reason"], c["message"]) for c in patch["conditions"]}


def ended(before: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return end_patch(decode(Kustomization, before), before, Ended(revision=REVISION, **fields))


def test_success_is_ready_at_the_revision() -> None:
    patch = ended(
        raw(), ready=True, reason="ReconciliationSucceeded", message=f"Applied revision: {REVISION}", inventory=[], digest="sha256:1"
    )
    assert conditions(patch) == {"Ready": ("True", "ReconciliationSucceeded", f"Applied revision: {REVISION}")}
    status = patch
    assert (status["lastAppliedRevision"], status["lastAttemptedRevision"], status["observedGeneration"]) == (REVISION, REVISION, 3)
    assert status["inventory"] == {"entries": []}


def test_failure_keeps_what_was_applied_and_says_it_retries() -> None:
    patch = ended(raw(lastAppliedRevision="main@sha1:old"), ready=False, reason="BuildFailed", message="kustomize build failed: x")
    assert conditions(patch) == {
        "Ready": ("False", "BuildFailed", "kustomize build failed: x"),
        "Reconciling": ("True", "ProgressingWithRetry", "kustomize build failed: x"),
    }
    assert "lastAppliedRevision" not in patch
    assert "inventory" not in patch
    assert "observedGeneration" not in patch


def test_stalled_is_observed_and_does_not_retry() -> None:
    patch = ended(raw(), ready=False, stalled=True, reason="ValidationFailed", message="spec.kubeConfig: not carried out")
    assert conditions(patch)["Stalled"][0] == "True"
    assert "Reconciling" not in conditions(patch)
    assert patch["observedGeneration"] == 3


def test_success_after_failure_removes_the_negative_conditions() -> None:
    before = raw(**ended(raw(), ready=False, reason="BuildFailed", message="x"))
    assert set(conditions(ended(before, ready=True, reason="ReconciliationSucceeded", message="m", inventory=[]))) == {"Ready"}


def test_history_counts_repeats_and_keeps_five() -> None:
    before = raw()
    for number in (1, 1, 2, 3, 4, 5, 6):
        patch = ended(
            before, ready=True, reason="ReconciliationSucceeded", message="m", digest=f"sha256:{number}", took=timedelta(seconds=number)
        )
        before = raw(**patch)
    history = before["status"]["history"]
    assert [entry["digest"] for entry in history] == [f"sha256:{n}" for n in (6, 5, 4, 3, 2)]
    assert history[0]["lastReconciledDuration"] == "6s"
    again = ended(before, ready=True, reason="ReconciliationSucceeded", message="m", digest="sha256:4")["history"]
    assert (again[0]["digest"], again[0]["totalReconciliations"]) == ("sha256:4", 2)


def test_move_changes_the_revision_alone() -> None:
    before = raw(**ended(raw(), ready=True, reason="ReconciliationSucceeded", message="Applied revision: old", inventory=[]))
    patch = move_patch(decode(Kustomization, before), REVISION)
    assert conditions(patch)["Ready"] == ("True", "ReconciliationSucceeded", f"Applied revision: {REVISION}")
    assert set(patch) == {"conditions", "lastAppliedRevision", "lastAttemptedRevision"}


def test_unreadable_object_is_told_once() -> None:
    object_ = raw()
    patch = invalid_patch(object_, "spec.interval: not a duration")
    assert patch is not None
    assert conditions(patch)["Stalled"] == ("True", "ValidationFailed", "spec.interval: not a duration")
    assert invalid_patch(raw(**patch), "spec.interval: not a duration") is None


def test_digest_depends_on_every_object_and_on_no_order() -> None:
    assert digest_of({"a": "1", "b": "2"}) == digest_of({"b": "2", "a": "1"}) != digest_of({"a": "1", "b": "3"})


def test_finished_message_is_flux_s() -> None:
    assert finished_message(timedelta(milliseconds=84.3), timedelta(minutes=10)) == "Reconciliation finished in 84ms, next run in 10m0s"
