"""One suite, two backends: `kubeconfig` is a real server's file, once for the embedded API and once for a real kube-apiserver.

The embedded one is started once per test process. The real one is used when SLUICE_REAL_KUBECONFIG names it; otherwise those tests are
skipped, or fail when SLUICE_REQUIRE_REAL is set.
"""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

START_SECONDS = 20


@pytest.fixture(scope="session")
def embedded_kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running embedded API server's kubeconfig."""
    folder = tmp_path_factory.mktemp("apiserver")
    log = folder / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen([sys.executable, "-m", "service.apiserver", str(folder)], stdout=output, stderr=output)
    try:
        for _ in range(START_SECONDS * 20):
            if (folder / "kubeconfig").is_file():
                break
            if server.poll() is not None:
                pytest.fail(f"the embedded API server ended: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        else:
            pytest.fail(f"the embedded API server did not start: {log.read_text()[-2000:]}")
        yield folder / "kubeconfig"
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.real)])
def kubeconfig(request: pytest.FixtureRequest) -> Path:
    """A kubeconfig with all rights; each test makes its own namespace in it."""
    if request.param == "embedded":
        path: Path = request.getfixturevalue("embedded_kubeconfig")
        return path
    real = os.environ.get("SLUICE_REAL_KUBECONFIG")
    if not real:
        why = "SLUICE_REAL_KUBECONFIG is not set"
        if os.environ.get("SLUICE_REQUIRE_REAL"):
            pytest.fail(why)
        pytest.skip(why)
    return Path(real)


@pytest.fixture
def namespace_name() -> str:
    """A name that no other test has."""
    return f"t-{uuid.uuid4().hex[:10]}"
