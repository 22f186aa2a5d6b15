"""The gate: shut until the Lease is held and the caches are complete."""

import asyncio

from service.reconcile.gate import Gate


async def test_open_needs_the_lease_and_complete_caches() -> None:
    listed = asyncio.Event()
    gate = Gate("test", [listed])
    waiting = asyncio.create_task(gate.wait_open())
    gate.open()
    await asyncio.sleep(0.01)
    assert not gate.is_open
    assert not waiting.done()
    listed.set()
    async with asyncio.timeout(1):
        await waiting
    assert gate.is_open


async def test_a_lease_that_is_lost_while_caches_fill_keeps_it_shut() -> None:
    listed = asyncio.Event()
    gate = Gate("test", [listed])
    waiting = asyncio.create_task(gate.wait_open())
    gate.open()
    await asyncio.sleep(0)
    gate.shut()
    listed.set()
    await asyncio.sleep(0.01)
    assert not waiting.done()
    async with asyncio.timeout(1):
        await gate.wait_shut()
        gate.open()
        await waiting
