"""Whose fields are taken over, and what is left alone: Flux's own controller and sluice do the same to the same objects.

Each case is a ConfigMap that somebody has made before, and a manifest of it. Both engines meet the same cases in a namespace of their own
turn; compared are data, labels, annotations and managed fields afterwards, who survives a prune, the inventory, and the change lines told.
"""

import json
from typing import Any

import pytest

from service.cluster.client import APPLY_PATCH, MERGE_PATCH
from tests.compose.test_flux import Object, Turns, asked, core_events, place, plane
from tests.kustomizations.town import Town, config_map, is_at

__all__ = ["place", "plane"]
pytestmark = pytest.mark.real

TOOLKIT = "kustomize.toolkit.fluxcd.io"
NOTE = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
# name: (manager, operation, metadata of the live object, metadata of the manifest)
CASES: dict[str, tuple[str, str, Object, Object]] = {
    "client-side": ("kubectl-client-side-apply", "Update", {"annotations": NOTE}, {}),
    "server-side": ("kubectl", "Apply", {}, {}),
    "edited": ("kubectl-edit", "Update", {}, {}),
    "patched": ("kubectl-patch", "Update", {}, {}),
    "first": ("before-first-apply", "Update", {}, {}),
    "old-flux": ("kustomize-controller", "Update", {"annotations": {f"{TOOLKIT}/checksum": "x"}}, {}),
    "flux-kept": ("flux-client-side-apply", "Update", {}, {}),
    "helm": ("helm", "Update", {}, {}),
    "argocd": ("argocd-controller", "Apply", {}, {}),
    "v1-marks": ("helm", "Update", {"annotations": {"fluxcd.io/sync-checksum": "x"}, "labels": {"fluxcd.io/sync-gc-mark": "y"}}, {}),
    "merge": ("kubectl", "Apply", {"annotations": NOTE}, {"annotations": {f"{TOOLKIT}/ssa": "Merge"}}),
    "merge-label": ("kubectl-edit", "Update", {}, {"labels": {f"{TOOLKIT}/ssa": "merge"}}),
    "merge-live": ("kubectl-edit", "Update", {"annotations": {f"{TOOLKIT}/ssa": "Merge"}}, {}),
    "override": ("kubectl-edit", "Update", {}, {"annotations": {f"{TOOLKIT}/ssa": "Override"}}),
    "if-not-present": ("kubectl-edit", "Update", {}, {"annotations": {f"{TOOLKIT}/ssa": "IfNotPresent"}}),
    "if-not-present-live": ("kubectl-edit", "Update", {"annotations": {f"{TOOLKIT}/ssa": "IfNotPresent"}}, {}),
    "ignore": ("kubectl-edit", "Update", {}, {"annotations": {f"{TOOLKIT}/ssa": "Ignore"}}),
    "ignore-live": ("kubectl-edit", "Update", {"annotations": {f"{TOOLKIT}/ssa": "Ignore"}}, {}),
    "disabled": ("kubectl-edit", "Update", {}, {"annotations": {f"{TOOLKIT}/reconcile": "disabled"}}),
    "disabled-live": ("kubectl-edit", "Update", {"labels": {f"{TOOLKIT}/reconcile": "Disabled"}}, {}),
    "kept": ("kubectl-edit", "Update", {}, {"annotations": {f"{TOOLKIT}/prune": "disabled"}}),
    "kept-live": ("kubectl-edit", "Update", {"annotations": {f"{TOOLKIT}/prune": "Disabled"}}, {}),
}
FRESH = {f"new-{policy.lower()}": {"annotations": {f"{TOOLKIT}/ssa": policy}} for policy in ("Override", "Merge", "IfNotPresent", "Ignore")}


async def prepare(place: Town) -> None:
    """The objects as their makers have left them."""
    path = f"/api/v1/namespaces/{place.namespace}/configmaps"
    await place.api.request("DELETE", path)
    for name, (manager, operation, metadata, _manifest) in CASES.items():
        body = json.loads(config_map(name, "live", **metadata))
        body["data"]["extra"] = "theirs"
        if operation == "Apply":
            query = {"fieldManager": manager, "force": "true"}
            await place.api.request("PATCH", f"{path}/{name}", query=query, body=body, content_type=APPLY_PATCH)
        else:
            await place.api.request("POST", path, query={"fieldManager": manager}, body=body)
        touch = {"metadata": {"annotations": {"example.org/touched": "yes"}}}  # two entries, as objects that have lived have
        await place.api.request("PATCH", f"{path}/{name}", query={"fieldManager": "kubectl-annotate"}, body=touch, content_type=MERGE_PATCH)


