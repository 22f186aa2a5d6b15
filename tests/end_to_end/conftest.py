"""A world for each end-to-end test, on both API servers; on the real one the service runs with the chart's RBAC."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.world import World, world


@pytest.fixture
def town(kubeconfig: Path, request: pytest.FixtureRequest, tmp_path: Path, namespace_name: str) -> Iterator[World]:
    """A world on the embedded API, and again on a real kube-apiserver; the service is not started yet."""
    is_real = "real" in request.node.callspec.id
    with world(tmp_path, kubeconfig, namespace_name, with_rbac=is_real) as made:
        yield made


@pytest.fixture
def village(embedded_kubeconfig: Path, tmp_path: Path, namespace_name: str) -> Iterator[World]:
    """A world on the embedded API alone."""
    with world(tmp_path, embedded_kubeconfig, namespace_name) as made:
        yield made
