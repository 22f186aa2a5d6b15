"""Flux's own controllers, on the kubeconfig that they are given. Outside of a Pod they take no Lease: who starts one, stops the other.

In: binaries and CRDs of `tests/peers/build flux-kustomize-controller` and `flux-notification-controller`. Out: a running controller. The
sources of kustomize-controller come from whoever serves them: it only needs `status.artifact` with a URL.
https://github.com/fluxcd/kustomize-controller, https://github.com/fluxcd/notification-controller
"""

import urllib.error
import urllib.request
from pathlib import Path

from tests.peers.binaries import binary
from tests.peers.process import Running, free_port

NAME, NOTIFICATION = "flux-kustomize-controller", "flux-notification-controller"
CRDS = f"{NAME}.crds"
START_SECONDS = 30


class KustomizeController:
    """Start with `with KustomizeController(...)`."""

    def __init__(self, folder: Path, kubeconfig: Path, namespace: str, *, selector: str) -> None:
        flags = [
            f"--metrics-addr=127.0.0.1:{free_port()}",
            f"--health-addr=127.0.0.1:{free_port()}",
            f"--watch-label-selector={selector}",
            "--log-level=info",
            "--requeue-dependency=1s",
        ]
        environment = {"KUBECONFIG": str(kubeconfig), "RUNTIME_NAMESPACE": namespace, "TMPDIR": str(folder)}
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "kustomize-controller.log"
        self._running = Running(NAME, [binary(NAME), *flags], log=self.log, env=environment)
        self._running.until(lambda: "Starting workers" in self._running.tail(), seconds=START_SECONDS)

    def stop(self) -> None:
        """SIGTERM: it ends what it does."""
        self._running.signal(15)
        self._running.wait(60)

    def __enter__(self) -> "KustomizeController":
        return self

    def __exit__(self, *exc: object) -> None:
        self._running.kill()


class NotificationController:
    """Started by `begin`, killed and started again at will; events are posted to `events_url`."""

    def __init__(self, folder: Path, kubeconfig: Path, namespace: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        events, health = free_port(), free_port()
        self.events_url, self._health = f"http://127.0.0.1:{events}/", f"http://127.0.0.1:{health}/readyz"
        self._flags = [
            f"--events-addr=127.0.0.1:{events}",
            f"--health-addr=127.0.0.1:{health}",
            f"--receiverAddr=127.0.0.1:{free_port()}",
            f"--metrics-addr=127.0.0.1:{free_port()}",
        ]
        self._environment = {"KUBECONFIG": str(kubeconfig), "RUNTIME_NAMESPACE": namespace, "TMPDIR": str(folder)}
        self._log = folder / "notification-controller.log"
        self._running: Running | None = None

    def begin(self) -> None:
        """Start it; `ready` says when it is."""
        self._running = Running(NOTIFICATION, [binary(NOTIFICATION), *self._flags], log=self._log, env=self._environment)

    def ready(self) -> bool:
        """Whether its own readiness probe says so."""
        try:
            with urllib.request.urlopen(self._health, timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.HTTPError):
            return False

    def kill(self) -> None:
        """SIGKILL."""
        if self._running is not None:
            self._running.kill()
