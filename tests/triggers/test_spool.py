"""Files for large bodies: whole, private, and gone afterwards."""

import os
import stat
from pathlib import Path

import pytest

from service.triggers.spool import Spool


async def test_holds_all_pieces_and_goes_away(tmp_path: Path) -> None:
    pieces = [bytes([number % 256]) * number for number in range(300)]
    async with Spool(tmp_path / "spool").file(pieces) as path:
        assert path.read_bytes() == b"".join(pieces)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path / "spool") == []


async def test_goes_away_after_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        async with Spool(tmp_path).file([b"x"]):
            raise RuntimeError
    assert os.listdir(tmp_path) == []


async def test_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    (tmp_path / "old.body").write_bytes(b"x")
    (tmp_path / "other").write_bytes(b"x")
    async with Spool(tmp_path).file([b"y"]):
        assert len(os.listdir(tmp_path)) == 2
    assert os.listdir(tmp_path) == ["other"]
