"""A connection to the backend, and a namespace in it that is the test's own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.cluster.client import Cluster
from service.cluster.discovery import Discovery


@pytest.fixture
async def cluster(kubeconfig: Path) -> AsyncIterator[Cluster]:
    cluster = await Cluster.from_kubeconfig(kubeconfig)
    yield cluster
    await cluster.close()


@pytest.fixture
def discovery(cluster: Cluster) -> Discovery:
    return Discovery(cluster)


@pytest.fixture
async def namespace(cluster: Cluster, namespace_name: str) -> AsyncIterator[str]:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace_name}}
    await cluster.request("POST", "/api/v1/namespaces", body=body)
    yield namespace_name
    await cluster.request("DELETE", f"/api/v1/namespaces/{namespace_name}")
