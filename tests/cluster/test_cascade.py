"""What goes with what: namespaces, definitions, children of Flux, finalizers; nothing is deleted by looking."""

from typing import Any

from service.cluster.cascade import Cascade, toll
from service.cluster.client import MERGE_PATCH, Cluster
from service.cluster.discovery import Discovery
from service.cluster.inventory import ObjectId
from tests.cluster.objects import config_map, definition


async def live(cluster: Cluster, path: str) -> dict[str, Any]:
    return (await cluster.request("GET", path)).body


async def test_a_namespace_takes_what_is_in_it(cluster: Cluster, discovery: Discovery, namespace: str) -> None:
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    for name in ("one", "two"):
        await cluster.request("POST", maps, body=config_map(namespace, name))
    owner = (await live(cluster, f"{maps}/one"))["metadata"]["uid"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "one", "uid": owner}
    await cluster.request("POST", maps, body=config_map(namespace, "owned", ownerReferences=[reference]))
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": namespace}}
    await cluster.request("POST", f"/api/v1/namespaces/{namespace}/secrets", body=secret)
    id = ObjectId("", namespace, "", "Namespace", "v1")
    (going,) = await Cascade(cluster, discovery).of({id: await live(cluster, f"/api/v1/namespaces/{namespace}")})
    there = (("ConfigMap", "one"), ("ConfigMap", "two"), ("Secret", "key"))
    assert {str(each) for each in going.with_it} == {f"{kind}/{namespace}/{name}" for kind, name in there}
    assert str(going) == f"Namespace/{namespace} and 3 objects with it"
    inside = ObjectId(namespace, "one", "", "ConfigMap", "v1")
    looked = {id: await live(cluster, f"/api/v1/namespaces/{namespace}"), inside: await live(cluster, f"{maps}/one")}
    both = await Cascade(cluster, discovery).of(looked)
    assert toll(both) == 4, "each counts once"


async def test_a_definition_takes_its_objects_and_a_finalizer_counts(cluster: Cluster, discovery: Discovery, namespace: str) -> None:
    group = f"{namespace}.example.org"
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await cluster.request("POST", definitions, body=definition(group))
    path = f"{definitions}/gadgets.{group}"
    try:
        gadgets = f"/apis/{group}/v1/namespaces/{namespace}/gadgets"
        metadata = {"name": "g", "finalizers": ["example.org/bucket"]}
        gadget = {"apiVersion": f"{group}/v1", "kind": "Gadget", "metadata": metadata}
        for _ in range(100):
            try:
                await cluster.request("POST", gadgets, body=gadget)
                break
            except Exception as error:  # noqa: BLE001 - served a moment later
                last = error
        else:
            raise last
        ids = {
            ObjectId("", f"gadgets.{group}", "apiextensions.k8s.io", "CustomResourceDefinition", "v1"): await live(cluster, path),
            ObjectId(namespace, "g", group, "Gadget", "v1"): await live(cluster, f"{gadgets}/g"),
        }
        whole, one = await Cascade(cluster, discovery).of(ids)
        assert str(whole).endswith(" and 1 objects with it")
        assert str(one) == f"Gadget/{namespace}/g, torn down by example.org/bucket"
        assert toll((whole, one)) == 3
        await cluster.request("PATCH", f"{gadgets}/g", body={"metadata": {"finalizers": None}}, content_type=MERGE_PATCH)
    finally:
        await cluster.request("DELETE", path)


async def test_a_child_takes_its_inventory_unless_it_would_leave_it(cluster: Cluster, discovery: Discovery, namespace: str) -> None:
    entries = [{"id": f"{namespace}_a__ConfigMap", "v": "v1"}, {"id": f"{namespace}_b_apps_Deployment", "v": "v1"}]
    metadata = {"name": "child", "namespace": namespace, "finalizers": ["finalizers.fluxcd.io"]}
    child: dict[str, Any] = {"metadata": metadata, "spec": {"prune": True}, "status": {"inventory": {"entries": entries}}}
    id = ObjectId(namespace, "child", "kustomize.toolkit.fluxcd.io", "Kustomization", "v1")
    cascade = Cascade(cluster, discovery)
    assert toll(await cascade.of({id: child})) == 3
    for spec in ({"prune": False}, {"prune": True, "suspend": True}, {"prune": True, "deletionPolicy": "Orphan"}):
        assert toll(await cascade.of({id: child | {"spec": spec}})) == 1
    assert toll(await cascade.of({id: child | {"spec": {"prune": False, "deletionPolicy": "Delete"}}})) == 3
    release = ObjectId(namespace, "r", "helm.toolkit.fluxcd.io", "HelmRelease", "v2")
    (going,) = await cascade.of({release: {"metadata": metadata, "spec": {}, "status": {}}})
    assert going.unknown == [f"what HelmRelease/{namespace}/r has installed"]
