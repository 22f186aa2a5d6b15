"""Fields that `spec.ignore` leaves to others: Flux's own controller and sluice do the same to the same objects.

Each case is an object that the engine has applied and somebody has changed since. Compared are data, labels and managed fields after a
reconcile, after a push that changes something else of the object, and after one that changes the ignored field itself. Where they part:
what somebody has removed Flux puts back as an empty value, and a field that Git drops makes its apply fail; with us both stay as they are.
"""

import json
from typing import Any

import pytest

from service.cluster.client import APPLY_PATCH, JSON_PATCH
from tests.compose.test_flux import Object, Turns, asked, place, plane
from tests.compose.test_flux_fields import asked_source, seen
from tests.kustomizations.town import PATHS, Town, config_map, is_at, ready

__all__ = ["place", "plane"]
pytestmark = pytest.mark.real

RULES = [
    {"paths": ["/data/value", "/metadata/annotations/example.org~1note"], "target": {"kind": "Config.*"}},
    {"paths": ["/spec/replicas", "/spec/template/spec/containers/0/image"], "target": {"kind": "Deployment", "labelSelector": "mine=yes"}},
]
# name: (manager, operation, the data that it sets; None takes the value away)
CASES: dict[str, tuple[str, str, str | None]] = {
    "edited": ("kubectl-edit", "Update", "theirs"),
    "updated": ("helm", "Update", "theirs"),
    "applied": ("vpa", "Apply", "theirs"),
    "kubectl-applied": ("kubectl", "Apply", "theirs"),
    "same": ("vpa", "Apply", "git"),
    "removed": ("helm", "Update", None),
}


def web(name: str, **labels: str) -> str:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "web", "image": "nginx:1"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template}
    return json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels}, "spec": spec})


def manifests(value: str, **labels: str) -> dict[str, str]:
    """All cases, and two Deployments, the second of which no rule is for."""
    note = {"example.org/note": value}
    found = {f"all/{name}.yaml": config_map(name, value, labels=labels, annotations=note) for name in (*CASES, "untouched")}
    return found | {"all/web.yaml": web("web", mine="yes", **labels), "all/other.yaml": web("other", **labels)}


async def disturb(place: Town) -> None:
    """What others do to the objects."""
    for name, (manager, operation, value) in CASES.items():
        path, query = PATHS["ConfigMap"].format(place.namespace, name), {"fieldManager": manager}
        if operation == "Apply":
            body = json.loads(config_map(name, value or "", namespace=place.namespace))
            await place.api.request("PATCH", path, query=query | {"force": "true"}, body=body, content_type=APPLY_PATCH)
        else:
            operations: list[Object] = [{"op": "remove", "path": "/data/value"}]
            if value is not None:
                operations = [{"op": "replace", "path": "/data/value", "value": value}]
            await place.api.request("PATCH", path, query=query, body=operations, content_type=JSON_PATCH)
    for name in ("web", "other"):
        path = PATHS["Deployment"].format(place.namespace, name)
        body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": place.namespace}}
        body["spec"] = {"template": {"spec": {"containers": [{"name": "web", "image": "nginx:2"}]}}}
        await place.api.request("PATCH", path, query={"fieldManager": "vpa", "force": "true"}, body=body, content_type=APPLY_PATCH)
        scale = [{"op": "replace", "path": "/spec/replicas", "value": 0}]
        await place.api.request("PATCH", path, query={"fieldManager": "hpa"}, body=scale, content_type=JSON_PATCH)


async def deployments(place: Town) -> dict[str, Any]:
    """What the rules are about, and whose it is."""
    found = {}
    for name in ("web", "other"):
        each = await place.get("Deployment", name)
        assert each is not None
        entries = [{key: value for key, value in entry.items() if key != "time"} for entry in each["metadata"]["managedFields"]]
        for entry in entries:  # Flux fills defaults in that are empty maps, and owns them then
            spec = entry["fieldsV1"].get("f:spec", {})
            spec.pop("f:strategy", None)
            for container in spec.get("f:template", {}).get("f:spec", {}).get("f:containers", {}).values():
                container.pop("f:resources", None)
        entries = sorted((entry for entry in entries if not entry.get("subresource")), key=lambda entry: json.dumps(entry, sort_keys=True))
        found[name] = (each["spec"]["replicas"], each["spec"]["template"]["spec"]["containers"][0]["image"], entries)
    return found


async def one_round(place: Town, name: str, *, by_flux: bool) -> list[dict[str, Any]]:
    turns, result = Turns(place), []
    place.repository.replace(manifests("git"))
    await (turns.sources_only() if by_flux else turns.all())
    await place.apply(place.source())
    await asked_source(place, f"{name}-1")
    flux = turns.flux() if by_flux else None
    try:
        await place.apply(place.kustomization("all", ignore=RULES, interval="1h"))
        await place.wait_outside("Kustomization", "all", lambda now: is_at(now, place.revision), seconds=40)
        await disturb(place)
        await asked(place, "all", f"{name}-again")
        result.append(await seen(place) | await deployments(place))
        for number, files in enumerate((manifests("git", new="yes"), manifests("newer", new="yes"), manifests("newer"))):
            place.repository.replace(files)
            await asked_source(place, f"{name}-{number + 2}")
            await place.wait_outside("Kustomization", "all", lambda now: is_at(now, place.revision), seconds=40)
            result.append(await seen(place) | await deployments(place))
        dropped = {name: text.replace('"value"', '"other"') for name, text in manifests("git", last="yes").items()}
        place.repository.replace(dropped)
        await asked_source(place, f"{name}-last")
        now = await place.wait_outside("Kustomization", "all", lambda now: is_done(now, place.revision), seconds=40)
        result.append({"ready": ready(now), "untouched": await place.get("ConfigMap", "untouched")})
        await place.api.request("DELETE", PATHS["Kustomization"].format(place.namespace, "all"))
        await place.wait_gone("Kustomization", "all")
    finally:
        if flux is not None:
            flux.stop()
        await place.stop()
    return result


def is_done(now: Object, revision: str) -> bool:
    """Whether a revision was tried, with whatever result."""
    return now["status"].get("lastAttemptedRevision") == revision and ready(now).get("status") in ("True", "False")


async def test_both_leave_the_same_fields_to_others(place: Town) -> None:
    """Some 30 s: two engines, four states each."""
    theirs = await one_round(place, "flux", by_flux=True)
    ours = await one_round(place, "sluice", by_flux=False)
    steps = ("reconcile", "a push of something else", "a push of the ignored field", "back")
    dropped, kept = theirs.pop(), ours.pop()
    for step, flux, sluice in zip(steps, theirs, ours, strict=True):
        assert (flux.pop("removed")[0], sluice.pop("removed")[0]) == ({"value": ""}, None), step
        differing = [each for each in flux if flux[each] != sluice.get(each)]
        assert {each: flux[each] for each in differing} == {each: sluice.get(each) for each in differing}, step
        assert flux.keys() == sluice.keys(), step
    assert ours[2]["updated"][0] == {"value": "theirs"}
    assert ours[2]["web"][:2] == (0, "nginx:2")
    assert ours[2]["other"][:2] == (1, "nginx:1")
    assert ours[2]["untouched"][0] == {"value": "git"}
    assert "missing key" in dropped["ready"]["message"]
    assert (kept["ready"]["status"], kept["untouched"]["data"]) == ("True", {"value": "git", "other": "git"})
