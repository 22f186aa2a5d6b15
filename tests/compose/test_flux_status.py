"""What the status says after each kind of outcome: Flux's own controller and sluice, side by side."""

import asyncio
import json
import re

import pytest

from tests.compose.test_flux import Object, Turns, place, plane
from tests.compose.test_flux_fields import asked_source
from tests.kustomizations.town import Town, config_map, ready

__all__ = ["place", "plane"]
pytestmark = pytest.mark.real

FILES = {
    "fine/a.yaml": config_map("fine", "1"),
    "empty/README": "x",
    "broken/kustomization.yaml": "resources: [none.yaml]\n",
    "invalid/a.yaml": config_map("invalid", "1", labels={"bad": "no label!"}),
    "invalid/b.yaml": config_map("valid-beside", "1"),
    "unknown/a.yaml": json.dumps({"apiVersion": "nobody.example.org/v1", "kind": "Gizmo", "metadata": {"name": "g"}}),
    "nowhere/a.yaml": config_map("nowhere", "1"),
}
OBJECTS: dict[str, Object] = {
    "fine": {},
    "healthy": {"path": "./fine", "wait": True},
    "empty": {},
    "broken": {},
    "pathless": {"path": "./not/there"},
    "invalid": {},
    "unknown": {},
    "nowhere": {"targetNamespace": "not-there"},
    "dependent": {"path": "./fine", "dependsOn": [{"name": "broken"}]},
    "orphan": {"path": "./fine", "dependsOn": [{"name": "not-there"}]},
    "sourceless": {"path": "./fine", "sourceRef": {"kind": "GitRepository", "name": "not-there"}},
}
TIMES = re.compile(r"\d+(\.\d+)?(ms|µs|s|m)(\d+(\.\d+)?(ms|s))*")


def shown(status: Object, namespace: str) -> Object:
    """The status without times, and without what each builds its digest from."""
    found = {each["type"]: (each["status"], each["reason"], clean(each["message"], namespace)) for each in status.get("conditions", ())}
    found.pop("Reconciling", None)  # Flux: the last step; we: when the next attempt is
    kept = ("inventory", "lastAppliedRevision", "lastAttemptedRevision", "observedGeneration", "history")
    found |= {key: json.loads(clean(json.dumps(status[key]), namespace)) for key in kept if status.get(key)}
    found["history"] = [(each["lastReconciledStatus"], each["metadata"]) for each in found.get("history", ())]
    return found


def is_told(now: Object) -> bool:
    return ready(now).get("status") in ("True", "False")


def clean(message: str, namespace: str) -> str:
    """Without times, revisions, the namespace, the folder that Flux unpacks into, and all but the beginning of a failed build's words."""
    for pattern, word in ((r"sha1:[0-9a-f]{40}", "REV"), (r"/\S*/kustomization-\d+/", ""), (r"(kustomize build failed): .*", r"\1")):
        message = re.sub(pattern, word, message, flags=re.DOTALL)
    return TIMES.sub("TIME", message).replace(namespace, "NS").strip()


async def one_round(place: Town, *, by_flux: bool) -> dict[str, Object]:
    turns = Turns(place)
    place.repository.replace(FILES)
    await (turns.sources_only() if by_flux else turns.all())
    await place.apply(place.source())
    await asked_source(place, f"{by_flux}")
    flux = turns.flux() if by_flux else None
    try:
        await place.apply(*(place.kustomization(name, **({"retryInterval": "10m"} | spec)) for name, spec in OBJECTS.items()))
        for name in OBJECTS:
            await place.wait_outside("Kustomization", name, is_told, seconds=60)
        await asyncio.sleep(1)  # Flux writes conditions and the rest of a status one after the other
        found = {name: await place.get("Kustomization", name) for name in OBJECTS}
        for name in OBJECTS:
            await place.delete("Kustomization", name)
        for name in OBJECTS:
            await place.wait_gone("Kustomization", name, seconds=30)
    finally:
        if flux is not None:
            flux.stop()
        await place.stop()
    return {name: shown(each["status"], place.namespace) for name, each in found.items() if each is not None}


async def test_both_say_the_same(place: Town) -> None:
    theirs = await one_round(place, by_flux=True)
    ours = await one_round(place, by_flux=False)
    for name in OBJECTS:
        assert ours[name] == theirs[name], name
