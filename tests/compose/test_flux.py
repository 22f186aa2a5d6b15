"""Moving in from Flux costs nothing, nor does moving back: its own kustomize-controller and sluice take turns on a real kube-apiserver.

What is compared is what cannot lie: uid, resourceVersion and managedFields of every managed object.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.cluster.client import ApiError, Cluster
from service.cluster.discovery import Discovery, object_path
from service.cluster.inventory import parse
from service.kinds.event import Event
from service.kinds.meta import ObjectKey
from service.metrics import Metrics
from service.settings import Address
from service.web.artifacts import Artifacts
from service.web.inside import EventSink, application
from service.web.port import Port
from tests.conftest import Peers
from tests.kustomizations.town import SHARD, Town, config_map, is_at, ready, town
from tests.peers.binaries import folder_of
from tests.peers.flux import CRDS, NAME, KustomizeController
from tests.peers.kube import API, FULL, ControlPlane

pytestmark = pytest.mark.real
Object = dict[str, Any]
FLEET = Path(__file__).parent / "flux"


@pytest.fixture(scope="module")
def plane(peers: Peers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of its own: the CRDs are Flux's here."""
    peers.need(*FULL, *API, NAME)
    with ControlPlane(tmp_path_factory.mktemp("flux-kube"), full=True) as made:
        yield made


@pytest.fixture
async def place(plane: ControlPlane, tmp_path: Path, namespace_name: str) -> AsyncIterator[Town]:
    """A town whose sources' artifacts are served, as Flux needs them."""
    async with town(tmp_path, plane.kubeconfig, namespace_name) as made:
        await install(made.api)
        folder = tmp_path / "state" / "artifacts"
        port = Port("cluster", application(EventSink(refuse, Metrics()), Artifacts(folder, never)), Address(host="127.0.0.1", port=0))
        made.settings["artifact_host"] = str(await port.start())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(port.run())
            yield made
            port.stop()


async def refuse(event: Event) -> bool:
    raise AssertionError(event)


async def never(key: ObjectKey, name: str) -> bool:
    return False


async def install(api: Cluster) -> None:
    """Flux's CRD of Kustomizations over ours, and bare ones of the other kinds that its controller watches."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for file in folder_of(CRDS).glob("*.yaml"):
        for body in yaml.safe_load_all(file.read_text()):
            await api.request(
                "PATCH", f"{path}/{body['metadata']['name']}", query={"fieldManager": "flux", "force": "true"}, body=body,
                content_type="application/apply-patch+yaml",
            )  # fmt: skip
    for kind, plural in (("OCIRepository", "ocirepositories"), ("Bucket", "buckets")):
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        version = {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": schema}}
        names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
        spec = {"group": "source.toolkit.fluxcd.io", "names": names, "scope": "Namespaced", "versions": [version]}
        body = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": spec}
        with suppress(ApiError):
            await api.request("POST", path, body=body | {"metadata": {"name": f"{plural}.source.toolkit.fluxcd.io"}})


class Turns:
    """Who reconciles the Kustomizations: Flux's controller or we; sources are ours all the time."""

    def __init__(self, place: Town) -> None:
        self.place = place
        self.count = 0

    def flux(self) -> KustomizeController:
        self.count += 1
        folder = self.place.folder / f"flux-{self.count}"
        return KustomizeController(folder, self.place.kubeconfig, self.place.namespace, selector=f"{SHARD}={self.place.namespace}")

    async def sources_only(self) -> None:
        self.place.settings["kinds"] = frozenset({"GitRepository"})
        house = await self.place.start()
        house.gates["kustomize-controller-leader-election"].shut()

    async def all(self) -> None:
        self.place.settings.pop("kinds", None)
        await self.place.start()


async def managed(place: Town, *names: str) -> dict[str, Any]:
    """What each object of the inventories looks like, as far as a write would show."""
    discovery, found = Discovery(place.api), {}
    for name in names:
        seen = await place.get("Kustomization", name)
        assert seen is not None
        for entry in seen["status"]["inventory"]["entries"]:
            id = parse(entry["id"], entry["v"])
            path = object_path(await discovery.resource(id.api_version, id.kind), id.namespace, id.name)
            metadata = (await place.api.request("GET", path)).body["metadata"]
            ours = [
                each for each in metadata["managedFields"] if not each.get("subresource") and "controller-manager" not in each["manager"]
            ]
            found[str(id)] = (metadata["uid"], metadata.get("generation"), metadata["labels"], ours)
            if id.kind not in (
                "Deployment",
                "HorizontalPodAutoscaler",
                "CustomResourceDefinition",
                "Namespace",
            ):  # whose status others write
                found[str(id)] += (metadata["resourceVersion"],)
    return found


