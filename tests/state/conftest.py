"""A store in a temporary folder."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.state.store import Store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store.open(tmp_path / "state")
    yield opened
    await opened.close()
