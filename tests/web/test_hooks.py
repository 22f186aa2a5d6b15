"""Webhooks against a real server on loopback, a real inbox and a real API client: what gets which answer, and what is on disk then."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from service.cel import Evaluator
from service.cluster.client import Cluster
from service.metrics import Metrics
from service.settings import Address, BodyLimits, HookSettings
from service.state.deliverylog import LogEntry, TargetState
from service.state.inbox import Inbox
from service.state.store import Store
from service.triggers.index import ReceiverIndex, webhook_path
from service.triggers.intake import Intake, Stored
from service.triggers.reading import Reading
from service.triggers.spool import Spool
from service.web.hooks import UNKNOWN_PER_MINUTE, Hooks, application
from service.web.port import Port
from service.workers import Workers
from tests.triggers.kube import Kube
from tests.triggers.scene import SECRET_PATH, TOKEN, added, key, push_body, receiver, secret, signed, until

PATH = webhook_path(TOKEN, "web", "apps")
UNKNOWN = "/hook/" + "0" * 64


def limited(**limits: Any) -> HookSettings:
    return HookSettings(limits=BodyLimits(**limits))


class Scene:
    """A served hooks port."""

    def __init__(self, store: Store, cluster: Cluster, folder: Path, settings: HookSettings | None = None, **spec: Any) -> None:
        self.store = store
        self.inbox = Inbox(store)
        self.cache = {("apps", "web"): receiver(**spec)}
        self.index = ReceiverIndex(cluster, self.cache)
        self.workers, self.evaluator = Workers(1), Evaluator()
        self.taken: list[Stored] = []
        self.ready = True
        intake = Intake(
            index=self.index,
            inbox=self.inbox,
            reading=Reading(self.workers, Spool(folder / "spool")),
            is_ready=lambda: self.ready,
            carrier=self,
            evaluator=self.evaluator,
        )
        self.metrics = Metrics()
        self.hooks = Hooks(intake, self.inbox.log, self.metrics, settings)
        self.port = Port("hooks", application(self.hooks), Address(host="127.0.0.1", port=0), header_timeout=timedelta(seconds=0.5))
        self.session = aiohttp.ClientSession()

    def stored(self, new: Stored) -> None:
        self.taken.append(new)

    def is_open(self, row: int) -> bool:
        return any(each.row == row for each in self.taken)

    async def post(self, body: bytes, headers: dict[str, str] | None = None, path: str = PATH) -> tuple[int, str]:
        async with self.session.post(f"http://{self.port.address}{path}", data=BytesIO(body), headers=headers or signed(body)) as answer:
            return answer.status, await answer.text()

    async def last(self) -> LogEntry:
        return (await self.inbox.log.newest(1))[0]

    async def raw(self, *pieces: bytes, pause: float = 0) -> bytes:
        """What the server answers to bytes, until it closes the connection."""
        return await asyncio.to_thread(_exchange, (self.port.address.host, self.port.address.port), pieces, pause)


def _exchange(address: tuple[str, int], pieces: Sequence[bytes], pause: float) -> bytes:
    """Send and read with a plain socket: what came before a reset is kept, which asyncio's streams throw away."""
    answer = b""
    with socket.create_connection(address, timeout=3) as there:
        with suppress(ConnectionError):
            for piece in pieces:
                there.sendall(piece)
                time.sleep(pause)
        with suppress(ConnectionError):
            while part := there.recv(65536):
                answer += part
    return answer


@asynccontextmanager
async def serving(store: Store, kube: Kube, cluster: Cluster, settings: HookSettings | None = None, **spec: Any) -> AsyncIterator[Scene]:
    kube.objects.setdefault(SECRET_PATH, secret())
    scene = Scene(store, cluster, kube.folder, settings, **spec)
    await scene.index.load(key("Receiver", "web"))
    await scene.port.start()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(scene.port.run())
        try:
            yield scene
        finally:
            await scene.session.close()
            scene.port.stop()
            await scene.workers.close()


