"""The process is killed at each named step of a push; it starts again on the same state. Nothing is lost, nothing is doubled.

In small (`make test`) the steps where something has just become durable or visible; with --soak each of them, and a storm of kills. The
service is started twice in each test, so they take longer than others.
"""

import json
import re
import time
from collections import Counter

import pytest

from tests.end_to_end.world import TOKEN, World

# In the order of the flow. Before hook.stored nothing has been accepted: the sender has no answer and sends again.
UNACCEPTED = ("hook.verified",)
ACCEPTED = (
    "hook.stored",
    "source.fetched",
    "source.stored",
    "run.opened",
    "apply.first",
    "apply.done",
    "run.closed",
    "status.patched",
    "outbox.matched",
    "outbox.sent",
    "inbox.done",
)
IN_SMALL = ("hook.stored", "apply.first", "run.closed", "outbox.matched")
# Between the HTTP answer and the note of it nobody can know: delivery is at least once there.
MAY_REPEAT = ("outbox.sent",)
POINTS = [pytest.param(point, marks=() if point in IN_SMALL else pytest.mark.soak) for point in (*UNACCEPTED, *ACCEPTED)]


@pytest.mark.parametrize("point", POINTS)
def test_nothing_is_lost_or_doubled_when_killed_at(point: str, village: World) -> None:
    village.sluice.start()
    village.install()
    path = village.hook_path()
    village.sluice.stop()
    village.sluice.start(crash_at=point)
    commit = village.greet("after the crash")
    body = json.dumps(village.payload(commit)).encode()
    try:
        answered = village.sluice.hook(path, body, token=TOKEN).status
    except OSError:
        answered = 0  # it died before it could answer
    village.sluice.wait_crash()
    village.sluice.start()
    if point in UNACCEPTED:
        assert answered == 0
        assert village.sluice.hook(path, body, token=TOKEN).status == 200

    village.wait_greeting("after the crash")
    village.wait_revision(commit)
    village.slack.wait_about("shop-production", commit[:7])
    village.sluice.stop()  # drains: what was to be sent is sent, or stays stored
    said = Counter(_without_times(message.text) for message in village.slack.about(commit[:7]))
    doubled = {text: times for text, times in said.items() if times > (2 if point in MAY_REPEAT else 1)}
    assert doubled == {}
    assert any("shop-settings" in text for text in said), said


@pytest.mark.soak
def test_a_storm_of_pushes_and_kills_ends_at_the_last_push(village: World) -> None:
    """Ten pushes, a kill in each: every accepted one is worked off, the cluster ends at the newest."""
    village.sluice.start()
    village.install()
    path = village.hook_path()
    for number in range(10):
        village.sluice.kill()
        village.sluice.start(crash_at=f"{ACCEPTED[number]}:{number % 2 + 1}", wait=False)
        body = json.dumps(village.payload(village.greet(f"storm {number}"))).encode()
        assert deliver(village, path, body) == 200
    village.sluice.kill()
    village.sluice.start()
    village.wait_greeting("storm 9")
    village.wait_revision(village.fleet.head)


def deliver(village: World, path: str, body: bytes, *, seconds: float = 30) -> int:
    """Send a hook until it is taken, as Retry-After asks; a service that has crashed is started again. The status."""
    end, status = time.monotonic() + seconds, 0
    while status in (0, 503):
        assert time.monotonic() < end, village.sluice.running.tail()
        if village.sluice.running.returncode is not None:
            village.sluice.start()
        try:
            status = village.sluice.hook(path, body, token=TOKEN).status
        except OSError:
            status = 0
        time.sleep(0.05)
    return status


def _without_times(text: str) -> str:
    """A message without what differs from run to run: durations."""
    return re.sub(r"\b\d+(\.\d+)?\s?(ms|s|m)\b", "TIME", text)
