"""Two services on one PostgreSQL: both take hooks, one carries them out, and the other goes on where that one ends."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.end_to_end.kubernetes import is_ready
from tests.end_to_end.sluice_process import Sluice
from tests.end_to_end.world import TOKEN, World, world
from tests.peers.postgres import Postgres

LEASE_SECONDS = 60  # a Lease whose holder was killed ends after 35


@dataclass(slots=True, kw_only=True)
class Pair:
    """Two replicas of a world, its own service and `other`; `server` and `url` are what they share."""

    world: World
    other: Sluice
    server: Postgres
    url: str
    accepted: set[str]

    @property
    def environment(self) -> dict[str, str]:
        return {"SLUICE_STATE_URL": self.url}

    def start(self) -> None:
        """The world's own first, so that it leads."""
        for each in (self.world.sluice, self.other):
            each.arguments += (f"--replica-address=127.0.0.1:{each.ports['cluster']}",)
        self.world.sluice.start(environment=self.environment)
        self.world.install()
        self.other.start(environment=self.environment)

    def deliver(self, to: Sluice, greeting: str, *, path: str) -> int:
        """Push, and send its hook; the status, 0 for no answer."""
        body = json.dumps(self.world.payload(self.world.greet(greeting))).encode()
        name = f"delivery of {greeting}"
        try:
            status = to.hook(path, body, token=TOKEN, delivery=name).status
        except OSError:
            return 0
        if status == 200:
            self.accepted.add(name)
        return status

    def lost(self) -> set[str]:
        """What was accepted and is not done, once nothing is queued any more."""
        end = time.monotonic() + 30
        while True:
            with psycopg.connect(self.url, autocommit=True) as connection:
                rows = connection.execute("SELECT delivery_id, state FROM deliveries").fetchall()
            if all(state != "queued" for _, state in rows) or time.monotonic() > end:
                return self.accepted - {name for name, state in rows if state == "done"}
            time.sleep(0.2)


@pytest.fixture
def pair(embedded_kubeconfig: Path, postgres: Postgres, tmp_path: Path, namespace_name: str) -> Iterator[Pair]:
    """Not started yet."""
    with ExitStack() as stack:
        url = stack.enter_context(postgres.fresh())
        made = stack.enter_context(world(tmp_path, embedded_kubeconfig, namespace_name))
        other = stack.enter_context(Sluice(tmp_path / "other", made.sluice.arguments))
        yield Pair(world=made, other=other, server=postgres, url=url, accepted=set())


def test_the_other_takes_hooks_and_goes_on_when_the_first_stops(pair: Pair) -> None:
    pair.start()
    first, other, path = pair.world.sluice, pair.other, pair.world.hook_path()
    assert pair.deliver(other, "by the other", path=path) == 200
    pair.world.wait_greeting("by the other", seconds=5)
    pair.world.slack.wait_about("shop-production", pair.world.fleet.head[:7])
    assert other.log(msg="hook accepted")
    assert not other.log(msg="message sent")
    assert first.log(msg="message sent")

    artifact = pair.world.wait("GitRepository", "fleet", is_ready)["status"]["artifact"]
    place = urlsplit(artifact["url"]).path
    other.running.until(lambda: bool(other.log(msg="waiting for a lease")), seconds=10)  # it knows whose it is
    assert other.fetch("cluster", place) == first.fetch("cluster", place)

    assert first.stop() == 0
    assert pair.deliver(other, "alone", path=path) == 200
    pair.world.wait_greeting("alone")
    pair.world.slack.wait_about("shop-production", pair.world.fleet.head[:7])

    pair.server.end()
    assert pair.deliver(other, "away", path=path) == 503
    other.running.until(lambda: other.probe("/readyz") == 503, seconds=10)
    assert "PostgreSQL does not answer" in other.call("probes", "/readyz").body
    pair.server.start()
    other.running.until(lambda: other.probe("/readyz") == 200, seconds=30)
    assert pair.deliver(other, "back", path=path) == 200
    pair.world.wait_greeting("back")
    assert pair.lost() == set()


@pytest.mark.fuzz
def test_a_killed_leader_and_a_server_that_restarts_lose_nothing(pair: Pair) -> None:
    pair.start()
    first, other, path = pair.world.sluice, pair.other, pair.world.hook_path()
    for number in range(10):
        pair.deliver((first, other)[number % 2], f"both {number}", path=path)
    first.kill()
    for number in range(10):
        assert pair.deliver(other, f"after the kill {number}", path=path) == 200
    pair.world.sluice = other  # whose log tells what is wrong
    pair.world.wait_greeting("after the kill 9", seconds=LEASE_SECONDS)

    first.start(environment=pair.environment)
    statuses = set()
    for number in range(30):
        if number in (10, 20):
            pair.server.end()
        statuses.add(pair.deliver((first, other)[number % 2], f"restart {number}", path=path))
        if number in (12, 22):
            pair.server.start()
        time.sleep(0.1)
    assert statuses <= {200, 503}
    head = ""
    while head != "200":
        head = str(pair.deliver(first, "at last", path=path))
        time.sleep(0.2)
    pair.world.wait_greeting("at last", seconds=30)
    pair.world.wait_revision(pair.world.fleet.head)
    pair.world.slack.wait_about("shop-production", pair.world.fleet.head[:7])
    assert len(pair.accepted) >= 40
    assert pair.lost() == set()
    last = [message for message in pair.world.slack.about("shop-production")][-1]
    assert pair.world.fleet.head[:7] in last.text
