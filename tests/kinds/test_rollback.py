from typing import Any

import pytest

from service.kinds.notification import FLUX_RECEIVER_TYPES, OWN_RECEIVER_TYPES, PROVIDER_TYPES
from service.kinds.rollback import OWN_PROVIDER_TYPES, findings, of_definition

BLOCKED = {"conditions": [{"type": "Ready", "status": "False", "reason": "PruneBlocked", "message": "prune blocked\nA/b/c\nD/e/f"}]}


def made(kind: str, spec: dict[str, Any], status: dict[str, Any] | None = None, **annotations: str) -> list[str]:
    metadata = {"name": "x", "namespace": "ns", "annotations": {key.replace("__", "/"): value for key, value in annotations.items()}}
    return [str(each) for each in findings({"metadata": metadata, "spec": spec, "status": status or {}}, kind)]


def test_what_is_fluxs_own_is_no_finding() -> None:
    assert made("Kustomization", {"prune": True}, {"conditions": [{"type": "Ready", "status": "True", "reason": "x"}]}) == []
    assert all(made("Receiver", {"type": each}) == [] for each in FLUX_RECEIVER_TYPES)
    assert all(made("Provider", {"type": each}) == [] for each in PROVIDER_TYPES if each not in OWN_PROVIDER_TYPES)
    assert made("GitRepository", {"url": "https://example.org"}, **{"reconcile.fluxcd.io/requestedAt": "now"}) == []
    assert set(OWN_PROVIDER_TYPES) < set(PROVIDER_TYPES)


@pytest.mark.parametrize("name", OWN_RECEIVER_TYPES)
def test_our_senders_are_refused(name: str) -> None:
    (said,) = made("Receiver", {"type": name})
    assert said.startswith(f"Receiver/ns/x: Flux refuses the type {name}; ")


def test_a_type_by_annotation_is_another_for_flux() -> None:
    (said,) = made("Receiver", {"type": "generic-hmac"}, **{"notification.sluice.dev/type": "gitea"})
    assert said.startswith("Receiver/ns/x: Flux does otherwise than gitea: it takes spec.type, generic-hmac")
    (said,) = made("Provider", {"type": "generic"}, **{"notification.sluice.dev/type": "mattermost"})
    assert "it sends as spec.type, generic" in said


def test_a_blocked_prune_comes_first_and_our_annotations_last() -> None:
    said = made("Kustomization", {"prune": True}, BLOCKED, **{"kustomize.sluice.dev/prune-limit": "5%"})
    assert said == [
        "Kustomization/ns/x: Flux would delete what a blocked prune keeps (2 or more objects); "
        "put the files back, allow the prune, or suspend it",
        "Kustomization/ns/x: Flux passes over the annotation kustomize.sluice.dev/prune-limit",
    ]
    assert made("Kustomization", {"prune": True, "suspend": True}, BLOCKED) == []


def test_old_stored_versions_keep_fluxs_definitions_out() -> None:
    definition = {"metadata": {"name": "alerts.notification"}, "status": {"storedVersions": ["v1beta2", "v1beta3"]}}
    (said,) = of_definition(definition, "v1beta3")
    assert "may be stored as v1beta2" in str(said)
    assert of_definition(definition | {"status": {"storedVersions": ["v1beta3"]}}, "v1beta3") == ()
