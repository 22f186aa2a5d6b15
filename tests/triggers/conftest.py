"""A store in a temporary folder, and a small API server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.cluster.client import Cluster
from service.state.store import Store
from tests.triggers.kube import Kube


@pytest.fixture
async def store(tmp_path: Path, state_url: str) -> AsyncIterator[Store]:
    opened = Store.open(tmp_path / "state", state_url)
    yield opened
    await opened.close()


@pytest.fixture
async def kube() -> AsyncIterator[Kube]:
    server = Kube()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def cluster(kube: Kube, tmp_path: Path) -> AsyncIterator[Cluster]:
    made = await Cluster.from_kubeconfig(kube.kubeconfig(tmp_path))
    yield made
    await made.close()
