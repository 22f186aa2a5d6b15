"""Receivers on an API server: the embedded one, and a real one when it is given."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from service.cluster.client import ApiError, Cluster
from service.cluster.discovery import Discovery, Resource
from service.cluster.watch import Watch
from service.kinds.crd import definition
from service.kinds.meta import NOTIFICATION_GROUP
from service.kinds.table import KINDS
from service.reconcile.gate import Gate
from service.triggers.index import ReceiverIndex, webhook_path
from service.triggers.receiver import ReceiverReconciler
from service.triggers.requests import Requests
from tests.triggers.scene import key, receiver, repository, secret, until

RECEIVERS = Resource(group=NOTIFICATION_GROUP, version="v1", plural="receivers", namespaced=True, kind="Receiver")


class Api:
    """The few requests of a user."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.root = f"/apis/{NOTIFICATION_GROUP}/v1/namespaces/{namespace}/receivers"
        self.core = f"/api/v1/namespaces/{namespace}"
        self.sources = f"/apis/source.toolkit.fluxcd.io/v1/namespaces/{namespace}/gitrepositories"

    async def create(self, path: str, object_: dict[str, Any]) -> None:
        metadata = {name: value for name, value in object_["metadata"].items() if name in ("name", "labels", "annotations")}
        try:
            await self.cluster.request("POST", path, body={**object_, "metadata": metadata})
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise

    async def get(self, path: str) -> dict[str, Any]:
        return (await self.cluster.request("GET", path)).body

    async def prepare(self, namespace: str) -> None:
        for kind in KINDS:
            await self.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition(kind))
        await self.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        async with asyncio.timeout(10):
            while not await self._serves():  # noqa: ASYNC110 - discovery tells nobody
                await asyncio.sleep(0.1)

    async def _serves(self) -> bool:
        try:
            await self.get(self.root)
            await self.get(self.sources)
        except ApiError:
            return False
        return True


@pytest.fixture
async def api(kubeconfig: Path, namespace_name: str) -> AsyncIterator[Api]:
    cluster = await Cluster.from_kubeconfig(kubeconfig)
    made = Api(cluster, namespace_name)
    await made.prepare(namespace_name)
    yield made
    await cluster.close()
    await asyncio.sleep(0.1)  # TLS connections say goodbye after the close


async def test_a_receiver_lives_and_goes(api: Api, namespace_name: str) -> None:
    """A real server takes a second or two until it serves new kinds."""
    web = key("Receiver", "web", namespace_name)
    watch = Watch(api.cluster, resource=RECEIVERS, namespace=namespace_name)
    index = ReceiverIndex(api.cluster, watch.objects)
    watch.on_change = index.seen
    reconciler = ReceiverReconciler(api.cluster, Discovery(api.cluster), objects=watch.objects, index=index)
    async with asyncio.TaskGroup() as tasks:
        watching, reading = tasks.create_task(watch.run()), tasks.create_task(index.run())
        await api.create(f"{api.core}/secrets", secret())
        await api.create(api.root, receiver())
        await until(lambda: (namespace_name, "web") in watch.objects and index.is_complete, 5)
        assert (await reconciler.reconcile(web, ())).result == "succeeded"
        path = webhook_path(b"a-shared-secret", "web", namespace_name)
        found = await api.get(f"{api.root}/web")
        (ready,) = found["status"]["conditions"]
        assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "True", "Succeeded")
        assert ready["message"] == f"Receiver initialized for path: {path}"
        assert (found["status"]["webhookPath"], found["status"]["observedGeneration"]) == (path, found["metadata"]["generation"])
        assert found["metadata"]["finalizers"] == ["finalizers.fluxcd.io"]
        assert index.find(path) is not None

        await until(lambda: watch.objects[namespace_name, "web"].get("status", {}).get("webhookPath") == path, 5)
        assert (await reconciler.reconcile(web, ())).result == "unchanged"
        token = {"data": {"token": base64.b64encode(b"rotated").decode()}}
        await api.cluster.request("PATCH", f"{api.core}/secrets/token", body=token, content_type="application/merge-patch+json")
        assert (await reconciler.reconcile(web, ())).result == "succeeded"
        moved = webhook_path(b"rotated", "web", namespace_name)
        assert (await api.get(f"{api.root}/web"))["status"]["webhookPath"] == moved

        await api.cluster.request("DELETE", f"{api.root}/web")
        await until(lambda: "deletionTimestamp" in watch.objects.get((namespace_name, "web"), {}).get("metadata", {}), 5)
        assert (await reconciler.reconcile(web, ())).result == "gone"
        await until(lambda: (namespace_name, "web") not in watch.objects, 5)
        assert index.find(moved) is None
        watching.cancel()
        index.stop()
        await asyncio.wait([reading])


async def test_a_request_is_an_annotation_that_others_see(api: Api, namespace_name: str) -> None:
    await api.create(api.sources, repository())
    gate, outcomes = Gate("test"), list[tuple[str, str]]()
    gate.open()
    requests = Requests(api.cluster, Discovery(api.cluster), gate=gate)
    requests.on_outcome = lambda name, began, result, detail: outcomes.append((name.name, result))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(requests.run())
        for name in ("fleet", "missing"):
            requests.ask(key("GitRepository", name, namespace_name))
        await until(lambda: len(outcomes) == 2, 5)
        requests.stop()
    assert sorted(outcomes) == [("fleet", "requested"), ("missing", "gone")]
    annotations = (await api.get(f"{api.sources}/fleet"))["metadata"]["annotations"]
    assert annotations["reconcile.fluxcd.io/requestedAt"].endswith("Z")