async def test_a_signed_push_is_on_disk_when_it_is_answered(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster) as scene:
        body = push_body()
        status, words = await scene.post(body, signed(body, delivery="72d3162e"))
        assert status == 200
        (pending,) = await scene.inbox.pending()
        assert (pending.receiver, pending.sender_type, pending.delivery_id) == (key("Receiver", "web"), "github", "72d3162e")
        assert words == f"stored; delivery {pending.trace}\n"
        assert "https://github.com/acme/fleet.git" in pending.events_json
        assert [each.row for each in scene.taken] == [pending.row]


async def test_query_strings_do_not_matter(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster) as scene:
        assert (await scene.post(push_body(), path=PATH + "?source=github&x=%2F"))[0] == 200


async def test_a_wrong_signature_gets_a_phrase_and_its_reason_is_in_the_log(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster) as scene:
        body = push_body()
        status, words = await scene.post(body, signed(body, token=b"guess"))
        entry = await scene.last()
        assert (status, words) == (400, f"refused; delivery {entry.trace}\n")
        assert (entry.state, entry.verdict, entry.receiver) == ("refused", "BadRequest", key("Receiver", "web"))
        assert "secret at the sender" in entry.detail
        assert await scene.inbox.pending() == []


@pytest.mark.parametrize(
    ("headers", "body", "said"),
    [
        ({"X-GitHub-Event": "push"}, push_body(), "X-Hub-Signature-256 is missing"),
        (signed(push_body()[:-40]), push_body()[:-40], "not JSON"),
        (signed(b"{}"), b"{}", "repository.clone_url"),
        (signed(b""), b"", "not JSON"),
        (signed(b"[" * 5000), b"[" * 5000, "deeper than 64"),
    ],
)
async def test_bad_deliveries_get_400(store: Store, kube: Kube, cluster: Cluster, headers: dict[str, str], body: bytes, said: str) -> None:
    async with serving(store, kube, cluster) as scene:
        status, words = await scene.post(body, headers)
        entry = await scene.last()
        assert (status, words) == (400, f"refused; delivery {entry.trace}\n")
        assert said in entry.detail


async def test_an_unknown_event_is_taken_when_no_events_are_named(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster) as scene:
        assert (await scene.post(b"{}", signed(b"{}", "star")))[0] == 200
        assert (await scene.inbox.pending())[0].events_json == "[]"


async def test_a_verified_event_that_is_filtered_is_fine_and_leaves_nothing(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster, events=["Push"]) as scene:
        assert (await scene.post(b"{}", signed(b"{}", "ping")))[1].startswith("filtered; ")
        assert await scene.inbox.pending() == []
        entry = await scene.last()
        assert (entry.state, entry.receiver, entry.detail) == ("filtered", key("Receiver", "web"), "spec.events does not name ping")
        assert (await scene.post(push_body()))[0] == 200
        assert (await scene.post(b"{}", signed(b"{}", "ping", token=b"guess")))[0] == 400


async def test_unknown_paths_get_404_and_cannot_flood_the_log(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster) as scene:
        for _ in range(UNKNOWN_PER_MINUTE + 10):
            assert (await scene.post(push_body(), path=UNKNOWN))[0] == 404
        entries = await scene.inbox.log.newest()
        assert len(entries) == UNKNOWN_PER_MINUTE
        assert "status.webhookPath" in entries[0].detail
        assert entries[0].receiver is None


@pytest.mark.parametrize(("type_", "method", "status", "stored"), [
    ("generic", "GET", 200, 1), ("generic", "HEAD", 200, 0), ("generic", "PUT", 405, 0), ("generic", "DELETE", 405, 0),
    ("github", "GET", 405, 0), ("github", "HEAD", 405, 0), ("dockerhub", "GET", 405, 0),
])  # fmt: skip
async def test_methods_other_than_post(
    store: Store, kube: Kube, cluster: Cluster, type_: str, method: str, status: int, stored: int
) -> None:
    async with serving(store, kube, cluster, type=type_) as scene:
        for query in ("", "?token=x&y"):
            async with scene.session.request(method, f"http://{scene.port.address}{PATH}{query}") as answer:
                assert answer.status == status
                assert (status == 405) == (answer.headers.get("Allow") == "POST")
        assert len(await scene.inbox.pending()) == 2 * stored
        for path in (UNKNOWN, "/", "/hook"):
            async with scene.session.request(method, f"http://{scene.port.address}{path}") as answer:
                assert answer.status in (404, 405)
        assert (await scene.post(b"{}", signed(b"{}", "star"), f"{PATH}?a=b"))[0] != 404


