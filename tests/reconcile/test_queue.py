"""The queue: each object once, urgent first, nothing put off."""

import asyncio
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from service.kinds.meta import ObjectKey
from service.reconcile.queue import CHANGE, FIRST_RETRY, HOOK, LAST_RETRY, SWEEP, TIMER, Queue, Trigger


def key(name: str) -> ObjectKey:
    return ObjectKey(group="kustomize.toolkit.fluxcd.io", kind="Kustomization", namespace="apps", name=name)


async def taken(queue: Queue) -> str:
    async with asyncio.timeout(1):
        found = await queue.take()
    assert found is not None
    return found[0].name


async def test_runs_urgent_first_then_in_order() -> None:
    queue = Queue()
    queue.add(key("swept"), priority=SWEEP)
    queue.add(key("changed"), priority=CHANGE)
    queue.add(key("hooked"), priority=HOOK)
    queue.add(key("changed-too"), priority=CHANGE)
    assert [await taken(queue) for _ in range(4)] == ["hooked", "changed", "changed-too", "swept"]


async def test_merges_triggers_of_one_object() -> None:
    queue = Queue()
    first, second = Trigger(reason="hook", delivery=1), Trigger(reason="hook", delivery=2)
    queue.add(key("a"), trigger=first)
    queue.add(key("a"), trigger=second)
    async with asyncio.timeout(1):
        assert await queue.take() == (key("a"), (first, second))
    assert len(queue) == 0


async def test_runs_once_more_when_added_while_it_runs() -> None:
    queue = Queue()
    queue.add(key("a"))
    await taken(queue)
    queue.add(key("a"), trigger=Trigger(reason="later"))
    queue.add(key("b"))
    assert await taken(queue) == "b"  # one object, one reconcile at a time
    queue.done(key("a"))
    assert await taken(queue) == "a"


async def test_earlier_wish_is_not_put_off_by_a_later_one() -> None:
    queue = Queue()
    queue.add(key("a"), after=timedelta(milliseconds=20))
    queue.add(key("a"), after=timedelta(hours=1), priority=TIMER)
    assert await taken(queue) == "a"


async def test_timer_is_brought_forward_by_a_hook() -> None:
    queue = Queue()
    queue.add(key("a"), after=timedelta(hours=1), priority=TIMER)
    queue.add(key("a"), priority=HOOK)
    assert await taken(queue) == "a"


async def test_failures_back_off_and_success_forgets_them() -> None:
    queue = Queue()
    waits = []
    for _ in range(30):
        queue.add(key("a"))
        await taken(queue)
        wait = queue.done(key("a"), failed=True)
        assert wait is not None
        waits.append(wait)
    assert FIRST_RETRY * 0.9 <= waits[0] <= FIRST_RETRY
    assert FIRST_RETRY * 1.8 <= waits[1] <= FIRST_RETRY * 2
    assert LAST_RETRY * 0.9 <= waits[-1] <= LAST_RETRY
    queue.add(key("a"))
    await taken(queue)
    assert queue.done(key("a")) is None


async def test_take_ends_when_closed() -> None:
    queue = Queue()
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.close()
    async with asyncio.timeout(1):
        assert await waiting is None


async def test_triggers_of_one_object_are_bounded_and_the_latest_are_kept() -> None:
    queue = Queue()
    for number in range(1000):
        queue.add(key("a"), trigger=Trigger(reason="source", trace=str(number)))
    found = await queue.take()
    assert found is not None
    assert 10 < len(found[1]) < 100
    assert found[1][-1].trace == "999"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["add", "take", "done", "again"])), max_size=40))
async def test_no_wish_is_lost_and_no_object_runs_twice_at_once(steps: list[tuple[str, str]]) -> None:
    queue, running, wanted = Queue(), set[str](), set[str]()
    for name, step in steps:
        if step in ("add", "again"):
            queue.add(key(name))
            wanted.add(name)
        elif step == "take" and wanted - running:
            got = await taken(queue)
            assert got not in running
            running.add(got)
            wanted.discard(got)
        elif step == "done" and name in running:
            running.discard(name)
            queue.done(key(name))
    for name in list(running):
        running.discard(name)
        queue.done(key(name))
    while wanted:
        wanted.discard(await taken(queue))
    assert len(queue) == 0


async def test_a_run_can_learn_that_its_object_is_wished_for_again() -> None:
    queue = Queue()
    queue.add(key("shop"))
    await queue.take()
    asked = asyncio.create_task(queue.asked_again(key("shop")))
    await asyncio.sleep(0)
    queue.add(key("shop"), after=timedelta(hours=1))
    await asyncio.sleep(0)
    assert not asked.done(), "its timer is no wish for now"
    queue.add(key("shop"))
    await asked
    await queue.asked_again(key("shop"))
    queue.done(key("shop"))
    assert (await queue.take() or (None,))[0] == key("shop")
    queue.done(key("shop"))
