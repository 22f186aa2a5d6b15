"""`sluice serve` as a process of its own, on free ports: started, waited for, killed at will, started again on the same state.

In: a folder and how to reach the cluster. Out: the service's own ports. Its log lies in the folder; `log` shows the end of it.
"""

import hashlib
import hmac
import json
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.peers.process import Running, free_port

START_SECONDS = 30
PORTS = ("listen", "probes", "cluster", "admin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an HTTP port of the service said."""

    status: int
    body: str
    headers: Mapping[str, str]


class Sluice:
    """A service that can be started more than once; `stop_all` (or the end of the block) leaves nothing running."""

    def __init__(self, folder: Path, arguments: Sequence[str]) -> None:
        """`arguments` choose the cluster (`--kubeconfig F` or `--embedded DIR`) and whatever the test needs."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.state, self.log_file = folder, folder / "state", folder / "sluice.log"
        self.ports = {name: free_port() for name in PORTS}
        self.arguments = tuple(arguments)
        self._running: Running | None = None

    def start(self, *, crash_at: str = "", wait: bool = True, environment: Mapping[str, str] | None = None) -> "Sluice":
        """Start it; with `wait`, return when /readyz says so."""
        addresses = [part for name, port in self.ports.items() for part in (f"--{name}", f"127.0.0.1:{port}")]
        command = [
            sys.executable,
            "-m",
            "service",
            "serve",
            "--state",
            str(self.state),
            "--log-format",
            "json",
            "--allow-loopback",
            *addresses,
        ]
        given = {"SLUICE_CRASH_AT": crash_at, "PYTHONUNBUFFERED": "1", **(environment or {})}
        self._running = Running("sluice", [*command, *self.arguments], log=self.log_file, env=given)
        if wait:
            self._running.until(lambda: self.probe("/readyz") == 200, seconds=START_SECONDS)
        return self

    def __enter__(self) -> "Sluice":
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()

    @property
    def running(self) -> Running:
        assert self._running is not None, "not started"
        return self._running

    def kill(self) -> None:
        """SIGKILL, as a node that loses power."""
        if self._running is not None:
            self._running.kill()

    def stop(self, *, seconds: float = 30) -> int:
        """SIGTERM; the exit status."""
        self.running.signal(signal.SIGTERM)
        return self.running.wait(seconds)

    def wait_crash(self, *, seconds: float = 30) -> None:
        """Return when a crash point has killed it."""
        assert self.running.wait(seconds) == -signal.SIGKILL, f"it did not crash: {self.running.tail()}"

    def probe(self, path: str) -> int:
        """The status of a path of the probes port, 0 if nobody answers."""
        try:
            return self.call("probes", path).status
        except OSError:
            return 0

    def metric(self, name: str) -> float:
        """The sum of a metric's samples, 0 if there is none."""
        lines = self.call("probes", "/metrics").body.splitlines()
        samples = [line for line in lines if line.split("{")[0].split(" ")[0] == name]
        return sum(float(line.rpartition(" ")[2]) for line in samples)

    def call(self, port: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request to one of the four ports. Raises OSError when nobody answers."""
        url = f"http://127.0.0.1:{self.ports[port]}{path}"
        request = urllib.request.Request(url, data=body, headers=dict(headers or {}))
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return Answer(status=answer.status, body=answer.read().decode(), headers=dict(answer.headers))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(status=error.code, body=error.read().decode(errors="replace"), headers=dict(error.headers))

    def fetch(self, port: str, path: str) -> bytes:
        """The bytes of a file that a port serves. Raises urllib.error.HTTPError, OSError."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[port]}{path}", timeout=20) as answer:
            found: bytes = answer.read()
            return found

    def hook(self, path: str, body: bytes, *, token: str, event: str = "push", delivery: str = "") -> Answer:
        """Send what GitHub sends, signed. https://docs.github.com/webhooks/webhook-events-and-payloads"""
        signature = "sha256=" + hmac.new(token.encode(), body, hashlib.sha256).hexdigest()
        identity = delivery or hashlib.sha1(body + str(time.monotonic_ns()).encode()).hexdigest()
        headers = {"X-GitHub-Event": event, "X-GitHub-Delivery": identity, "X-Hub-Signature-256": signature}
        return self.call("listen", path, body, {**headers, "Content-Type": "application/json", "User-Agent": "GitHub-Hookshot/test"})

    def log(self, **fields: Any) -> list[dict[str, Any]]:
        """The log's lines that have these values."""
        lines = [json.loads(line) for line in self.log_file.read_text(errors="replace").splitlines() if line.startswith("{")]
        return [line for line in lines if all(line.get(key) == value for key, value in fields.items())]

    def wait_log(self, test: Callable[[list[dict[str, Any]]], bool], *, seconds: float = 20) -> None:
        """Return when the log's lines are as wanted."""
        self.running.until(lambda: test(self.log()), seconds=seconds)
