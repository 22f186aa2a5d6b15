"""Flux's own kustomize-controller, on the kubeconfig that it is given. Outside of a Pod it takes no Lease: who starts it, stops the other.

In: binaries and CRDs of `tests/peers/build flux-kustomize-controller`. Out: a running controller for what has the shard's label. Its
sources come from whoever serves them: it only needs `status.artifact` with a URL. https://github.com/fluxcd/kustomize-controller
"""

from pathlib import Path

from tests.peers.binaries import binary
from tests.peers.process import Running, free_port

NAME = "flux-kustomize-controller"
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
