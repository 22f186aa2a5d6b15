"""`sluice serve` as a process: what cannot be started says why in one line and ends with 2."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest


def serve(*flags: str, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """The exit status and what stands on stderr."""
    command = [sys.executable, "-m", "service", "serve", *flags]
    ended = subprocess.run(command, env={**os.environ, **(environment or {})}, capture_output=True, text=True, timeout=20, check=False)
    return ended.returncode, ended.stderr


@pytest.mark.parametrize(
    ("flags", "environment", "word"),
    [
        (("--embedded", "/proc/nothing"), {}, "/proc/nothing"),
        (("--kubeconfig", "/nothing/here"), {}, "--embedded DIR"),
        ((), {"SLUICE_LOG_LEVEL": "loud"}, "debug, info"),
    ],
    ids=("folder", "kubeconfig", "variable"),
)
def test_what_cannot_start_says_why_in_one_line(tmp_path: Path, flags: tuple[str, ...], environment: Mapping[str, str], word: str) -> None:
    """Below 2 s each: most of it is the interpreter and its imports."""
    code, said = serve("--state", str(tmp_path / "state"), "--listen", "127.0.0.1:0", *flags, environment=environment)
    assert (code, len(said.splitlines())) == (2, 1), said
    assert said.startswith("sluice serve: ")
    assert word in said
