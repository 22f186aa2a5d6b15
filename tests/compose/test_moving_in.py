"""A cluster as Flux's own controller has left it, recorded: sluice takes it over without a write to what Flux applied.

The live turns of both engines, which need Flux's binary, are in test_flux.
"""

import json
from pathlib import Path
from typing import Any

from service.cluster.client import APPLY_PATCH, MERGE_PATCH
from tests.kustomizations.test_flow import app
from tests.kustomizations.town import PATHS, Town, config_map, is_at, ready

RECORDING = Path(__file__).parent / "recordings" / "flux-1.9.5" / "shop.json"


async def load(town: Town) -> list[dict[str, Any]]:
    """Bring about by Flux's own requests what is recorded: server-side apply, then status, each under its manager."""
    text = RECORDING.read_text().replace("NAMESPACE", town.namespace).replace("REVISION", town.revision)
    owner, *objects = json.loads(text)
    for each in objects:
        metadata = {key: each["metadata"][key] for key in ("name", "namespace", "labels")}
        path = PATHS["ConfigMap"].format(town.namespace, metadata["name"])
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": each["data"]}
        query = {"fieldManager": "kustomize-controller", "force": "true"}
        made = (await town.api.request("PATCH", path, query=query, body=body, content_type=APPLY_PATCH)).body
        assert owned(made) == owned(each), "the recording's managed fields, made by a real request"
    metadata = {key: owner["metadata"][key] for key in ("name", "namespace", "labels")}
    await town.apply({"apiVersion": owner["apiVersion"], "kind": owner["kind"], "metadata": metadata, "spec": owner["spec"]})
    path, query = PATHS["Kustomization"].format(town.namespace, "shop"), {"fieldManager": "gotk-kustomize-controller"}
    marks = {"finalizers": owner["metadata"]["finalizers"], "annotations": owner["metadata"]["annotations"]}
    for sub, body in (("", {"metadata": marks}), ("/status", {"status": owner["status"]})):
        await town.api.request("PATCH", path + sub, query=query, body=body, content_type=MERGE_PATCH)
    return [await live(town, name) for name in ("shop", "shop-more")]


def owned(object_: dict[str, Any]) -> list[dict[str, Any]]:
    return [{key: entry[key] for key in ("manager", "operation", "fieldsV1")} for entry in object_["metadata"]["managedFields"]]


async def live(town: Town, name: str) -> dict[str, Any]:
    found = await town.get("ConfigMap", name)
    assert found is not None
    return found


async def test_what_flux_has_left_is_taken_over_without_a_write(place: Town) -> None:
    place.repository.commit(app("shop"))
    before = await load(place)
    left = await place.get("Kustomization", "shop")
    assert left is not None
    await place.start()
    await place.apply(place.source())
    await place.ask("shop", "by sluice")

    def is_done(now: dict[str, Any]) -> bool:
        return now["status"].get("lastHandledReconcileAt") == "by sluice" and is_at(now, place.revision)

    done = await place.wait("Kustomization", "shop", is_done)
    await place.quiet()
    assert [await live(place, name) for name in ("shop", "shop-more")] == before
    own = ("/kustomizations/", "/gitrepositories/", "/events")
    assert [path for _, path in place.cluster.writes() if not any(part in path for part in own)] == []
    assert done["status"]["inventory"] == left["status"]["inventory"]
    assert ready(done)["message"] == ready(left)["message"]
    assert [each["type"] for each in done["status"]["conditions"]] == [each["type"] for each in left["status"]["conditions"]]
    assert done["metadata"]["finalizers"] == left["metadata"]["finalizers"]
    await place.at(place.push({"shop/settings.yaml": config_map("shop", "2"), "shop/more.yaml": None}), "shop")
    assert await place.values() == {"shop": "2"}
    assert [each["manager"] for each in (await live(place, "shop"))["metadata"]["managedFields"]] == ["kustomize-controller"]
