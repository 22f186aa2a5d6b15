"""The inbox: what is a duplicate, when a delivery is done, and what keeps its tables bounded."""

from dataclasses import replace
from datetime import timedelta

import pytest

from service.kinds.meta import ObjectKey
from service.state import deliverylog, moments
from service.state import inbox as inbox_module
from service.state.bodies import Bodies, KeptBody
from service.state.deliverylog import Note, TargetState
from service.state.errors import StateBusy
from service.state.inbox import ATTEMPTS, Inbox, NewDelivery, Retention
from service.state.store import Store

pytestmark = pytest.mark.databases

RECEIVER = ObjectKey(group="notification.toolkit.fluxcd.io", kind="Receiver", namespace="apps", name="hook")
SECOND = timedelta(seconds=1)


def key(name: str) -> ObjectKey:
    return ObjectKey(group="source.toolkit.fluxcd.io", kind="GitRepository", namespace="apps", name=name)


def new(delivery_id: str = "d1", digest: str = "sha256:1", receiver: ObjectKey = RECEIVER) -> NewDelivery:
    return NewDelivery(receiver=receiver, sender_type="github", delivery_id=delivery_id, body_digest=digest, events_json="[]", trace="t")


def waiting(*names: str) -> list[TargetState]:
    return [TargetState(object=key(name), state="waiting") for name in names]


def ran(name: str, result: str = "succeeded") -> TargetState:
    return TargetState(object=key(name), state="reconciled", result=result)


async def test_put_is_pending_until_done(store: Store) -> None:
    inbox = Inbox(store)
    row = await inbox.put(new())
    [found] = await inbox.pending()
    assert (found.row, found.receiver, found.delivery_id, found.events_json, found.targets) == (row, RECEIVER, "d1", "[]", ())
    await inbox.done(row, "ignored", "no target")
    assert await inbox.pending() == []
    assert (await inbox.log.counts())["done"] == 1


async def test_accept_knows_a_repeated_delivery_by_id_and_body(store: Store) -> None:
    inbox = Inbox(store)
    first = await inbox.accept(new())
    again = await inbox.accept(new())
    assert (again.row, again.duplicate, again.stored_at) == (first.row, True, first.stored_at)
    other = ObjectKey(group=RECEIVER.group, kind="Receiver", namespace="apps", name="other")
    rows = [await inbox.accept(each) for each in (new(digest="sha256:2"), new("d2"), new(receiver=other), new(""), new(""))]
    assert not any(each.duplicate for each in rows)
    assert len({first.row, *(each.row for each in rows)}) == 6
    await inbox.targets(first.row, [ran("a")])
    assert (await inbox.accept(new())).duplicate


@pytest.mark.parametrize("outcome", [ran("a", "failed"), ran("a", "stalled"), TargetState(object=key("a"), state="suspended"), None])
async def test_accept_takes_a_repeated_delivery_whose_first_came_to_nothing(store: Store, outcome: TargetState | None) -> None:
    inbox = Inbox(store)
    row = await inbox.put(new())
    if outcome is None:
        await inbox.done(row, "nothing", "no object is meant")
    else:
        await inbox.targets(row, [ran("b"), outcome])
    again = await inbox.accept(new())
    assert not again.duplicate
    assert (await inbox.accept(new())).row == again.row, "that one is under way"


async def test_a_replay_is_never_a_duplicate_and_says_what_it_repeats(store: Store) -> None:
    inbox = Inbox(store)
    row = await inbox.put(new())
    again = await inbox.accept(replace(new(), replay_of=row))
    assert (again.duplicate, again.row == row) == (False, False)
    assert [each.replay_of for each in await inbox.log.newest()] == [row, None]
    stored = await inbox.stored(row)
    assert stored is not None
    assert stored.events_json == "[]"
    assert await inbox.stored(999) is None


async def test_the_log_knows_one_receiver_and_one_delivery(store: Store) -> None:
    inbox = Inbox(store)
    other = ObjectKey(group=RECEIVER.group, kind="Receiver", namespace="apps", name="other")
    row = await inbox.put(new())
    await inbox.put(new("d2", receiver=other))
    await inbox.log.note(Note(state="refused", receiver=other, delivery_id="d3", reason="BadRequest", detail="", trace="t3"))
    assert [each.delivery_id for each in await inbox.log.newest(receiver="apps/other")] == ["d3", "d2"]
    assert [each.delivery_id for each in await inbox.log.newest(receiver="ther")] == []
    for wanted, found in ((str(row), "d1"), ("d2", "d2"), ("t3", "d3"), ("d3", "d3")):
        entry = await inbox.log.find(wanted)
        assert entry is not None
        assert entry.delivery_id == found
    for wanted in ("", "x", "9" * 30, f"0{row}"):
        assert await inbox.log.find(wanted) is None


