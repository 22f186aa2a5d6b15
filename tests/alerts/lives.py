"""A sender of alerts as a process that can be killed: it stores numbered events and sends them, and goes on where its state folder stands.

In: a folder, the address and type of the target, how many events in all. Out: nothing; it ends when each has been sent. Made for
multiprocessing's forkserver, which has everything imported before a life begins.
"""

import asyncio
from pathlib import Path

from service.kinds.meta import ObjectKey
from service.state.outbox import EventRow
from service.state.store import Store
from service.workers import Workers
from tests.alerts.conftest import KUSTOMIZE, World, alert, event, provider

OBJECTS = 40
STEP, EVERY_SECONDS = 2, 0.01


def live(folder: str, address: str, kind: str, total: int, state_url: str = "") -> None:
    """One life."""
    asyncio.run(_live(Store.open(Path(folder), state_url), address, kind, total))


def object_of(number: int) -> int:
    """Which object an event is about."""
    return number * 7 % OBJECTS


async def _live(store: Store, address: str, kind: str, total: int) -> None:
    world = World(store=store, workers=Workers(1))
    world.put(alert(), provider(type=kind, address=address))
    async with world.running():
        (stored,) = await world.store.read(lambda connection: connection.execute("SELECT count(*) FROM events").fetchone())
        while stored < total:
            for number in range(stored, min(stored + STEP, total)):
                await world.outbox.add(EventRow(key=f"number {number}", json=_event(number)))
            stored += STEP
            await asyncio.sleep(EVERY_SECONDS)
        while (await world.outbox.counts())["queued"] or (await world.outbox.counts())["unmatched"]:  # noqa: ASYNC110 - the store tells nobody
            await asyncio.sleep(0.02)
    await world.evaluator.close()
    await world.store.close()


def _event(number: int) -> dict[str, object]:
    involved = ObjectKey(group=KUSTOMIZE, kind="Kustomization", namespace="apps", name=f"a{object_of(number)}")
    told = event(f"number {number}", involved=involved, severity="error" if number % 3 else "info")
    return dict(told.to_json())