async def asked(place: Town, name: str, token: str) -> Object:
    """A whole reconcile, on request: every object is compared."""
    await place.ask(name, token)
    return await place.wait_outside(
        "Kustomization",
        name,
        lambda seen: seen["status"].get("lastHandledReconcileAt") == token and is_at(seen, place.revision),
        seconds=60,
    )


async def core_events(place: Town, name: str) -> list[Object]:
    items = (await place.api.request("GET", f"/api/v1/namespaces/{place.namespace}/events")).body["items"]
    return [each for each in items if each["involvedObject"]["name"] == name]


def files(namespace: str) -> dict[str, str]:
    return {f"{path.parent.name}/{path.name}": path.read_text().replace("NAMESPACE", namespace) for path in sorted(FLEET.glob("*/*.yaml"))}


async def test_flux_and_sluice_take_turns_and_nobody_writes(place: Town) -> None:
    """Some 40 s: Flux polls for health."""
    place.repository.commit(files(place.namespace))
    turns = Turns(place)
    await turns.sources_only()
    await place.apply(place.source())
    await place.wait("GitRepository", "fleet", lambda seen: bool((seen.get("status") or {}).get("artifact")))
    query = {"fieldManager": "kubectl-client-side-apply"}  # there before Flux, by hand
    by_hand = json.loads(config_map("by-hand", "0", namespace=place.namespace))
    by_hand["data"]["extra"] = "gone with Flux"
    await place.api.request("POST", f"/api/v1/namespaces/{place.namespace}/configmaps", query=query, body=by_hand)
    with turns.flux() as flux:
        await place.apply(
            place.kustomization("infra", wait=True),
            place.kustomization("apps", dependsOn=[{"name": "infra"}], wait=True, retryInterval="5s"),
        )
        for name in ("infra", "apps"):
            await place.wait_outside("Kustomization", name, lambda seen: is_at(seen, place.revision), seconds=90)
            await asked(place, name, "again")  # takes over what the API server noted as `before-first-apply`
        first = await managed(place, "infra", "apps")
        theirs = {name: await place.get("Kustomization", name) for name in ("infra", "apps")}
        flux.stop()
    await place.stop()

    await turns.all()
    await place.at(place.revision, "infra", "apps")
    await place.quiet()
    for name in ("infra", "apps"):
        ours = await asked(place, name, "by sluice")
        before = theirs[name]
        assert before is not None
        assert ours["status"]["inventory"] == before["status"]["inventory"]
        assert ours["status"]["lastAppliedRevision"] == before["status"]["lastAppliedRevision"]
        assert [each["type"] for each in ours["status"]["conditions"]] == [each["type"] for each in before["status"]["conditions"]]
        assert ready(ours)["message"] == ready(before)["message"]
    assert await managed(place, "infra", "apps") == first, "nothing was written"
    (touched,) = {path.rpartition("/kustomizations/")[1] for _, path in place.cluster.writes() if "events" not in path}
    assert touched, "only statuses of Kustomizations"

    pushed = place.push({"apps/settings.yaml": config_map("settings", "2", namespace=place.namespace)})
    await place.at(pushed, "apps", "infra")
    await place.quiet()
    second = await managed(place, "infra", "apps")
    changed = {key for key in first if first[key] != second[key]}
    assert changed == {f"ConfigMap/{place.namespace}/settings"}
    assert second[f"ConfigMap/{place.namespace}/settings"][3][0]["manager"] == "kustomize-controller"
    await place.stop()

    told = {name: len(await core_events(place, name)) for name in ("infra", "apps")}
    await turns.sources_only()
    with turns.flux() as flux:
        for name in ("infra", "apps"):
            await asked(place, name, "by Flux")
        assert await managed(place, "infra", "apps") == second, "nothing was written"
        for name in ("infra", "apps"):
            fresh = (await core_events(place, name))[told[name] :]
            assert not [each for each in fresh if "configured" in each["message"] or "created" in each["message"]]
        flux.stop()