async def test_the_log_says_how_long_it_took(store: Store) -> None:
    inbox = Inbox(store)
    row = await inbox.put(new())
    await inbox.targets(row, waiting("a"))
    began = moments.now()
    await inbox.settle(replace(ran("a"), ended_at=began + SECOND), began_at=began)
    [entry] = await inbox.log.newest()
    assert entry.ended_at == began + SECOND
    assert (entry.targets[0].began_at, entry.targets[0].ended_at) == (began, began + SECOND)


async def test_age_forgets_what_nobody_asks_for_any_more(store: Store) -> None:
    inbox, bodies = Inbox(store, Retention(age=timedelta(0))), Bodies(store)
    kept = await inbox.put(new("queued"))
    rows = [await Inbox(store).put(new(f"d{number}")) for number in range(3)]
    for row in rows:
        await inbox.done(row, "ignored", "")
        await bodies.keep(row, "t", KeptBody(headers={}, body=b"{}"))
    await inbox.log.note(Note(state="filtered", reason="filtered", detail="", trace="t"))
    assert await inbox.age() == 3
    assert [each.row for each in await inbox.log.newest()] == [kept]


async def test_bodies_are_bounded_together_and_of_one_delivery(store: Store) -> None:
    bodies = Bodies(store, total_bytes=250)
    for row in (1, 2, 3):
        await bodies.keep(row, f"t{row}", KeptBody(headers={"content-type": "x"}, body=bytes(100)))
    assert await bodies.of(1, "t1") is None
    found = await bodies.of(3, "t3")
    assert found is not None
    assert (found.headers, len(found.body)) == ({"content-type": "x"}, 100)
    assert await bodies.of(3, "another") is None
    assert "body=" not in repr(found)
    row = await Inbox(store).put(new())
    assert row == 1
    await bodies.tidy()
    assert await bodies.of(2, "t2") is not None


async def test_accept_takes_a_repeated_delivery_whose_first_was_set_aside(store: Store) -> None:
    inbox = Inbox(store)
    row = await inbox.put(new())
    for _ in range(ATTEMPTS):
        await inbox.failed(row, "no")
    again = await inbox.accept(new())
    assert not again.duplicate
    assert [each.row for each in await inbox.pending()] == [again.row]


async def test_settle_ends_a_delivery_with_its_last_target(store: Store) -> None:
    inbox = Inbox(store)
    row = await inbox.put(new())
    assert not await inbox.targets(row, waiting("a", "b"))
    began = moments.now()
    assert await inbox.settle(ran("a"), began_at=began) == []
    assert await inbox.settle(ran("c"), began_at=began) == []
    assert await inbox.settle(ran("b", "failed"), began_at=began) == [row]
    [entry] = await inbox.log.newest()
    assert (entry.state, entry.verdict, [each.result for each in entry.targets]) == ("done", "reconciled", ["succeeded", "failed"])


async def test_settle_does_not_count_a_run_that_began_before_the_delivery(store: Store) -> None:
    inbox = Inbox(store)
    began = moments.now()
    row = await inbox.put(new())
    await inbox.targets(row, waiting("a"))
    assert await inbox.settle(ran("a"), began_at=began - SECOND) == []
    assert await inbox.settle(ran("a"), began_at=began + SECOND) == [row]


async def test_settle_counts_for_the_delivery_that_caused_the_run_when_the_clock_was_set_back(store: Store) -> None:
    inbox = Inbox(store)
    row = await inbox.put(new())
    await inbox.targets(row, waiting("a"))
    assert await inbox.settle(ran("a"), began_at=moments.now() - timedelta(days=1), rows=[row]) == [row]


async def test_settle_ends_all_deliveries_that_waited(store: Store) -> None:
    inbox = Inbox(store)
    rows = [await inbox.put(new(f"d{number}")) for number in range(5)]
    for row in rows:
        await inbox.targets(row, waiting("a"))
    assert sorted(await inbox.settle(ran("a"), began_at=moments.now())) == rows


