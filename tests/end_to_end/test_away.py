"""What the service needs goes away and comes back: the API server, the state folder, another sluice on it. Each test starts the service."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.kubernetes import Kubernetes
from tests.end_to_end.sluice_process import Sluice
from tests.end_to_end.world import TOKEN, World, world
from tests.peers.kube import API, FULL, ControlPlane
from tests.peers.process import Running, free_port


class EmbeddedApi:
    """The embedded API server as a process that can be killed and come back on the same port."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.kubeconfig, self._folder = folder / "kubeconfig", folder
        self._command = [sys.executable, "-m", "service.apiserver", "--port", str(free_port()), str(folder)]
        self._running: Running | None = None

    def start_api(self) -> None:
        """Return when it answers."""
        self._running = Running("the embedded API server", self._command, log=self._folder / "server.log")
        self._running.until(self._answers, seconds=20)

    def kill_api(self) -> None:
        """It is away from now on."""
        if self._running is not None:
            self._running.kill()

    def _answers(self) -> bool:
        try:
            return self.kubeconfig.is_file() and bool(Kubernetes(self.kubeconfig).request("GET", "/version"))
        except OSError:
            return False


def away_and_back(town: World, api: Any) -> None:
    """A hook is accepted while the API server is away, and its push is live when it is back."""
    town.sluice.start()
    town.install()
    path = town.hook_path()
    api.kill_api()
    commit = town.greet("pushed while away")
    answer = town.sluice.hook(path, json.dumps(town.payload(commit)).encode(), token=TOKEN)
    assert answer.status == 200
    api.start_api()
    town.wait_greeting("pushed while away", seconds=40)
    town.wait_revision(commit)
    town.slack.wait_about("shop-production", commit[:7])


def test_a_hook_is_kept_while_the_embedded_api_is_away(tmp_path: Path, namespace_name: str) -> None:
    api = EmbeddedApi(tmp_path / "api")
    api.start_api()
    try:
        with world(tmp_path, api.kubeconfig, namespace_name) as town:
            away_and_back(town, api)
    finally:
        api.kill_api()


def test_a_restart_while_the_api_is_away_promises_nothing_and_loses_nothing(tmp_path: Path, namespace_name: str) -> None:
    """What was accepted meanwhile survives a kill; what cannot be verified after it is a 503, since no token is on disk."""
    api = EmbeddedApi(tmp_path / "api")
    api.start_api()
    try:
        with world(tmp_path, api.kubeconfig, namespace_name) as town:
            town.sluice.start()
            town.install()
            path = town.hook_path()
            api.kill_api()
            commit = town.greet("pushed before the kill")
            body = json.dumps(town.payload(commit)).encode()
            assert town.sluice.hook(path, body, token=TOKEN, delivery="kept").status == 200
            assert town.sluice.hook(path, body, token="guess").status == 400, "verified, also now"
            town.sluice.kill()
            town.sluice.start(wait=False)
            town.sluice.running.until(lambda: town.sluice.probe("/healthz") == 200, seconds=20)
            answer = town.sluice.hook(path, body, token=TOKEN, delivery="later")
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
            assert town.sluice.probe("/readyz") == 503
            api.start_api()
            town.wait_greeting("pushed before the kill", seconds=40)
            town.wait_revision(commit)
            assert town.sluice.hook(path, body, token=TOKEN, delivery="later").status == 200
    finally:
        api.kill_api()


@pytest.mark.real
def test_a_hook_is_kept_while_a_real_kube_apiserver_is_away(tmp_path: Path, peers: Any, namespace_name: str) -> None:
    peers.need(*FULL, *API)  # the controllers fill the ClusterRole `admin`, which the service applies with
    with (
        ControlPlane(tmp_path / "kube", full=True) as plane,
        world(tmp_path, plane.kubeconfig, namespace_name, with_rbac=True) as town,
    ):
        away_and_back(town, plane)


def test_a_second_start_on_the_same_state_says_who_holds_it(village: World) -> None:
    village.sluice.start()
    second = Sluice(village.sluice.folder, village.sluice.arguments)
    second.ports.update(Sluice(village.sluice.folder / "second", ()).ports)
    second.log_file = village.sluice.folder / "second.log"
    second.start(wait=False)
    assert second.running.wait(20) == 2
    assert str(village.sluice.running.pid) in second.running.tail()


def test_state_of_a_newer_version_is_refused(village: World) -> None:
    village.sluice.start()
    assert village.sluice.stop() == 0
    database = next(path for path in village.sluice.state.rglob("*.db") if path.name != "cache.db")
    code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA user_version = 9999'); c.commit()"
    subprocess.run([sys.executable, "-c", code, str(database)], check=True)
    village.sluice.start(wait=False)
    assert village.sluice.running.wait(20) == 2
    assert "newer" in village.sluice.running.tail()


def test_damaged_state_is_set_aside_and_said(village: World) -> None:
    village.sluice.start()
    assert village.sluice.stop() == 0
    database = next(path for path in village.sluice.state.rglob("*.db") if path.name != "cache.db")
    database.write_bytes(b"this is no database" * 1000)
    village.sluice.start()
    assert any("damaged" in str(line) for line in village.sluice.log(level="warning"))
    village.install()


def test_two_services_share_no_work(village: World) -> None:
    """A second one with its own state waits for the Leases and takes over when the first one stops."""
    village.sluice.start()
    village.install()
    with Sluice(village.sluice.folder / "second", village.sluice.arguments) as second:
        second.start(wait=False)
        second.running.until(lambda: second.probe("/healthz") == 200, seconds=20)
        assert village.sluice.stop() == 0
        commit = village.greet("by the second")
        village.sluice = second
        assert village.hook(commit).status == 200
        village.wait_greeting("by the second", seconds=30)
