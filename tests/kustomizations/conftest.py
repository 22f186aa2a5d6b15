"""A town for each test: on the embedded API, and `place` on a real kube-apiserver too."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.kustomizations.town import Town, town


@pytest.fixture
async def place(kubeconfig: Path, tmp_path: Path, namespace_name: str) -> AsyncIterator[Town]:
    """On both backends."""
    async with town(tmp_path, kubeconfig, namespace_name) as made:
        yield made


@pytest.fixture
async def hamlet(embedded_kubeconfig: Path, tmp_path: Path, namespace_name: str) -> AsyncIterator[Town]:
    """On the embedded API alone."""
    async with town(tmp_path, embedded_kubeconfig, namespace_name) as made:
        yield made
