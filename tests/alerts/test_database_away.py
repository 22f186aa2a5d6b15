"""The server of the state is restarted while alerts pour in: each accepted event is delivered, each object in order."""

import asyncio
import signal
from datetime import timedelta
from pathlib import Path

import pytest

from service.alerts import dispatch, lane
from service.state.errors import StateError
from service.state.outbox import EventRow
from service.state.store import Store
from service.workers import Workers
from tests.alerts.conftest import Slack, World, about, alert, provider
from tests.conftest import Peers
from tests.peers.postgres import missing_postgres, running

OBJECTS, EVENTS = 10, 400
RESTARTS = {100: signal.SIGINT, 250: signal.SIGQUIT}  # a restart, a crash


@pytest.mark.fuzz
async def test_nothing_is_lost_or_out_of_order(
    tmp_path: Path, slack: Slack, workers: Workers, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why := missing_postgres():
        peers.lack(why)
    monkeypatch.setattr(lane, "STATE_WAIT", timedelta(milliseconds=100))
    monkeypatch.setattr(dispatch, "RETRY", timedelta(milliseconds=100))
    with running(fsync=True) as server, server.fresh() as url:
        world = World(store=Store.open(tmp_path, url), workers=workers)
        world.put(alert(), provider(type="generic", address=slack.address))
        async with world.running():
            for number in range(EVENTS):
                if number in RESTARTS:
                    server.end(RESTARTS[number])
                    starting = asyncio.create_task(asyncio.to_thread(server.start))
                await _stored(world, number)
            await starting
            async with asyncio.timeout(30):
                while len({body["message"] for body in slack.got}) < EVENTS:  # noqa: ASYNC110 - it tells of each, not of the last
                    await asyncio.sleep(0.1)
        await world.evaluator.close()
        await world.store.close()
    numbers = [int(body["message"]) for body in slack.got]
    assert set(numbers) == set(range(EVENTS))
    twice = len(numbers) - EVENTS
    assert twice <= len(RESTARTS) * lane.BATCH
    for object_ in range(OBJECTS):
        seen = list(dict.fromkeys(number for number in numbers if number % OBJECTS == object_))
        assert seen == sorted(seen)


async def _stored(world: World, number: int) -> None:
    """As reconcilers do: again until it is stored."""
    told = about(f"a{number % OBJECTS}", str(number))
    while True:
        try:
            await world.outbox.add(EventRow(key=f"number {number}", json=told.to_json()))
            return
        except StateError:
            await asyncio.sleep(0.05)