async def seen(place: Town) -> dict[str, Any]:
    """All that an apply can change, without ids and times."""
    items = (await place.api.request("GET", f"/api/v1/namespaces/{place.namespace}/configmaps")).body["items"]
    found = {}
    for each in items:
        metadata = each["metadata"]
        if metadata["name"] == "kube-root-ca.crt":
            continue
        entries = [{key: value for key, value in entry.items() if key != "time"} for entry in metadata["managedFields"]]
        entries.sort(key=lambda entry: json.dumps(entry, sort_keys=True))
        found[metadata["name"]] = (each.get("data"), metadata.get("labels"), metadata.get("annotations"), entries)
    return found


def told(messages: list[str]) -> list[str]:
    """The change lines, sorted: Flux applies one after the other, we side by side."""
    return sorted({line for text in messages for line in text.splitlines() if line.endswith((" created", " configured", " deleted"))})


async def one_round(place: Town, name: str, *, by_flux: bool) -> list[Any]:
    """First apply, a second, a prune: what there is after each, the inventory, and the lines."""
    turns, result = Turns(place), []
    manifests = {f"all/{case}.yaml": config_map(case, "git", **manifest) for case, (*_live, manifest) in CASES.items()}
    manifests |= {f"all/{case}.yaml": config_map(case, "git", **metadata) for case, metadata in FRESH.items()}
    place.repository.replace(manifests | {"all/anchor.yaml": config_map("anchor", "1")})
    await (turns.sources_only() if by_flux else turns.all())
    await place.apply(place.source())
    await asked_source(place, f"{name}-1")
    await prepare(place)
    flux = turns.flux() if by_flux else None
    try:
        await place.apply(place.kustomization("all"))
        await place.wait_outside("Kustomization", "all", lambda now: is_at(now, place.revision), seconds=40)
        result.append(await seen(place))
        result.append((await asked(place, "all", f"{name}-again"))["status"]["inventory"])
        result.append(await seen(place))
        place.repository.replace({"all/anchor.yaml": config_map("anchor", "1")})
        await asked_source(place, f"{name}-2")
        last = await place.wait_outside("Kustomization", "all", lambda now: is_at(now, place.revision), seconds=40)
        result += [await seen(place), last["status"]["inventory"]]
        events = [each["message"] for each in await core_events(place, "all")]
        result.append(told(events if by_flux else [each["message"] for each in await place.events("all")]))
        await place.api.request("DELETE", f"/apis/{TOOLKIT}/v1/namespaces/{place.namespace}/kustomizations/all")
        await place.wait_gone("Kustomization", "all")
        result.append(await seen(place))
    finally:
        if flux is not None:
            flux.stop()
        await place.stop()
    return result


async def asked_source(place: Town, token: str) -> None:
    """A fetch, until the artifact is the head."""
    await place.patch("GitRepository", "fleet", {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": token}}})

    def is_there(now: Object) -> bool:
        return ((now.get("status") or {}).get("artifact") or {}).get("revision") == place.revision

    await place.wait_outside("GitRepository", "fleet", is_there, seconds=20)


async def test_both_do_the_same_to_the_same_objects(place: Town) -> None:
    theirs = await one_round(place, "flux", by_flux=True)
    ours = await one_round(place, "sluice", by_flux=False)
    steps = ("first apply", "inventory", "second apply", "prune", "inventory after the prune", "change lines", "deletion")
    for step, flux, sluice in zip(steps, theirs, ours, strict=True):
        if isinstance(flux, dict):
            assert {key: flux[key] for key in flux if flux[key] != sluice.get(key)} == {
                key: sluice.get(key) for key in flux if flux[key] != sluice.get(key)
            }, step
        assert sluice == flux, step
    assert set(theirs[3]) > {"anchor", "kept", "ignore", "disabled"}
