"""One writer: Flux's own Leases for the kinds that this process runs, each opening the gate of one controller.

A running Flux, or a second sluice, holds them; until they are free this process accepts hooks and writes nothing else.
"""

import asyncio
import logging
from collections.abc import Callable

from service.cluster.lease import Lease
from service.kinds.table import SOURCES
from service.metrics import Metrics
from service.reconcile.gate import Gate

log = logging.getLogger(__name__)
LEASES = {
    "source-controller-leader-election": frozenset(SOURCES),
    "kustomize-controller-leader-election": frozenset({"Kustomization"}),
    "source-watcher-leader-election": frozenset({"ArtifactGenerator"}),
    "notification-controller-leader-election": frozenset({"Receiver", "Alert", "Provider"}),
}


def leases_for(kinds: frozenset[str]) -> tuple[str, ...]:
    """The Leases that a process running these kinds must hold."""
    return tuple(name for name, covered in LEASES.items() if covered & kinds)


class Leadership:
    """A room around one Lease; of several replicas only the `elected` one asks for it."""

    def __init__(self, lease: Lease, gate: Gate, metrics: Metrics, on_held: Callable[[], None], *, elected: Gate | None = None) -> None:
        self._lease = lease
        self._gate = gate
        self._held = metrics.leader.labels(gate.name)
        self._then = on_held
        self._elected = elected
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Hold the Lease whenever it is free and this replica is elected, until stopped; then give it back."""
        holding = asyncio.create_task(self._hold(), name=f"lease {self._gate.name}")
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((holding, stopping), return_when=asyncio.FIRST_COMPLETED)
            if holding.done():
                holding.result()
        finally:
            self._gate.shut()
            holding.cancel()
            stopping.cancel()
            await asyncio.wait((holding, stopping))

    async def _hold(self) -> None:
        if self._elected is None:
            await self._lease.run(self._on_held, self._on_lost)
        else:
            await self._elected.while_open(lambda: self._lease.run(self._on_held, self._on_lost))

    def stop(self) -> None:
        self._stop.set()

    def _on_held(self) -> None:
        log.info("lease held", extra={"lease": self._gate.name})
        self._held.set(1)
        self._gate.open()
        self._then()

    def _on_lost(self) -> None:
        if self._stop.is_set():
            log.info("lease given back", extra={"lease": self._gate.name})
        else:
            log.warning("lease lost, writing stops", extra={"lease": self._gate.name})
        self._held.set(0)
        self._gate.shut()
