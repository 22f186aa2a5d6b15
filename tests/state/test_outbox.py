"""The outbox: an event becomes messages once, and each message is sent, tried again or set aside."""

from dataclasses import replace
from datetime import timedelta

import pytest

from service.kinds.meta import ObjectKey
from service.state import moments
from service.state import outbox as outbox_module
from service.state.outbox import EventRow, Outbox, OutMessage
from service.state.store import Store

pytestmark = pytest.mark.databases

GROUP = "notification.toolkit.fluxcd.io"
PROVIDER = ObjectKey(group=GROUP, kind="Provider", namespace="apps", name="slack")
MINUTE = timedelta(minutes=1)


def message(alert: str = "a") -> OutMessage:
    return OutMessage(alert=ObjectKey(group=GROUP, kind="Alert", namespace="apps", name=alert), provider=PROVIDER, payload='{"x": 1}')


async def one_event(outbox: Outbox, key: str = "k") -> int:
    assert await outbox.add(EventRow(key=key, json={"key": key}))
    return next(each.id for each in await outbox.unmatched() if each.key == key)


async def test_match_turns_an_event_into_messages_once(store: Store) -> None:
    outbox = Outbox(store)
    event = await one_event(outbox)
    await outbox.match(event, [message("a"), message("b")])
    await outbox.match(event, [message("c")])
    assert await outbox.unmatched() == []
    due = await outbox.due(moments.now())
    assert [(each.event, each.alert.name, each.payload, each.attempts) for each in due] == [(event, name, '{"x": 1}', 0) for name in "ab"]
    assert await outbox.queued() == due


async def test_message_is_due_again_at_its_time(store: Store) -> None:
    outbox, now = Outbox(store), moments.now()
    await outbox.match(await one_event(outbox), [message()])
    [first] = await outbox.due(moments.now())
    await outbox.retry(first.id, now + MINUTE, "503")
    assert await outbox.due(now) == []
    [again] = await outbox.due(now + MINUTE)
    assert (again.attempts, again.error, again.due_at) == (1, "503", now + MINUTE)
    await outbox.sent(first.id)
    assert await outbox.queued() == []
    await outbox.retry(first.id, now, "late")
    assert dict(await outbox.counts()) == {"queued": 0, "sent": 1, "folded": 0, "rejected": 0, "unmatched": 0}


async def test_rejected_message_blocks_nothing(store: Store) -> None:
    outbox = Outbox(store)
    await outbox.match(await one_event(outbox), [message("a"), message("b")])
    first, second = await outbox.due(moments.now())
    await outbox.rejected(first.id, "channel_not_found")
    assert [each.id for each in await outbox.due(moments.now())] == [second.id]


async def test_add_drops_a_double_and_with_a_window_only_within_it(store: Store) -> None:
    outbox = Outbox(store)
    assert await outbox.add(EventRow(key="k", json={}))
    assert not await outbox.add(EventRow(key="k", json={}))
    assert not await outbox.add(EventRow(key="k", json={}, window=MINUTE))
    assert await outbox.add(EventRow(key="k", json={}, window=timedelta(0)))
    assert not await outbox.add(EventRow(key="k", json={}, window=MINUTE))


async def test_add_forgets_old_events_but_none_with_work_left(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "KEEP_ROWS", 2)
    monkeypatch.setattr(outbox_module, "FORGET_EVERY", 1)
    outbox = Outbox(store)
    queued = await one_event(outbox, "queued")
    await outbox.match(queued, [message()])
    unmatched = await one_event(outbox, "unmatched")
    for number in range(10):
        event = await one_event(outbox, str(number))
        await outbox.match(event, [message()])
        await outbox.sent(next(each.id for each in await outbox.queued() if each.event == event))
    ids = [number for (number,) in await store.read(lambda connection: connection.execute("SELECT id FROM events ORDER BY id").fetchall())]
    assert ids[:2] == [queued, unmatched]
    assert len(ids) <= 5
    assert (await outbox.counts())["sent"] == len(ids) - 2


async def test_lanes_say_when_each_provider_has_work(store: Store) -> None:
    outbox, now = Outbox(store), moments.now()
    other = ObjectKey(group=GROUP, kind="Provider", namespace="apps", name="other")
    await outbox.match(await one_event(outbox), [message("a"), replace(message("b"), provider=other)])
    first, second = await outbox.due(moments.now())
    await outbox.retry(first.id, now + MINUTE, "503")
    assert await outbox.lanes() == {PROVIDER: now + MINUTE, other: second.due_at}
    assert await outbox.heads(other, now + MINUTE, 10) == [second]
    await outbox.hurry(PROVIDER, now)
    await outbox.sent(second.id)
    assert await outbox.lanes() == {PROVIDER: now}