async def test_strangers_learn_nothing_about_the_software(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster) as scene:
        for path, headers in ((PATH, signed(b"{}", "ping", token=b"guess")), (UNKNOWN, signed(b"{}")), ("/", {})):
            async with scene.session.post(f"http://{scene.port.address}{path}", data=b"{}", headers=headers) as answer:
                assert answer.status in (400, 404)
                assert "Server" not in answer.headers


async def test_strangers_cannot_flood_the_log_while_the_service_starts(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster) as scene:
        scene.ready = False
        for _ in range(UNKNOWN_PER_MINUTE + 10):
            assert (await scene.post(push_body(), path=UNKNOWN))[0] == 503
        assert len(await scene.inbox.log.newest()) == UNKNOWN_PER_MINUTE


@pytest.mark.parametrize("path", ["/", "/hook", "/hook/", "/hook/abc", UNKNOWN + "0", UNKNOWN + "/x", "/metrics", "/hook/" + "A" * 64])
async def test_nothing_else_is_there(store: Store, kube: Kube, cluster: Cluster, path: str) -> None:
    async with serving(store, kube, cluster) as scene:
        assert (await scene.post(b"{}", path=path))[0] == 404


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_other_methods_are_told_which_one_works(store: Store, kube: Kube, cluster: Cluster, method: str) -> None:
    async with (
        serving(store, kube, cluster) as scene,
        scene.session.request(method, f"http://{scene.port.address}{PATH}") as answer,
    ):
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_a_suspended_receiver_answers_503(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster, suspend=True) as scene:
        assert (await scene.post(push_body()))[0] == 503
        assert "spec.suspend" in (await scene.last()).detail


async def test_a_receiver_that_is_not_carried_out_answers_503(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster, fromTheFuture="true") as scene:
        assert (await scene.post(push_body()))[0] == 503
        assert "spec.fromTheFuture" in (await scene.last()).detail


async def test_before_the_caches_are_complete_an_unknown_path_proves_nothing(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster) as scene:
        scene.ready = False
        async with scene.session.post(f"http://{scene.port.address}{UNKNOWN}", data=b"x") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert (await scene.post(push_body()))[0] == 200, "what is known is served"


async def test_a_receiver_whose_secret_cannot_be_read_yet_takes_no_other_down(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster) as scene:
        kube.away = True
        scene.index.seen(added(receiver("other")))
        assert not scene.index.is_complete
        assert (await scene.post(push_body()))[0] == 200
        kube.away = False


async def test_a_token_that_changed_meanwhile_is_read_once_more(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster) as scene:
        kube.objects[SECRET_PATH] = secret(b"rotated")
        body = push_body()
        assert (await scene.post(body, signed(body, token=b"rotated")))[0] == 200
        assert (await scene.post(body, signed(body, token=b"guess"), webhook_path(b"rotated", "web", "apps")))[0] == 400


async def test_a_missing_secret_takes_the_path_away(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster) as scene:
        del kube.objects[SECRET_PATH]
        body = push_body()
        assert (await scene.post(body, signed(body, token=b"guess")))[0] == 400
        assert (await scene.post(body))[0] == 404


async def test_a_body_of_30_megabytes_is_refused_unread(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster) as scene:
        body = bytes(30 * 1024 * 1024)
        assert (await scene.post(body, {"X-Hub-Signature-256": "sha256=" + "0" * 64}))[0] == 413
        assert scene.hooks.in_flight.held == 0


