from pathlib import Path
from typing import Any

import pytest

from service.cluster.changes import Owner
from service.cluster.client import ApiError, Cluster
from service.cluster.discovery import Discovery
from service.cluster.inventory import ObjectId
from service.cluster.prune import Pruner
from tests.cluster.objects import OWNER_LABELS, Cord, config_map

OWNER = Owner(name="apps", namespace="flux-system")


def cm(namespace: str, name: str) -> ObjectId:
    return ObjectId(namespace, name, "", "ConfigMap", "v1")


async def make(cluster: Cluster, namespace: str, name: str, **metadata: Any) -> None:
    body = config_map(namespace, name, **{"labels": OWNER_LABELS, **metadata})
    await cluster.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", body=body)


async def there(cluster: Cluster, namespace: str, name: str) -> bool:
    try:
        await cluster.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/{name}")
    except ApiError as error:
        if not error.not_found:
            raise
        return False
    return True


async def test_what_is_stale_is_deleted(cluster: Cluster, discovery: Discovery, namespace: str) -> None:
    await make(cluster, namespace, "one")
    result = await Pruner(cluster, discovery).prune([cm(namespace, "one"), cm(namespace, "long-gone")], owner=OWNER)
    assert {str(entry).replace(namespace, "NS") for entry in result.changes.entries} == {
        "ConfigMap/NS/one deleted",
        "ConfigMap/NS/long-gone deleted",
    }
    assert (result.failed, result.left) == ((), ())
    assert not await there(cluster, namespace, "one")


@pytest.mark.parametrize(
    "metadata",
    [
        {"annotations": {"kustomize.toolkit.fluxcd.io/prune": "disabled"}},
        {"labels": {**OWNER_LABELS, "kustomize.toolkit.fluxcd.io/reconcile": "disabled"}},
        {"annotations": {"kustomize.toolkit.fluxcd.io/ssa": "Ignore"}},
        {"labels": {}},
        {"labels": {**OWNER_LABELS, "kustomize.toolkit.fluxcd.io/name": "another"}},
        {"labels": {**OWNER_LABELS, "kustomize.toolkit.fluxcd.io/namespace": "elsewhere"}},
    ],
)
async def test_what_is_marked_or_anothers_stays(
    cluster: Cluster, discovery: Discovery, namespace: str, metadata: dict[str, dict[str, str]]
) -> None:
    await make(cluster, namespace, "one", **metadata)
    result = await Pruner(cluster, discovery).prune([cm(namespace, "one")], owner=OWNER)
    assert [entry.action for entry in result.changes.entries] == ["skipped"]
    assert await there(cluster, namespace, "one")


async def test_dry_run_deletes_nothing(cluster: Cluster, discovery: Discovery, namespace: str) -> None:
    await make(cluster, namespace, "one")
    result = await Pruner(cluster, discovery).prune([cm(namespace, "one")], owner=OWNER, dry_run=True)
    assert [entry.action for entry in result.changes.entries] == ["deleted"]
    assert await there(cluster, namespace, "one")


async def test_order_is_the_reverse_of_application(cluster: Cluster, discovery: Discovery, namespace: str) -> None:
    ids = [ObjectId("", "x", "", "Namespace", "v1"), cm("nowhere", "a"), ObjectId("nowhere", "d", "apps", "Deployment", "v1")]
    result = await Pruner(cluster, discovery).prune(ids, owner=OWNER, dry_run=True)
    assert [entry.object.kind for entry in result.changes.entries] == ["Deployment", "ConfigMap", "Namespace"]


async def test_old_version_and_vanished_kind_are_no_obstacle(cluster: Cluster, discovery: Discovery, namespace: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l", "labels": OWNER_LABELS}, "spec": {}}
    await cluster.request("POST", path, body=body)
    ids = [ObjectId(namespace, "l", "coordination.k8s.io", "Lease", "v1old"), ObjectId(namespace, "g", "nobody.example.org", "Gizmo", "v1")]
    result = await Pruner(cluster, discovery).prune(ids, owner=OWNER)
    assert [entry.action for entry in result.changes.entries] == ["deleted", "deleted"]
    with pytest.raises(ApiError, match="not found"):
        await cluster.request("GET", f"{path}/l")


async def test_failed_deletion_stays_in_the_inventory(kubeconfig: Path, namespace: str, tmp_path: Path) -> None:
    cord = Cord(kubeconfig, tmp_path)
    cluster = await Cluster.from_kubeconfig(await cord.mend())
    discovery = Discovery(cluster)
    await discovery.resource("v1", "ConfigMap")
    await cord.cut()
    result = await Pruner(cluster, discovery).prune([cm(namespace, "one")], owner=OWNER)
    await cluster.close()
    assert result.away
    assert result.left == (cm(namespace, "one"),)
    assert result.failed[0].startswith(f"ConfigMap/{namespace}/one delete failed: ")