@pytest.mark.parametrize("state", ["gone", "suspended"])
async def test_targets_that_cannot_run_end_a_delivery(store: Store, state: str) -> None:
    inbox = Inbox(store)
    row = await inbox.put(new())
    assert await inbox.targets(row, [TargetState(object=key("a"), state=state)])  # type: ignore[arg-type]
    assert await inbox.pending() == []


async def test_pending_keeps_the_targets_over_a_restart(store: Store) -> None:
    row = await Inbox(store).put(new())
    await Inbox(store).targets(row, [*waiting("b"), ran("a")])
    [found] = await Inbox(store).pending()
    assert found.targets == (ran("a"), *waiting("b"))


async def test_targets_of_a_done_delivery_change_nothing(store: Store) -> None:
    inbox = Inbox(store)
    row = await inbox.put(new())
    await inbox.done(row, "ignored", "")
    assert not await inbox.targets(row, waiting("a"))
    assert await inbox.settle(ran("a"), began_at=moments.now()) == []


async def test_failed_sets_a_row_aside_after_so_many_and_blocks_nothing(store: Store) -> None:
    inbox = Inbox(store)
    poison, good = await inbox.put(new("d1")), await inbox.put(new("d2"))
    counts = [await inbox.failed(poison, "cannot be read") for _ in range(ATTEMPTS)]
    assert counts == list(range(1, ATTEMPTS + 1))
    assert [each.row for each in await inbox.pending()] == [good]
    assert await inbox.failed(poison, "again") == ATTEMPTS
    assert await inbox.failed(12345, "no such row") == 0
    aside = next(each for each in await inbox.log.newest() if each.row == poison)
    assert (aside.state, aside.detail) == ("aside", "cannot be read")


async def test_refused_is_a_ring_and_part_of_the_log(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliverylog, "KEEP_REFUSALS", 3)
    inbox = Inbox(store)
    await inbox.put(new())
    for number in range(5):
        await inbox.log.note(
            Note(
                state="refused",
                receiver=None,
                sender_type="github",
                delivery_id=f"r{number}",
                reason="BadSignature",
                detail="no match",
                trace="t",
            )
        )
    assert [each.delivery_id for each in await inbox.log.newest()] == ["r4", "r3", "r2", "d1"]
    assert [each.delivery_id for each in await inbox.log.newest(limit=2)] == ["r4", "r3"]
    assert dict(await inbox.log.counts()) == {"queued": 1, "done": 0, "aside": 0, "refused": 3}


async def test_put_forgets_old_rows_but_none_that_is_queued(store: Store) -> None:
    inbox = Inbox(store, Retention(rows=3))
    kept = await inbox.put(new("queued"))
    for number in range(30):
        await inbox.done(await inbox.put(new(f"d{number}")), "ignored", "")
    log = await inbox.log.newest()
    assert len(log) <= 4 + inbox_module.FORGET_EVERY
    assert log[-1].row == kept
    inbox = Inbox(store, Retention(age=timedelta(0)))
    last = await inbox.put(new("last"))
    assert {each.row for each in await inbox.log.newest()} == {kept, last}


async def test_put_refuses_when_too_many_are_not_done(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "BACKLOG", 2)
    inbox = Inbox(store)
    rows = [await inbox.put(new("d1")), await inbox.put(new("d2"))]
    with pytest.raises(StateBusy):
        await inbox.put(new("d3"))
    assert (await inbox.accept(new("d1"))).duplicate
    await inbox.done(rows[0], "ignored", "")
    await inbox.put(new("d3"))


@pytest.mark.parametrize("by", ["done", "settled"])
async def test_what_was_long_is_not_kept_once_a_delivery_is_done(store: Store, by: str) -> None:
    """Bodies that filters read may be megabytes, and ten thousand rows are kept."""
    inbox = Inbox(store)
    kept = {"small": "[1]", "large": "[" + "1," * 40_000 + "1]"}
    rows = {name: await inbox.put(replace(new(name), events_json=events)) for name, events in kept.items()}
    assert {row.delivery_id: row.events_json for row in await inbox.pending()} == kept
    for row in rows.values():
        if by == "done":
            await inbox.done(row, "nothing", "")
        else:
            await inbox.targets(row, [ran("fleet")])
    found = await store.read(lambda connection: dict(connection.execute("SELECT delivery_id, events FROM deliveries").fetchall()))
    assert found == {"small": "[1]", "large": "[]"}
