"""A store in a temporary folder, on both databases."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.state.store import Store


@pytest.fixture
async def store(tmp_path: Path, state_url: str) -> AsyncIterator[Store]:
    opened = Store.open(tmp_path / "state", state_url)
    yield opened
    await opened.close()
