from typing import Any

import pytest

from service.cluster.client import ApiError, Cluster
from service.cluster.discovery import Resource
from service.cluster.status import add_finalizer, manager_of, patch_annotations, patch_status, remove_finalizer
from tests.cluster.objects import deployment

DEPLOYMENT = Resource(group="apps", version="v1", plural="deployments", namespaced=True, kind="Deployment")
POD = Resource(group="", version="v1", plural="pods", namespaced=True, kind="Pod")
HOLD = "example.org/hold"


def paused(namespace: str) -> dict[str, Any]:
    """A Deployment that a controller manager leaves alone but for a status of its own."""
    body = deployment(namespace, "web")
    body["spec"]["paused"] = True
    return body


@pytest.fixture
async def web(cluster: Cluster, namespace: str) -> dict[str, Any]:
    made = await cluster.request("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", body=paused(namespace))
    return made.body


async def test_status_is_merged_and_only_status(cluster: Cluster, namespace: str) -> None:
    # a Pod that is for nobody's scheduler: no controller writes its status
    pod = {"metadata": {"name": "one"}, "spec": {"schedulerName": "nobody", "containers": [{"name": "web", "image": "nginx:1"}]}}
    path = f"/api/v1/namespaces/{namespace}/pods"
    made = (await cluster.request("POST", path, body={"apiVersion": "v1", "kind": "Pod", **pod})).body
    await patch_status(cluster, POD, namespace, "one", {"message": "waits", "reason": "Full"})
    after = await patch_status(cluster, POD, namespace, "one", {"reason": None, "nominatedNodeName": "node-7"})
    assert after["status"] == {**made["status"], "message": "waits", "nominatedNodeName": "node-7"}
    assert after["spec"] == made["spec"]
    assert after["metadata"].get("generation") == made["metadata"].get("generation")
    entries = [entry for entry in after["metadata"]["managedFields"] if entry.get("subresource") == "status"]
    assert [(entry["manager"], entry["operation"]) for entry in entries] == [("sluice", "Update")]


@pytest.mark.parametrize(
    ("group", "manager"),
    [
        ("kustomize.toolkit.fluxcd.io", "gotk-kustomize-controller"),
        ("source.toolkit.fluxcd.io", "source-controller"),
        ("apps", "sluice"),
    ],
)
def test_managers_are_fluxs(group: str, manager: str) -> None:
    assert manager_of(Resource(group=group, version="v1", plural="x", namespaced=True, kind="X")) == manager


async def test_status_of_a_missing_object_is_an_error(cluster: Cluster, namespace: str) -> None:
    with pytest.raises(ApiError) as caught:
        await patch_status(cluster, DEPLOYMENT, namespace, "nobody", {"replicas": 1})
    assert caught.value.not_found


@pytest.mark.usefixtures("web")
async def test_annotations_are_set_and_removed(cluster: Cluster, namespace: str) -> None:
    await patch_annotations(cluster, DEPLOYMENT, namespace, "web", {"a": "1", "b": "2"})
    after = await patch_annotations(cluster, DEPLOYMENT, namespace, "web", {"a": None, "c": "3"})
    assert after["metadata"]["annotations"] == {"b": "2", "c": "3"}


@pytest.mark.usefixtures("web")
async def test_finalizers_of_others_are_kept(cluster: Cluster, namespace: str) -> None:
    await add_finalizer(cluster, DEPLOYMENT, namespace, "web", "example.org/other")
    for _ in range(2):
        obj = await add_finalizer(cluster, DEPLOYMENT, namespace, "web", HOLD)
        assert obj is not None
        assert obj["metadata"]["finalizers"] == ["example.org/other", HOLD]
    for _ in range(2):
        obj = await remove_finalizer(cluster, DEPLOYMENT, namespace, "web", HOLD)
        assert obj is not None
        assert obj["metadata"]["finalizers"] == ["example.org/other"]
    await remove_finalizer(cluster, DEPLOYMENT, namespace, "web", "example.org/other")


@pytest.mark.usefixtures("web")
async def test_object_that_is_being_deleted_gets_no_finalizer(cluster: Cluster, namespace: str) -> None:
    await add_finalizer(cluster, DEPLOYMENT, namespace, "web", HOLD)
    await cluster.request("DELETE", f"/apis/apps/v1/namespaces/{namespace}/deployments/web")
    assert await add_finalizer(cluster, DEPLOYMENT, namespace, "web", "example.org/late") is None
    await remove_finalizer(cluster, DEPLOYMENT, namespace, "web", HOLD)
    assert await remove_finalizer(cluster, DEPLOYMENT, namespace, "web", HOLD) is None
    assert await add_finalizer(cluster, DEPLOYMENT, namespace, "web", HOLD) is None
