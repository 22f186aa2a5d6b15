"""Letters, what is counted of senders, and what an older state folder brings along."""

import itertools
import json
import sqlite3
from pathlib import Path

import pytest

from service.kinds.meta import NOTIFICATION_GROUP, ObjectKey
from service.state import moments, statements
from service.state.letters import Letters
from service.state.outbox import EventRow, Outbox, OutMessage
from service.state.store import Store

pytestmark = pytest.mark.databases

SLACK = ObjectKey(group=NOTIFICATION_GROUP, kind="Provider", namespace="apps", name="slack")
ALERT = ObjectKey(group=NOTIFICATION_GROUP, kind="Alert", namespace="apps", name="all")


_numbers = itertools.count()


def message(object_: str = "Kustomization/apps/web", payload: str = "{}") -> OutMessage:
    return OutMessage(alert=ALERT, provider=SLACK, payload=payload, object=object_)


async def queue(outbox: Outbox, *messages: OutMessage) -> None:
    for each in messages:
        await outbox.add(EventRow(key=f"number {next(_numbers)}", json={}))
        await outbox.match((await outbox.unmatched())[0].id, [each])


async def test_fold_keeps_the_newest_of_each_object_and_counts(store: Store) -> None:
    outbox = Outbox(store)
    await queue(outbox, *(message(f"Kustomization/apps/{name}", json.dumps({"n": name})) for name in "aabaab"))
    assert await outbox.fold(SLACK) == 4
    assert [(each.id, each.folded) for each in await outbox.queued()] == [(5, 3), (6, 1)]
    await queue(outbox, *(message("Kustomization/apps/a") for _ in range(1)))
    assert await outbox.fold(SLACK) == 1
    [_, newest] = await outbox.queued()
    assert (newest.id, newest.folded) == (7, 4)
    assert len(await outbox.folded_into(7)) == 4
    assert await outbox.fold(SLACK) == 0
    sender = (await Letters(store).senders())[SLACK]
    assert (sender.folded, sender.queued, sender.sent) == (5, 2, 0)


async def test_messages_without_an_object_are_not_folded(store: Store) -> None:
    outbox = Outbox(store)
    await queue(outbox, message(""), message(""))
    assert await outbox.fold(SLACK) == 0


async def test_heads_are_the_first_of_each_object_also_while_it_waits(store: Store) -> None:
    outbox, now = Outbox(store), moments.now()
    await queue(outbox, *(message(f"Kustomization/apps/{name}") for name in "aab"))
    later = moments.now()
    await outbox.retry(1, later.replace(year=later.year + 1), "503")
    assert [each.id for each in await outbox.heads(SLACK, moments.now(), 10)] == [3]
    await outbox.sent(3)
    heads, due = await outbox.work_for(SLACK, moments.now(), 10)
    assert heads == []
    assert due is not None
    assert due.year == now.year + 1


async def test_dead_letters_outlive_what_was_sent_and_resending_begins_anew(store: Store) -> None:
    outbox, letters = Outbox(store), Letters(store)
    await queue(outbox, message())
    await outbox.retry(1, moments.now(), "503")
    await outbox.rejected(1, "given up")
    [dead] = await letters.newest(state="rejected")
    assert (dead.error, dead.attempts) == ("given up", 1)
    assert await letters.resend_dead(SLACK) == 1
    [again] = await outbox.queued()
    assert (again.attempts, again.error) == (0, "")
    assert again.asked_at > again.stored_at
    assert not await letters.resend(1)


async def test_an_event_that_no_alert_wanted_may_come_again(store: Store) -> None:
    outbox = Outbox(store)
    row = EventRow(key="k", json={}, window=moments.now() - moments.now().replace(year=2020))
    assert await outbox.add(row)
    assert not await outbox.add(row)
    await outbox.match(1, [])
    assert await outbox.add(row)
    await outbox.match(2, [message()])
    assert not await outbox.add(row)


async def test_a_folder_of_the_first_schema_keeps_what_it_has(tmp_path: Path) -> None:
    first = statements.migrations("state", "sqlite")[0]
    connection = sqlite3.connect(tmp_path / "state.db")
    for statement in first.values():
        connection.execute(statement)
    connection.execute("INSERT INTO events (stored_at, key, json, matched_at) VALUES (1, 'k', '{}', 1)")
    payload = json.dumps({"kind": "Kustomization", "namespace": "apps", "name": "web"})
    names = (f"{NOTIFICATION_GROUP}/Alert/apps/{{}}", f"{NOTIFICATION_GROUP}/Provider/apps/slack")
    for alert, text, state in (("a", payload, "queued"), ("b", "no JSON", "queued"), ("c", payload, "sent")):
        connection.execute(
            "INSERT INTO messages (event, stored_at, alert, provider, payload, state, due_at, attempts) VALUES (1, 5, ?, ?, ?, ?, 6, 2)",
            (names[0].format(alert), names[1], text, state),
        )
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    store = Store.open(tmp_path)
    found = await Letters(store).newest()
    assert [(each.id, each.state, each.object, each.attempts) for each in found] == [
        (3, "sent", "Kustomization/apps/web", 2), (2, "queued", "", 2), (1, "queued", "Kustomization/apps/web", 2),
    ]  # fmt: skip
    assert [each.id for each in await Outbox(store).heads(SLACK, moments.now(), 10)] == [1, 2]
    await store.close()
