"""The fields of a Kustomization that shape its build, all at once: Flux's own controller and sluice apply the same objects.

Flux serves v1 alone, so old versions' patches are not here; test_options holds them against kustomize's own command.
"""

import json
from typing import Any

import pytest

from tests.compose.test_flux import Turns, place, plane
from tests.compose.test_flux_fields import asked_source, seen
from tests.kustomizations.test_options import WEB
from tests.kustomizations.town import Town, config_map, is_at

__all__ = ["place", "plane"]
pytestmark = pytest.mark.real
ALPHA = "kustomize.config.k8s.io/v1alpha1"

FILES = {
    "all/kustomization.yaml": json.dumps(
        {
            "resources": ["a.yaml", "web.yaml"],
            "namePrefix": "file-",
            "patches": [{"patch": config_map("a", "file patch"), "target": {"name": "a"}}],
            "images": [{"name": "nginx", "newName": "mirror/nginx", "newTag": "1"}, {"name": "side", "digest": "sha256:" + "2" * 64}],
            "components": ["component"],
        }
    ),
    "all/a.yaml": config_map("a", "git"),
    "all/web.yaml": json.dumps(WEB | {"spec": WEB["spec"] | {"selector": {"matchLabels": {"app": "web"}}}}),
    "all/component/kustomization.yaml": json.dumps(
        {
            "kind": "Component",
            "apiVersion": ALPHA,
            "configMapGenerator": [{"name": "made", "literals": ["a=b"]}],
        }
    ),
    "all/more/kustomization.yaml": json.dumps({"kind": "Component", "apiVersion": ALPHA, "resources": ["more.yaml"]}),
    "all/more/more.yaml": config_map("more", "${value} ${none:=default} $${kept}"),
}
LABELS = {"op": "add", "path": "/spec/template/metadata", "value": {"labels": {"app": "web"}}}
SPEC: dict[str, Any] = {
    "namePrefix": "spec-",
    "nameSuffix": "-end",
    "commonMetadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}},
    "components": ["more", "missing"],
    "ignoreMissingComponents": True,
    "patches": [
        {"patch": json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"value": "spec patch"}})},
        {"patch": json.dumps([LABELS]), "target": {"kind": "Deploy.*", "name": "we[b]"}},
    ],
    "images": [{"name": "nginx", "newTag": "2"}, {"name": "side", "newTag": "3"}],
    "buildMetadata": ["originAnnotations"],
    "postBuild": {"substitute": {"value": "given"}},
}


async def one_round(place: Town, name: str, *, by_flux: bool) -> dict[str, Any]:
    turns = Turns(place)
    place.repository.replace(FILES)
    await (turns.sources_only() if by_flux else turns.all())
    await place.apply(place.source())
    await asked_source(place, name)
    flux = turns.flux() if by_flux else None
    try:
        await place.apply(place.kustomization("all", **SPEC))
        last = await place.wait_outside("Kustomization", "all", lambda now: is_at(now, place.revision), seconds=40)
        web = await place.get("Deployment", "spec-web-end")
        assert web is not None
        metadata = {key: web["metadata"][key] for key in ("labels", "annotations")}
        images = [each["image"] for each in web["spec"]["template"]["spec"]["containers"]]
        found = {"web": (metadata, images), "inventory": last["status"]["inventory"], "maps": await seen(place)}
        await place.api.request("DELETE", f"/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{place.namespace}/kustomizations/all")
        await place.wait_gone("Kustomization", "all")
    finally:
        if flux is not None:
            flux.stop()
        await place.stop()
    return found


async def test_both_build_the_same_of_the_same_fields(place: Town) -> None:
    """Some 10 s: two engines."""
    theirs = await one_round(place, "flux", by_flux=True)
    ours = await one_round(place, "sluice", by_flux=False)
    assert ours["web"] == theirs["web"]
    assert ours["inventory"] == theirs["inventory"]
    assert ours["maps"] == theirs["maps"]
    assert ours["web"][1] == ["mirror/nginx:2", "side:3"]
    assert ours["maps"]["spec-more-end"][0] == {"value": "given default ${kept}"}
