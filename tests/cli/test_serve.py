"""`sluice serve` as a process: what cannot be started says why in one line and ends with 2."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.cluster.objects import kubeconfig_for


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


def test_starts_without_its_api_server_keeps_its_files_to_itself_and_stops_cleanly(tmp_path: Path) -> None:
    """About 2 s: a whole start and stop."""
    state = tmp_path / "state"
    state.mkdir(mode=0o755)  # as a volume is, which somebody else made
    kubeconfig = kubeconfig_for(tmp_path, "http://127.0.0.1:1")
    ports = [part for name in ("listen", "probes", "cluster", "admin") for part in (f"--{name}", "127.0.0.1:0")]
    command = [sys.executable, "-m", "service", "serve", "--state", str(state), "--kubeconfig", str(kubeconfig), *ports]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        try:
            ends = time.monotonic() + 60
            while not (state / "identity").exists() and time.monotonic() < ends:
                time.sleep(0.02)
            readable = [path.name for path in state.rglob("*") if path.stat().st_mode & 0o077]
            running.send_signal(signal.SIGTERM)
            said = running.communicate(timeout=15)[1]
        finally:
            running.kill()
    assert (running.returncode, readable) == (0, []), said
    assert "Traceback" not in said
    assert "is not reachable" in said