async def test_a_body_without_a_length_is_cut_at_the_limit(store: Store, kube: Kube, cluster: Cluster) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield bytes(4096)

    async with serving(store, kube, cluster, limited(body_bytes=100_000)) as scene:
        headers = {"X-Hub-Signature-256": "sha256=" + "0" * 64}
        async with scene.session.post(f"http://{scene.port.address}{PATH}", data=endless(), headers=headers) as answer:
            assert answer.status == 413
        assert scene.hooks.in_flight.held == 0


async def test_more_in_flight_than_is_held_is_503(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster, limited(in_flight_bytes=50_000)) as scene:
        head = f"POST {PATH} HTTP/1.1\r\nHost: h\r\nX-Hub-Signature-256: sha256={'0' * 64}\r\nContent-Length: 60000\r\n\r\n".encode()
        _, writer = await asyncio.open_connection(scene.port.address.host, scene.port.address.port)
        writer.write(head + bytes(45_000))
        await until(lambda: scene.hooks.in_flight.held == 45_000)
        body = push_body(padding=10_000)
        async with scene.session.post(f"http://{scene.port.address}{PATH}", data=body, headers=signed(body)) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        writer.close()
        await until(lambda: scene.hooks.in_flight.held == 0)
        assert (await scene.post(body))[0] == 200


async def test_a_sender_that_is_slow_with_its_body_is_cut(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster, limited(body_timeout=timedelta(seconds=0.2))) as scene:
        head = f"POST {PATH} HTTP/1.1\r\nHost: h\r\nX-Hub-Signature-256: sha256={'0' * 64}\r\nContent-Length: 100\r\n\r\n".encode()
        reader, writer = await asyncio.open_connection(scene.port.address.host, scene.port.address.port)
        writer.write(head + b"x")
        async with asyncio.timeout(2):
            answer = await reader.readuntil(b"\r\n")
        writer.close()
        assert b"408" in answer
        assert "did not arrive" in (await scene.last()).detail


async def test_a_sender_that_is_slow_with_its_headers_is_cut(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster) as scene:
        began = time.monotonic()
        assert await scene.raw(b"POST /hook HTTP/1.1\r\nHost: h\r\n", *[b"X: 1\r\n"] * 2, pause=0.2) == b""
        assert time.monotonic() - began < 1.5


