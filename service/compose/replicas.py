"""Several replicas on one database: one is elected and does what only one may do; the others take hooks and events, and tell it of them.

Elected is who holds a Lease of sluice's own; it alone asks for Flux's Leases, so that these are never spread over replicas. Without a
shared database there is one replica, which is elected from the start.
"""

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from service.kinds.meta import ObjectKey
from service.reconcile.gate import Gate
from service.state.errors import StateError

if TYPE_CHECKING:
    from service.state.bell import Bell  # an extra

log = logging.getLogger(__name__)
LEASE = "sluice-leader-election"
AGAIN_SECONDS = 1.0
DELIVERY, EVENTS = "delivery", "events"
ADDRESS_END = "/"  # in the identity of a replica, before which others reach its artifacts


class Replicas:
    """`elected` is the gate before everything that only one may do; `is_taken_up` is set once what others left open is known."""

    def __init__(self, bell: "Bell | None") -> None:
        self.elected = Gate("replica")
        self.is_taken_up = asyncio.Event()
        self.on_delivery: Callable[[int], None] = _nobody
        self.on_events: Callable[[], None] = _no_events
        self.leader: Callable[[], str] = str  # who is elected, as far as is known
        self.bell = bell
        if bell is None:
            self.elected.open()
        else:
            bell.on_ring = self._rang

    def tell_of_delivery(self, row: int) -> None:
        """Whoever is elected carries it out."""
        if self.bell is not None:
            self.bell.ring(f"{DELIVERY} {row}")

    def events_stored(self) -> None:
        """Here: whoever is elected sends what comes of them."""
        self.on_events()
        if self.bell is not None and not self.elected.is_open:
            self.bell.ring(EVENTS)

    def elsewhere(self) -> str:
        """Where the replica that is elected serves artifacts, "" where this is the one, or that is not known."""
        address, end, _ = self.leader().partition(ADDRESS_END)
        return address if end and not self.elected.is_open else ""

    def _rang(self, text: str) -> None:
        """Another replica has stored something, or it is time to look for all that waits."""
        what, _, row = text.partition(" ")
        if what in (DELIVERY, ""):
            self.on_delivery(int(row) if row.isdigit() else 0)
        if what in (EVENTS, ""):
            self.on_events()


def shared_identity(digest_key: bytes) -> str:
    """Who holds Flux's Leases: whichever replica of this database is elected, so that the next one need not wait for them once more."""
    return f"sluice_{hmac.digest(digest_key, b'leases', 'sha256').hex()[:32]}"


class TakingUp:
    """A room: what a former process or another replica has begun and not ended runs again, before anything else does."""

    def __init__(
        self, replicas: Replicas, recover: Callable[[], Awaitable[Iterable[ObjectKey]]], again: Callable[[ObjectKey], None]
    ) -> None:
        self._replicas, self._recover, self._again = replicas, recover, again

    async def run(self) -> None:
        """Until cancelled."""
        elected, is_taken_up = self._replicas.elected, self._replicas.is_taken_up
        while True:
            await elected.wait_open()
            for key in await self._recovered():
                self._again(key)
            is_taken_up.set()
            await elected.wait_shut()
            is_taken_up.clear()

    async def _recovered(self) -> Iterable[ObjectKey]:
        while True:
            try:
                return await self._recover()
            except StateError as error:
                log.warning("the runs that were cut off cannot be read", extra={"error": str(error)})
                await asyncio.sleep(AGAIN_SECONDS)


def _nobody(_row: int) -> None:
    """Nobody carries out yet."""


def _no_events() -> None:
    """Nobody sends yet."""
