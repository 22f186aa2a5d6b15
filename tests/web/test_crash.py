"""The process is killed at each step of a delivery: what was answered with 200 is there afterwards, what was not is sent again."""

import http.client
import multiprocessing
import signal
from pathlib import Path

import pytest

from service.state.inbox import Inbox
from service.state.store import Store
from service.triggers.index import webhook_path
from tests.benchmarks.hooks import serving
from tests.triggers.scene import TOKEN, push_body, signed


def deliver(port: int) -> int:
    """The status of one signed push, 0 where the connection broke."""
    body = push_body()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("POST", webhook_path(TOKEN, "web", "apps"), body, signed(body))
        return connection.getresponse().status
    except (ConnectionError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


@pytest.mark.parametrize(("at", "queued", "done"), [("hook.verified", 0, 0), ("hook.stored", 1, 0), ("inbox.done", 0, 1)])
async def test_nothing_answered_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str, queued: int, done: int) -> None:
    monkeypatch.setenv("SLUICE_CRASH_AT", at)
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=serving, args=(tmp_path, theirs, False))
    process.start()
    theirs.close()
    try:
        status = deliver(ours.recv())
        process.join(5)
        assert process.exitcode == -signal.SIGKILL
    finally:
        process.kill()
        process.join()
        ours.close()
    assert status in ((200, 0) if at == "inbox.done" else (0,))
    store = Store.open(tmp_path / "state")
    counts = await Inbox(store).log.counts()
    await store.close()
    assert (counts["queued"], counts["done"]) == (queued, done)
