"""The journal: open before the first write, closed together with its events."""

import pytest

from service.kinds.meta import ObjectKey
from service.state.errors import StateUnwritable
from service.state.journal import EventRow, Journal, Run, event_key
from service.state.outbox import Outbox
from service.state.store import Store

pytestmark = pytest.mark.databases

APP = ObjectKey(group="kustomize.toolkit.fluxcd.io", kind="Kustomization", namespace="apps", name="web")


def run(uid: str = "u1", revision: str = "main@sha1:1") -> Run:
    return Run(object=APP, uid=uid, generation=3, revision=revision, planned=("Deployment/web/web", "Service/web/web"), trace="t")


async def test_open_run_is_unfinished_until_closed(store: Store) -> None:
    journal = Journal(store)
    wanted = run()
    number = await journal.open(wanted)
    assert await journal.unfinished() == [(number, wanted)]
    assert await journal.close(number, [EventRow(key="k", json={"a": 1})]) == 1
    assert await journal.unfinished() == []
    assert [each.json for each in await Outbox(store).unmatched()] == ['{"a": 1}']


async def test_close_drops_an_event_that_is_there_already(store: Store) -> None:
    journal, woken = Journal(store), list[int]()
    Outbox(store).listen(lambda: woken.append(1))
    assert await journal.close(None, [EventRow(key="k", json={"a": 1}), EventRow(key="k", json={"a": 2})]) == 1
    assert await journal.close(await journal.open(run()), [EventRow(key="k", json={"a": 3})]) == 0
    assert await journal.close(None, []) == 0
    assert [each.json for each in await Outbox(store).unmatched()] == ['{"a": 1}']
    assert woken == [1]
    assert await journal.unfinished() == []


async def test_close_ends_the_older_runs_of_the_same_object_only(store: Store) -> None:
    journal = Journal(store)
    await journal.open(run())
    other = await journal.open(run(uid="u2"))
    second = await journal.open(run(revision="main@sha1:2"))
    third = await journal.open(run(revision="main@sha1:3"))
    await journal.close(second, [])
    assert [number for number, _ in await journal.unfinished()] == [other, third]


@pytest.mark.databases("sqlite")
async def test_close_keeps_the_run_open_when_its_event_cannot_be_stored(store: Store) -> None:
    journal = Journal(store)
    number = await journal.open(run())
    used = await store.read(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
    await store.write(lambda connection: connection.execute(f"PRAGMA max_page_count = {used}").fetchone())
    with pytest.raises(StateUnwritable):
        await journal.close(number, [EventRow(key="k", json={"message": "x" * 50_000})])
    assert [each for each, _ in await journal.unfinished()] == [number]
    assert await Outbox(store).unmatched() == []


def test_event_key_differs_by_each_part_and_not_by_the_order_of_changes() -> None:
    base = {"uid": "u", "generation": 1, "revision": "r", "reason": "x", "changes": ["a", "b"]}
    changes = ({}, {"uid": "v"}, {"generation": 2}, {"revision": "s"}, {"reason": "y"}, {"changes": ["a"]})
    keys = {event_key(**{**base, **change}) for change in changes}  # type: ignore[arg-type]
    assert len(keys) == 6
    assert event_key(**{**base, "changes": ["b", "a"]}) in keys  # type: ignore[arg-type]