async def test_headers_are_bounded(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster) as scene:
        assert b" 400 " in await scene.raw(b"POST / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 300_000 + b"\r\n\r\n")
        many = b"".join(b"X-%d: %s\r\n" % (n, b"x" * 8000) for n in range(40))
        head = f"POST {PATH} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n".encode()
        assert b" 400 " in await scene.raw(head + many + b"\r\n")


async def test_what_is_not_http_leaves_no_traceback(store: Store, kube: Kube, cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(store, kube, cluster) as scene:
        for said in (b"\x16\x03\x01\x02\x00 secret-path", b"GET /secret-path HTTP/9", b"GET / HTTP/1.1\r\nBad secret-path: 1\x00"):
            answer = await scene.raw(said + b"\r\n\r\n")
            assert b" 400 " in answer
            assert b"secret-path" not in answer
            assert b"Server:" not in answer
            assert answer.endswith(b"not understood\n")
        assert "secret-path" not in caplog.text
        assert not [record for record in caplog.records if record.exc_info]


async def test_no_log_line_holds_the_path_or_the_body(store: Store, kube: Kube, cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with serving(store, kube, cluster) as scene:
        body = push_body()
        await scene.post(body)
        await scene.post(body, signed(body, token=b"guess"))
        await scene.post(body, path=UNKNOWN)
    said = caplog.text + "".join(str(vars(record)) for record in caplog.records)
    assert PATH not in said
    assert UNKNOWN not in said
    assert "refs/heads/main" not in said
    assert TOKEN.decode() not in said


async def test_a_store_that_cannot_be_written_is_503(tmp_path: Path, kube: Kube, cluster: Cluster) -> None:
    closed = Store.open(tmp_path / "other")
    async with serving(closed, kube, cluster) as scene:
        await closed.close()
        async with scene.session.post(f"http://{scene.port.address}{PATH}", data=push_body(), headers=signed(push_body())) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
            assert (await answer.text()).startswith("not stored, try again; delivery ")
        assert scene.taken == []


async def test_a_repeated_delivery_is_not_run_twice(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster) as scene:
        body = push_body()
        assert (await scene.post(body, signed(body, delivery="same")))[1].startswith("stored; ")
        assert (await scene.post(body, signed(body, delivery="same")))[1].startswith("duplicate; ")
        row = scene.taken[0].row
        await scene.inbox.targets(row, [TargetState(object=key("GitRepository", "fleet"), state="reconciled", result="succeeded")])
        status, words = await scene.post(body, signed(body, delivery="same"))
        assert (status, words.split(";")[0]) == (200, "duplicate")
        entry = await scene.last()
        assert (entry.state, entry.detail) == ("duplicate", f"of {row}, with the same id and the same body")
        assert [each.row for each in scene.taken] == [row]


async def test_a_delivery_that_was_not_verified_makes_no_other_a_duplicate(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster) as scene:
        body, other = push_body(), push_body("3" * 40)
        assert (await scene.post(body, signed(body, token=b"guess", delivery="same")))[0] == 400
        assert (await scene.post(body, signed(body, delivery="same")))[1].startswith("stored; ")
        assert (await scene.post(other, signed(other, delivery="same")))[1].startswith("stored; "), "an id with another body"
        assert (await scene.post(body, signed(body, token=b"guess", delivery="same")))[0] == 400, "a duplicate only after verification"
        assert len(scene.taken) == 2


async def test_a_redelivery_after_a_failure_runs(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster) as scene:
        body = push_body()
        for result in ("failed", "stalled"):
            assert (await scene.post(body, signed(body, delivery="same")))[1].startswith("stored; ")
            row = scene.taken[-1].row
            await scene.inbox.targets(row, [TargetState(object=key("GitRepository", "fleet"), state="reconciled", result=result)])
        assert (await scene.post(body, signed(body, delivery="same")))[1].startswith("stored; ")
        assert len({each.row for each in scene.taken}) == 3


async def test_two_pushes_in_the_wrong_order_are_both_kept(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster) as scene:
        newer, older = push_body("3" * 40), push_body("2" * 40)
        assert (await scene.post(newer, signed(newer, delivery="b")))[0] == 200
        assert (await scene.post(older, signed(older, delivery="a")))[0] == 200
        assert len(await scene.inbox.pending()) == 2


async def test_a_large_body_is_read_in_another_process(store: Store, kube: Kube, cluster: Cluster) -> None:
    """Takes up to two seconds: the worker process starts."""
    async with serving(store, kube, cluster) as scene:
        body = push_body(padding=2_000_000)
        assert (await scene.post(body))[0] == 200
        broken = body[:-1]
        assert (await scene.post(broken, signed(broken)))[0] == 400
        assert "not JSON" in (await scene.last()).detail
        assert scene.workers._pool is not None
        assert os.listdir(kube.folder / "spool") == []


async def test_requests_are_counted_by_status(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster) as scene:
        await scene.post(push_body())
        await scene.post(push_body(), path=UNKNOWN)
        count = scene.metrics.registry.get_sample_value
        for code in ("200", "404"):
            assert count("gotk_receiver_http_request_duration_seconds_count", {"code": code}) == 1


async def test_a_taken_port_is_an_error(store: Store, kube: Kube, cluster: Cluster, tmp_path: Path) -> None:
    async with serving(store, kube, cluster) as scene:
        other = Port("hooks", application(scene.hooks), scene.port.address)
        with pytest.raises(OSError, match="address already in use"):
            await other.start()
        other.stop()
        with pytest.raises(OSError, match="address already in use"):
            await other.run()
