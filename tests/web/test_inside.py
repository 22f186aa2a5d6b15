"""Event intake and artifacts, for others in the cluster."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.kinds.event import Event
from service.kinds.meta import ObjectKey
from service.metrics import Metrics
from service.settings import Address
from service.state.errors import StateBusy
from service.web.artifacts import Artifacts, one_range
from service.web.inside import EventSink, application
from service.web.port import Port

FILE = "a" * 64 + ".tar.gz"
CONTENT = b"\x1f\x8b not really gzip" * 1000


async def test_what_another_replica_has_is_asked_for_there(tmp_path: Path) -> None:
    other = Scene(tmp_path / "other")
    await other.port.start()
    (tmp_path / "here").mkdir()

    async def nothing(_key: ObjectKey, _name: str) -> bool:
        raise AssertionError("made again")

    artifacts = Artifacts(tmp_path / "here", nothing, lambda: str(other.port.address))
    port = Port("cluster", application(other.sink, artifacts), Address(host="127.0.0.1", port=0))
    await port.start()
    serving = [asyncio.create_task(each.run()) for each in (port, other.port)]
    async with other.session.get(f"http://{port.address}/gitrepository/apps/fleet.prod/{FILE}") as answer:
        assert await answer.read() == CONTENT
        assert [each.status for each in answer.history] == [307]
    port.stop()
    other.port.stop()
    await asyncio.gather(*serving)
    await other.session.close()


class Scene:
    def __init__(self, folder: Path, token: str = "") -> None:
        self.events: list[Event] = []
        self.missed: list[str] = []
        self.folder = folder
        self.full = False
        self.sink = EventSink(self.intake, Metrics(), per_second=1, token=token)
        self.port = Port("cluster", application(self.sink, Artifacts(folder / "artifacts", self.remake)), Address(host="127.0.0.1", port=0))
        self.session = aiohttp.ClientSession(auto_decompress=False)
        place = folder / "artifacts/gitrepository/apps/fleet.prod"
        place.mkdir(parents=True)
        (place / FILE).write_bytes(CONTENT)
        (folder / "state.db").write_bytes(b"secret")

    async def remake(self, key: ObjectKey, name: str) -> bool:
        self.missed.append(f"{key} {name}")
        if name != "again.tar.gz":
            return False
        (self.folder / "artifacts/gitrepository/apps/fleet.prod" / name).write_bytes(b"again")
        return True

    async def intake(self, event: Event) -> bool:
        if self.full:
            raise StateBusy("full")
        if event in self.events:
            return False
        self.events.append(event)
        return True

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, bytes, Any]:
        from yarl import URL

        async with self.session.request(method, URL(f"http://{self.port.address}{path}", encoded=True), **options) as answer:
            return answer.status, await answer.read(), answer.headers


@pytest.fixture
async def scene(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    made = Scene(tmp_path, getattr(request, "param", ""))
    await made.port.start()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(made.port.run())
        yield made
        await made.session.close()
        made.port.stop()


def event(message: str = "m") -> bytes:
    return json.dumps(
        {
            "involvedObject": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "app", "namespace": "apps"},
            "severity": "info",
            "timestamp": "2026-08-01T10:00:00Z",
            "message": message,
            "reason": "UpgradeSucceeded",
            "reportingController": "helm-controller",
        }
    ).encode()


@pytest.mark.parametrize("path", ["/", "/any/path", "/?x=1"])
async def test_events_are_taken_on_any_path(scene: Scene, path: str) -> None:
    assert (await scene.ask("POST", path, data=event()))[0] == 202
    assert [each.involved.name for each in scene.events] == ["app"]


async def test_a_repeated_event_is_429(scene: Scene) -> None:
    await scene.ask("POST", "/", data=event())
    status, _, headers = await scene.ask("POST", "/", data=event())
    assert (status, headers["Retry-After"]) == (429, "300")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b"\xff", b"[" * 100_000, event().replace(b'"info"', b'"loud"')])
async def test_what_is_no_event_is_400(scene: Scene, body: bytes) -> None:
    assert (await scene.ask("POST", "/", data=body))[0] == 400
    assert scene.events == []


async def test_a_large_event_is_413(scene: Scene) -> None:
    assert (await scene.ask("POST", "/", data=event("x" * 300_000)))[0] == 413


async def test_a_full_store_is_503(scene: Scene) -> None:
    scene.full = True
    status, _, headers = await scene.ask("POST", "/", data=event())
    assert (status, headers["Retry-After"]) == (503, "10")


async def test_an_artifact_is_sent_byte_for_byte(scene: Scene) -> None:
    status, body, headers = await scene.ask("GET", f"/gitrepository/apps/fleet.prod/{FILE}")
    assert (status, body) == (200, CONTENT)
    assert "Content-Encoding" not in headers
    status, body, headers = await scene.ask("HEAD", f"/gitrepository/apps/fleet.prod/{FILE}")
    assert (status, body, headers["Content-Length"]) == (200, b"", str(len(CONTENT)))


async def test_the_files_of_every_kind_are_served_and_no_others(scene: Scene, tmp_path: Path) -> None:
    names = {
        "helmrepository": ("index-12ab.yaml", "index.yaml"),
        "helmchart": ("web-1.0.0+3.tgz", "latest.tar.gz"),
        "ocirepository": ("sha256:12ab.tar.gz",),
        ".private": ("asked.json", "asked.yaml"),
        "helmchart/x": (".draft.tgz",),
    }
    for kind, files in names.items():
        place = tmp_path / "artifacts" / kind / "apps" / "web"
        place.mkdir(parents=True)
        for file in files:
            (place / file).write_bytes(b"x")
            status, _, _ = await scene.ask("GET", f"/{kind}/apps/web/{file}")
            assert (status == 200) == (kind in ("helmrepository", "helmchart", "ocirepository")), (kind, file)


async def test_artifacts_know_conditions_and_ranges(scene: Scene) -> None:
    path = f"/gitrepository/apps/fleet.prod/{FILE}"
    _, _, headers = await scene.ask("GET", path)
    assert (await scene.ask("GET", path, headers={"If-None-Match": headers["ETag"]}))[0] == 304
    assert (await scene.ask("GET", path, headers={"If-Match": '"other"'}))[0] == 412


SIZE = len(CONTENT)
RANGES = {
    "bytes=2-5": (206, CONTENT[2:6], f"bytes 2-5/{SIZE}"),
    "Bytes = 2-5 ": (206, CONTENT[2:6], f"bytes 2-5/{SIZE}"),
    "bytes=0-0": (206, CONTENT[:1], f"bytes 0-0/{SIZE}"),
    f"bytes={SIZE - 4}-": (206, CONTENT[-4:], f"bytes {SIZE - 4}-{SIZE - 1}/{SIZE}"),
    f"bytes={SIZE - 4}-{10 * SIZE}": (206, CONTENT[-4:], f"bytes {SIZE - 4}-{SIZE - 1}/{SIZE}"),
    "bytes=-4": (206, CONTENT[-4:], f"bytes {SIZE - 4}-{SIZE - 1}/{SIZE}"),
    f"bytes=-{10 * SIZE}": (206, CONTENT, f"bytes 0-{SIZE - 1}/{SIZE}"),
    f"bytes={SIZE}-": (416, b"", f"bytes */{SIZE}"),
    "bytes=-0": (416, b"", f"bytes */{SIZE}"),
    "bytes=0-1,4-5": (200, CONTENT, ""),
    "bytes=5-2": (200, CONTENT, ""),
    "bytes=-": (200, CONTENT, ""),
    "bytes=a-b": (200, CONTENT, ""),
    "lines=0-5": (200, CONTENT, ""),
    "bytes": (200, CONTENT, ""),
}


@pytest.mark.parametrize("asked", RANGES)
async def test_ranges(scene: Scene, asked: str) -> None:
    status, body, headers = await scene.ask("GET", f"/gitrepository/apps/fleet.prod/{FILE}", headers={"Range": asked})
    assert (status, body if status != 416 else b"", headers.get("Content-Range", "")) == RANGES[asked]


async def test_a_range_of_what_has_changed_since_is_the_whole(scene: Scene) -> None:
    path = f"/gitrepository/apps/fleet.prod/{FILE}"
    etag = (await scene.ask("GET", path))[2]["ETag"]
    for sent, status in ((etag, 206), ('"other"', 200), (f"W/{etag}", 200), ("Sat, 21 Nov 2020 10:00:00 GMT", 200)):
        assert (await scene.ask("GET", path, headers={"Range": "bytes=2-5", "If-Range": sent}))[0] == status, sent


@given(st.text(max_size=40), st.integers(0, 100))
def test_any_range_is_understood_or_ignored(header: str, size: int) -> None:
    assert re.fullmatch(r"|bytes=\d+-\d*|bytes=-\d+", one_range(header, size))


async def test_a_file_that_is_gone_is_made_again_or_404(scene: Scene) -> None:
    folder = "/gitrepository/apps/fleet.prod"
    assert (await scene.ask("GET", f"{folder}/again.tar.gz"))[:2] == (200, b"again")
    assert (await scene.ask("GET", f"{folder}/again.tar.gz"))[:2] == (200, b"again")
    assert (await scene.ask("GET", f"{folder}/old.tar.gz"))[0] == 404
    assert scene.missed == ["GitRepository/apps/fleet.prod again.tar.gz", "GitRepository/apps/fleet.prod old.tar.gz"]


async def test_ten_who_fetch_fifty_mebibytes_cost_no_memory(scene: Scene) -> None:
    with (scene.folder / "artifacts/gitrepository/apps/fleet.prod/big.tar.gz").open("wb") as file:
        file.truncate(50 * 2**20)

    async def fetched() -> int:
        size = 0
        async with scene.session.get(f"http://{scene.port.address}/gitrepository/apps/fleet.prod/big.tar.gz") as answer:
            async for chunk in answer.content.iter_any():
                size += len(chunk)
        return size

    before, most = resident(), 0
    async with asyncio.TaskGroup() as tasks:
        clients = [tasks.create_task(fetched()) for _ in range(10)]
        while not all(each.done() for each in clients):
            most = max(most, resident())
            await asyncio.sleep(0.02)
    assert [each.result() for each in clients] == [50 * 2**20] * 10
    assert most - before < 30 * 2**20, "mostly buffers of the ten clients, which are in this process too"


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    "path",
    [
        "/state.db",
        "/gitrepository",
        "/gitrepository/",
        "/gitrepository/apps/fleet.prod/",
        f"/gitrepository/apps/other/{FILE}",
        f"/gitrepository/apps/../apps/{FILE}",
        "/gitrepository/apps/fleet.prod/..%2f..%2f..%2f..%2fstate.db",
        "/gitrepository/apps/..%2f..%2f../state.db",
        "/gitrepository/%2e%2e/%2e%2e/state.db",
        "/gitrepository/apps/fleet.prod/../../../../state.db",
        f"/gitrepository/apps/fleet..prod/{FILE}",
        f"/bucket/apps/fleet/{FILE}",
        "/",
    ],
)
async def test_nothing_else_can_be_read(scene: Scene, path: str) -> None:
    status, body, _ = await scene.ask("GET", path)
    assert status in (404, 405)
    assert b"secret" not in body
    assert b"fleet.prod/" not in body


FROM_FLUX = b"""{"involvedObject":{"kind":"Kustomization","namespace":"flux-system","name":"apps",
"uid":"7d0cdc51-ddcf-4743-b223-83ca5c699632","apiVersion":"kustomize.toolkit.fluxcd.io/v1","resourceVersion":"4921"},"severity":"error","timestamp":"2026-08-07T13:12:44Z",
"message":"Health check failed after 2m0s: timeout waiting for: [Deployment/apps/web status: 'InProgress']","reason":"HealthCheckFailed",
"metadata":{"kustomize.toolkit.fluxcd.io/revision":"main@sha1:5394cb7f48332b2de7c17dd8b8384bbc84b7e738",
"kustomize.toolkit.fluxcd.io/token":"a2c7","event.toolkit.fluxcd.io/summary":"production"},
"reportingController":"kustomize-controller","reportingInstance":"kustomize-controller-7bc4b4bb8d-cr7cl"}"""


async def test_an_event_of_flux_is_read_whole(scene: Scene) -> None:
    headers = {"Content-Type": "application/json", "Gotk-Component": "kustomize-controller"}
    assert (await scene.ask("POST", "/", data=FROM_FLUX, headers=headers))[0] == 202
    [got] = scene.events
    assert got.to_json() == json.loads(FROM_FLUX)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_events_can_only_be_added(scene: Scene, method: str) -> None:
    assert (await scene.ask(method, "/", data=event() if method != "GET" else None))[0] == 405
    assert scene.events == []


async def test_an_address_that_posts_too_fast_is_told_when_to_come_back(scene: Scene) -> None:
    answers = [await scene.ask("POST", "/", data=event(str(number))) for number in range(12)]
    assert [status for status, _, _ in answers] == [202] * 10 + [503] * 2
    assert answers[-1][2]["Retry-After"] == "1"


@pytest.mark.parametrize("scene", ["very-secret"], indirect=True)
@pytest.mark.parametrize(("given", "status"), [("Bearer very-secret", 202), ("Bearer other", 401), ("", 401), ("Bearer very-secretx", 401)])
async def test_a_token_is_asked_for_where_one_is_set(scene: Scene, given: str, status: int) -> None:
    assert (await scene.ask("POST", "/", data=event(), headers={"Authorization": given} if given else {}))[0] == status
