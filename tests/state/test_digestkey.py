"""The key of digests: made once, kept, for its owner alone."""

import logging
import stat
from pathlib import Path

import pytest

from service.state.digestkey import KEY_BYTES, digest_key
from service.state.errors import StateUnwritable


def test_a_key_is_made_once_and_kept_for_its_owner_alone(tmp_path: Path) -> None:
    made = digest_key(tmp_path)
    file = tmp_path / "digest.key"
    assert (len(made), stat.S_IMODE(file.stat().st_mode)) == (KEY_BYTES, 0o600)
    file.chmod(0o644)
    assert digest_key(tmp_path) == made
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (tmp_path / "other").mkdir()
    assert digest_key(tmp_path / "other") != made


@pytest.mark.parametrize("held", [b"", b"short", b"x" * 33])
def test_a_damaged_key_is_replaced_with_a_warning(tmp_path: Path, held: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    (tmp_path / "digest.key").write_bytes(held)
    made = digest_key(tmp_path)
    assert (len(made), digest_key(tmp_path)) == (KEY_BYTES, made)
    assert len(caplog.records) == 1


def test_a_key_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    with pytest.raises(StateUnwritable, match=r"digest\.key cannot"):
        digest_key(tmp_path / "none")
