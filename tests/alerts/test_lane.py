"""One Provider's lane: order for each object, folding while it is away, what waits for a person, what blocks nobody."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from service.alerts import lane
from service.state import moments
from service.state.letters import Letters
from tests.alerts.conftest import Slack, World, about, alert, event, provider, says

pytestmark = pytest.mark.databases


def said(slack: Slack) -> list[str]:
    """The first line of what each event said."""
    return [body["text"].splitlines()[1] for body in slack.got]


async def test_states_of_one_object_fold_into_the_newest_while_slack_is_down(world: World, slack: Slack) -> None:
    world.put(alert(), provider(address=slack.address))
    slack.answers = [says(503)] * 2
    async with world.running():
        await world.tell(event("first", reason="HealthCheckFailed", severity="error"))
        await slack.wait_for(1)
        await world.tell(event("second"), about("other", "of another"), event("third"))
        await world.settled(sent=2, folded=2)
    assert said(slack)[-2:] == ["of another", "third"]
    [told] = [body for body in slack.got if "third" in body["text"]]
    assert "2 earlier messages about this object are folded into this one" in str(told)
    assert "HealthCheckFailed at " in str(told)


async def test_machines_get_every_event_also_after_an_outage(world: World, slack: Slack) -> None:
    world.put(alert(), provider(type="generic", address=slack.address))
    slack.answers = [says(503)] * 2
    async with world.running():
        await world.tell(*(event(str(number)) for number in range(5)))
        await world.settled(sent=5)
    assert [body["message"] for body in slack.got][-5:] == list("01234")
    keys = [each["Idempotency-Key"] for each in slack.headers]
    assert len(set(keys)) == 5
    assert keys[0] == keys[1] == keys[2]


async def test_message_that_fails_is_overtaken_by_others_but_not_by_its_own_object(world: World, slack: Slack) -> None:
    """A target that chokes on one message: it comes later, and what happened to its object afterwards comes after it."""
    world.put(alert(), provider(type="generic", address=slack.address))
    chokes = 4

    async def choosy(request: web.Request) -> web.StreamResponse:
        nonlocal chokes
        bad = b"poison" in await request.read() and chokes > 0
        chokes -= bad
        return web.Response(status=500 if bad else 200)

    slack.answers = [choosy] * 40
    async with world.running():
        await world.tell(event("poison"), event("last word"), *(about(f"a{number}", f"other {number}") for number in range(6)))
        await world.settled(sent=8)
    order = [body["message"] for body in slack.got]
    assert order.count("poison") == 5
    assert len(order) - 1 - order[::-1].index("poison") < order.index("last word")


async def test_dead_provider_delays_no_other(world: World, slack: Slack) -> None:
    never = asyncio.Event()

    async def silent(_: web.Request) -> web.StreamResponse:
        await never.wait()
        return web.Response()

    slack.answers = [silent] * 40
    world.put(alert("to-ok", providerRef={"name": "ok"}), provider("ok", address=slack.address))
    for number in range(30):
        world.put(
            alert(f"hang{number}", providerRef={"name": f"hang{number}"}), provider(f"hang{number}", type="generic", address=slack.address)
        )
    world.alerts.pop(("apps", "to-ok"))
    async with world.running() as dispatcher:
        await world.tell(event("to those that hang"))
        await slack.wait_for(30)
        world.alerts.clear()
        world.put(alert("to-ok", providerRef={"name": "ok"}))
        slack.answers = []
        began = asyncio.get_running_loop().time()
        dispatcher.wake()
        await world.tell(event("to the one that works"))
        await slack.wait_for(31)
        assert asyncio.get_running_loop().time() - began < 1
        never.set()
        await world.settled(sent=31)


async def test_refused_token_waits_for_a_person_and_goes_when_it_is_corrected(world: World, slack: Slack) -> None:
    world.put(alert(), provider(type="generic", address=slack.address))
    slack.answers = [says(401)] * 3
    async with world.running() as dispatcher:
        await world.tell(event())
        await slack.wait_for(2)
        sender = (await Letters(world.store).senders())[alert_provider()]
        assert sender.refused
        assert sender.failing_since is not None
        assert "answered 401" in sender.last_error
        slack.answers = []
        world.put(provider(type="generic", address=slack.address))
        dispatcher.wake()
        await world.settled(sent=1)
    sender = (await Letters(world.store).senders())[alert_provider()]
    assert (sender.refused, sender.failing_since, sender.sent) == (False, None, 1)


def alert_provider() -> Any:
    from service.kinds.meta import NOTIFICATION_GROUP, ObjectKey

    return ObjectKey(group=NOTIFICATION_GROUP, kind="Provider", namespace="apps", name="slack")


async def test_what_is_too_old_is_given_up_when_the_provider_fails(world: World, slack: Slack, monkeypatch: pytest.MonkeyPatch) -> None:
    world.put(alert(), provider(address=slack.address))
    slack.answers = [says(503)] * 40
    async with world.running(ttl=timedelta(milliseconds=300)):
        await world.tell(*(about(f"a{number}", str(number)) for number in range(4)))
        await world.settled(rejected=4)
    dead = await Letters(world.store).newest(state="rejected")
    assert {each.error.partition(":")[0] for each in dead} == {"given up after 300ms"}
    assert any("messages are not sent" in each.message for each in world.warnings)


async def test_late_message_says_when_it_happened(world: World, slack: Slack) -> None:
    world.put(alert(), provider(address=slack.address))
    async with world.running():
        await world.tell(event("late", timestamp=moments.now() - timedelta(hours=1)))
        await world.settled(sent=1)
    assert "it is told 1 h 0 min late" in str(slack.got[0])


async def test_many_objects_are_told_together_and_each_in_its_order(world: World, slack: Slack) -> None:
    world.put(alert(), provider(type="generic", address=slack.address))
    under_way = most = 0

    async def slow(_: web.Request) -> web.StreamResponse:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        return web.Response()

    slack.answers = [slow] * 100
    async with world.running():
        await world.tell(*(about(f"a{number % 10}", str(number)) for number in range(60)))
        await world.settled(sent=60)
    assert 1 < most <= 8
    for name in range(10):
        got = [int(body["message"]) for body in slack.got if body["involvedObject"]["name"] == f"a{name}"]
        assert got == sorted(got)


def test_back_off_doubles_to_its_bound_with_jitter() -> None:
    waits = [[lane.back_off(failures, timedelta(minutes=1)) for _ in range(50)] for failures in range(12)]
    for failures, some in enumerate(waits):
        longest = min(timedelta(seconds=2) * 2**failures, timedelta(minutes=1))
        assert longest * 0.6 < min(some) < max(some) <= longest


async def test_status_of_a_provider_is_no_change_that_ends_its_wait(world: World, slack: Slack) -> None:
    asked = provider(type="generic", address=slack.address)
    world.put(alert(), asked)
    slack.answers = [says(429, Retry_After="3600")]
    async with world.running() as dispatcher:
        await world.tell(event())
        await world.warned()
        world.put({**asked, "metadata": asked["metadata"] | {"resourceVersion": "9999"}, "status": {"lastError": "429"}})
        dispatcher.wake()
        await asyncio.sleep(0.2)
        assert len(slack.got) == 1
        world.put({**asked, "metadata": asked["metadata"] | {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}})
        dispatcher.wake()
        await slack.wait_for(2)


async def test_nothing_more_is_sent_once_another_may(world: World, slack: Slack) -> None:
    """The Lease was lost in the middle: what is queued is the next one's."""
    answered = asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        await answered.wait()
        return web.Response(text="ok")

    world.put(alert(), provider(type="generic", address=slack.address))
    slack.answers = [slow]
    async with world.running() as dispatcher:
        await world.tell(event("1"), event("2"))
        await slack.wait_for(1)
        await world.settled(queued=2)
        world.ready = False
        answered.set()
        await world.settled(sent=1, queued=1)
        await asyncio.sleep(0.1)
        assert len(slack.got) == 1
        world.ready = True
        dispatcher.wake()
        await world.settled(sent=2)
