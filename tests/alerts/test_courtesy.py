"""Messages wait for pushes, and never for long."""

import asyncio

from service.alerts.courtesy import LONGEST, Courtesy
from tests.alerts.conftest import Slack, World, alert, event, provider

SECONDS = LONGEST.total_seconds()


async def waited(courtesy: Courtesy) -> float:
    began = asyncio.get_running_loop().time()
    await courtesy.give_way()
    return asyncio.get_running_loop().time() - began


async def test_where_nothing_runs_nobody_waits() -> None:
    idle = asyncio.Event()
    idle.set()
    assert await waited(Courtesy((idle,))) < SECONDS / 2
    assert await waited(Courtesy()) < SECONDS / 2


async def test_the_end_of_the_runs_is_waited_for() -> None:
    sources, others = asyncio.Event(), asyncio.Event()
    others.set()
    asyncio.get_running_loop().call_later(SECONDS / 3, sources.set)
    assert await waited(Courtesy((sources, others), many=1)) > SECONDS / 4


async def test_waits_of_many_do_not_add_up_and_leave_time_in_between() -> None:
    courtesy = Courtesy((asyncio.Event(),), many=1)
    first, second = await asyncio.gather(waited(courtesy), waited(courtesy))
    assert min(first, second) >= SECONDS * 0.9
    assert await waited(courtesy) < SECONDS / 2, "for as long again nobody waits"
    await asyncio.sleep(SECONDS)
    assert await waited(courtesy) >= SECONDS * 0.9


async def test_few_messages_wait_for_nobody() -> None:
    courtesy = Courtesy((asyncio.Event(),), many=4)
    for _ in range(3):
        assert await waited(courtesy) < SECONDS / 2
    assert await waited(courtesy) >= SECONDS * 0.9


async def test_messages_leave_although_something_always_runs(world: World, slack: Slack) -> None:
    world.idle.clear()
    world.put(alert(), provider(type="generic", address=slack.address))
    async with world.running():
        await world.tell(event())
        await world.settled(sent=1)
