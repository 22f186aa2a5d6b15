"""One foreign program: started on a free port with its output in a file, waited for, ended with SIGKILL.

In: a command line. Out: a running program, or `PeerFailed` with the end of its log. Nothing here knows which program it is.
"""

import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_TAIL_BYTES = 3000
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
_PORTS = range(10_000 + _WORKER * 2_750, 10_000 + (_WORKER + 1) * 2_750)  # a service that is killed finds its own free again
_given: set[int] = set()
_dice = random.SystemRandom()  # several test processes choose at the same time


class PeerFailed(Exception):
    """A peer ended or did not become ready; the message carries the end of its log."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses right now, below those that the system gives to connections and to port 0."""
    while True:
        port = _dice.choice(_PORTS)
        if port in _given and len(_given) < len(_PORTS) // 2:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


def _die_with_parent() -> None:
    """A test run that is killed must not leave servers behind (Linux; elsewhere the context managers do it)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Running:
    """A started program. Use it as a context manager, or call `kill`."""

    def __init__(self, name: str, argv: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None) -> None:
        """Start `argv`; `env` is added to this process's environment; output is appended to `log`."""
        self.name, self.log = name, log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(part) for part in argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(env or {})},
                preexec_fn=_die_with_parent,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; -9 after SIGKILL."""
        return self._process.poll()

    def tail(self) -> str:
        """The end of the log."""
        return self.log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace")

    def until(self, ready: Callable[[], bool], *, seconds: float) -> None:
        """Return when `ready()` says so. Raises PeerFailed when the program ends or the time is over."""
        end = time.monotonic() + seconds
        while not ready():
            if self.returncode is not None:
                raise PeerFailed(f"{self.name} ended with {self.returncode}: {self.tail()}")
            if time.monotonic() > end:
                raise PeerFailed(f"{self.name} was not ready in {seconds:.0f} s: {self.tail()}")
            time.sleep(0.05)

    def signal(self, number: int) -> None:
        """Send a signal if the program still runs."""
        if self.returncode is None:
            self._process.send_signal(number)

    def wait(self, seconds: float) -> int:
        """The exit status. Raises PeerFailed when it does not end in time."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise PeerFailed(f"{self.name} did not end in {seconds:.0f} s: {self.tail()}") from None

    def kill(self) -> None:
        """End it at once: a stopping kube-apiserver takes up to a minute otherwise."""
        self.signal(signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()
