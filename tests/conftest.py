"""One suite, two backends: `kubeconfig` is a real server's file, once for the embedded API and once for a real kube-apiserver.

The embedded one is started once per test process. The real one is $SLUICE_REAL_KUBECONFIG if that is set, else a control plane of our own
when SLUICE_REAL=1 and its programs are built (tests/peers/build). Otherwise tests marked `real` are skipped and say why; with
`--require-real` they fail instead. Tests marked `soak` or `fuzz` run only with `--soak` or `--fuzz`.
"""

import os
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.binaries import missing
from tests.peers.kube import API, FULL, ControlPlane
from tests.peers.postgres import Postgres, missing_postgres
from tests.peers.postgres import running as running_postgres
from tests.peers.process import Running

START_SECONDS = 20


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--require-real", action="store_true", help="a missing real peer is a failure, not a skip; implies SLUICE_REAL=1")
    parser.addoption("--soak", action="store_true", help="run the tests marked soak, too")
    parser.addoption("--soak-seconds", type=int, default=3600, help="how long the longest one goes on (default: an hour)")
    parser.addoption("--fuzz", action="store_true", help="run the tests marked fuzz, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [name for name in ("soak", "fuzz") if not config.getoption(f"--{name}")]
    long = [item for item in items if any(item.get_closest_marker(name) for name in left_out)]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    on = metafunc.definition.get_closest_marker("databases")
    if "state_url" in metafunc.fixturenames and on is not None:
        metafunc.parametrize("state_url", on.args or ("sqlite", "postgres"), indirect=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each reason to skip, with how many tests it keeps back: pytest's own list has a line for each place."""
    reports = terminalreporter.stats.get("skipped", ())
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reports if isinstance(report.longrepr, tuple))
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"SKIPPED {count} tests: {reason}", yellow=True)


class Peers:
    """What real peers this run may use."""

    def __init__(self, config: pytest.Config) -> None:
        self._required = bool(config.getoption("--require-real"))
        self._wanted = self._required or os.environ.get("SLUICE_REAL") == "1"

    def need(self, *names: str) -> None:
        """Skip the test (or fail it, with --require-real) unless real peers are wanted and these are built."""
        if why := missing(names):
            self.lack(why)
        if not self._wanted:
            self.lack(f"needs the real {names[-1]}, which is built: set SLUICE_REAL=1")

    def lack(self, why: str) -> None:
        """Skip or fail with this reason."""
        if self._required:
            pytest.fail(f"--require-real: {why}", pytrace=False)
        pytest.skip(why)


@pytest.fixture(scope="session")
def peers(pytestconfig: pytest.Config) -> Peers:
    """Ask it for the programs that a real test needs."""
    return Peers(pytestconfig)


@pytest.fixture(scope="session")
def embedded_kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running embedded API server's kubeconfig."""
    folder = tmp_path_factory.mktemp("apiserver")
    file = folder / "kubeconfig"
    with Running("the embedded API server", [sys.executable, "-m", "service.apiserver", folder], log=folder / "server.log") as server:
        server.until(file.is_file, seconds=START_SECONDS)
        yield file


@pytest.fixture(scope="session")
def control_plane(peers: Peers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A real control plane of our own, where Deployments become Ready; one for the whole run."""
    peers.need(*FULL, *API)
    with ControlPlane(tmp_path_factory.mktemp("kube"), full=True) as plane:
        yield plane


@pytest.fixture(scope="session")
def real_kubeconfig(request: pytest.FixtureRequest) -> Path:
    """A real kube-apiserver's kubeconfig with all rights."""
    if given := os.environ.get("SLUICE_REAL_KUBECONFIG"):
        return Path(given)
    plane: ControlPlane = request.getfixturevalue("control_plane")
    return plane.kubeconfig


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.real)])
def kubeconfig(request: pytest.FixtureRequest) -> Path:
    """A kubeconfig with all rights; each test makes its own namespace in it."""
    path: Path = request.getfixturevalue(f"{request.param}_kubeconfig")
    return path


@pytest.fixture(scope="session")
def postgres(peers: Peers) -> Iterator[Postgres]:
    """A PostgreSQL server of this test process, which loses what it has when it crashes."""
    if why := missing_postgres():
        peers.lack(why)
    with running_postgres() as server:
        yield server


@pytest.fixture
def state_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """What a store is opened with beside its folder: "" for SQLite; in tests marked `databases` then the URL of an empty schema."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield ""
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.fresh() as url:
        yield url


@pytest.fixture
def namespace_name() -> str:
    """A name that no other test has."""
    return f"t-{uuid.uuid4().hex[:10]}"
