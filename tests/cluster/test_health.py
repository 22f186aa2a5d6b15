import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from service.cluster.client import MERGE_PATCH, ApiError, Cluster
from service.cluster.discovery import Discovery, Resource
from service.cluster.health import HealthFailed, HealthTimeout, Status, Statuses, wait_gone, wait_healthy
from service.cluster.inventory import ObjectId
from tests.cluster.objects import config_map, definition, deployment, eventually

SOON = timedelta(seconds=10)
READY = {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True", "message": "yes"}]}
PENDING = {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "False", "message": "not yet"}]}
STUCK = {"observedGeneration": 1, "conditions": [{"type": "Stalled", "status": "True", "message": "never"}]}


class Workload:
    """Gadgets: no controller but the test makes them ready. A real API server needs 3 s for the first requests of a new kind."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._group = f"{namespace}.example.org"
        self._namespace = namespace
        self._definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        self._path = f"/apis/{self._group}/v1/namespaces/{namespace}/gadgets"

    async def install(self) -> None:
        await self._cluster.request("POST", self._definitions, body=definition(self._group))
        crd = ObjectId("", f"gadgets.{self._group}", "apiextensions.k8s.io", "CustomResourceDefinition", "v1")
        await wait_healthy(self._cluster, Discovery(self._cluster), [crd], timeout=SOON)
        async with asyncio.timeout(SOON.total_seconds()):
            while True:
                with contextlib.suppress(ApiError):  # established, and served a moment later
                    await self._cluster.request("GET", self._path)
                    if (await self._cluster.request("GET", f"/apis/{self._group}/v1")).body["resources"]:
                        return
                await asyncio.sleep(0.05)

    async def remove(self) -> None:
        await self._cluster.request("DELETE", f"{self._definitions}/gadgets.{self._group}")

    def id(self, name: str) -> ObjectId:
        return ObjectId(self._namespace, name, self._group, "Gadget", "v1")

    async def make(self, name: str) -> ObjectId:
        body = {"apiVersion": f"{self._group}/v1", "kind": "Gadget", "metadata": {"name": name}}
        await self._cluster.request("POST", self._path, body=body)
        await self.becomes(name, PENDING)
        return self.id(name)

    async def becomes(self, name: str, status: dict[str, Any]) -> None:
        await self._cluster.request("PATCH", f"{self._path}/{name}/status", body={"status": status}, content_type=MERGE_PATCH)


@pytest.fixture
async def workload(cluster: Cluster, namespace: str) -> AsyncIterator[Workload]:
    workload = Workload(cluster, namespace)
    await workload.install()
    yield workload
    await workload.remove()


@asynccontextmanager
async def waiting(
    cluster: Cluster, ids: list[ObjectId], **more: Any
) -> AsyncIterator[tuple["asyncio.Task[Statuses]", list[dict[ObjectId, str]]]]:
    """A wait that has read its objects once."""
    seen: list[dict[ObjectId, str]] = []

    def note(statuses: Statuses) -> None:
        seen.append({id: health.status.value for id, health in statuses.items()})

    task = asyncio.create_task(wait_healthy(cluster, Discovery(cluster), ids, **{"timeout": SOON, "on_progress": note, **more}))
    await eventually(lambda: bool(seen) and "Unknown" not in seen[-1].values())
    yield task, seen
    task.cancel()
    await asyncio.wait([task])


async def test_wait_ends_when_all_are_current(cluster: Cluster, namespace: str, workload: Workload) -> None:
    ids = [await workload.make("one"), await workload.make("two"), ObjectId(namespace, "c", "", "ConfigMap", "v1")]
    async with waiting(cluster, ids) as (task, seen):
        assert sorted(seen[-1].values()) == ["InProgress", "InProgress", "NotFound"]
        await workload.becomes("one", READY)
        await cluster.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", body=config_map(namespace, "c"))
        await eventually(lambda: seen[-1][ids[2]] == "Current")
        assert not task.done()
        await workload.becomes("two", READY)
        assert {health.status for health in (await task).values()} == {Status.CURRENT}


async def test_wait_ends_early_when_one_fails(cluster: Cluster, namespace: str, workload: Workload) -> None:
    ids = [await workload.make("one"), await workload.make("two")]
    async with waiting(cluster, ids) as (task, _):
        await workload.becomes("two", STUCK)
        with pytest.raises(HealthFailed) as caught:
            await task
    assert str(caught.value) == f"failed early due to stalled resources: [Gadget/{namespace}/two status: 'Failed']"


async def test_wait_names_what_is_not_ready_in_time(cluster: Cluster, namespace: str, workload: Workload) -> None:
    ids = [await workload.make("one"), workload.id("absent"), ObjectId(namespace, "g", "nobody.example.org", "Gizmo", "v1")]
    with pytest.raises(HealthTimeout) as caught:
        await wait_healthy(cluster, Discovery(cluster), ids, timeout=timedelta(milliseconds=500))
    assert str(caught.value).replace(namespace, "NS") == (
        "timeout waiting for: [Gadget/NS/one status: 'InProgress', Gadget/NS/absent status: 'NotFound', Gizmo/NS/g status: 'NotFound']"
    )


async def test_crashing_pod_fails_its_deployment(cluster: Cluster, namespace: str) -> None:
    ids = []
    for app in ("one", "two"):
        body = deployment(namespace, app, app=app)
        body["spec"]["paused"] = True  # no controller makes Pods for it
        await cluster.request("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", body=body)
        ids.append(ObjectId(namespace, app, "apps", "Deployment", "v1"))
    pods = f"/api/v1/namespaces/{namespace}/pods"
    async with waiting(cluster, ids) as (task, _):
        spec = {"containers": [{"name": "web", "image": "nginx:1"}], "schedulingGates": [{"name": "example.org/never"}]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"app": "two"}}, "spec": spec}
        await cluster.request("POST", pods, body=pod)
        state = {"name": "web", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "image": "", "imageID": "", "ready": False}
        status = {"phase": "Running", "containerStatuses": [{**state, "restartCount": 3}]}
        await cluster.request("PATCH", f"{pods}/p/status", body={"status": status}, content_type=MERGE_PATCH)
        with pytest.raises(HealthFailed, match="two status: 'Failed'"):
            await task


async def test_what_may_vanish_need_not_be_there(cluster: Cluster, discovery: Discovery, namespace: str) -> None:
    job = ObjectId(namespace, "migrate", "batch", "Job", "v1")
    statuses = await wait_healthy(cluster, discovery, [job], timeout=SOON, may_vanish=[job])
    assert statuses[job].status is Status.NOT_FOUND


async def test_nothing_to_wait_for_is_healthy(cluster: Cluster, discovery: Discovery) -> None:
    assert await wait_healthy(cluster, discovery, [], timeout=SOON) == {}


async def test_wait_can_be_cancelled(cluster: Cluster, namespace: str) -> None:
    async with waiting(cluster, [ObjectId(namespace, "never", "", "ConfigMap", "v1")]) as (task, _):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_end_of_an_object_is_awaited(cluster: Cluster, namespace: str) -> None:
    resource = Resource(group="", version="v1", plural="configmaps", namespaced=True, kind="ConfigMap")
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    made = await cluster.request("POST", path, body=config_map(namespace, "c", finalizers=["example.org/hold"]))
    uid, id = made.body["metadata"]["uid"], ObjectId(namespace, "c", "", "ConfigMap", "v1")
    await cluster.request("DELETE", f"{path}/c")
    assert not await wait_gone(cluster, resource, id, uid=uid, timeout=timedelta(milliseconds=200))
    task = asyncio.create_task(wait_gone(cluster, resource, id, uid=uid, timeout=SOON))
    await asyncio.sleep(0.05)
    await cluster.request("PATCH", f"{path}/c", body={"metadata": {"finalizers": None}}, content_type=MERGE_PATCH)
    assert await task
    assert await wait_gone(cluster, resource, id, uid=uid, timeout=SOON)
