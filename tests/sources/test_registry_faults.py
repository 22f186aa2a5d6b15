"""A registry that fails, lies or dawdles: the condition says what it was, nothing half done stays, and the next success is one."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from service.sources.tree import GitTree
from tests.sources.bench import Bench, opened
from tests.sources.registry import MANIFEST, StandIn, digest_of, served, tarball
from tests.sources.test_ocirepository import spec

Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
OLD, NEW = {"a.yaml": b"a: 1\n"}, {"a.yaml": b"a: 2\n"}


@pytest.fixture
async def bench(tmp_path, workers) -> AsyncIterator[Bench]:
    async with opened("OCIRepository", tmp_path, workers) as made:
        yield made


@pytest.fixture
async def registry() -> AsyncIterator[StandIn]:
    async with served() as made:
        yield made


def at(part: str, answer: Fault) -> Fault:
    """A fault for one sort of request."""

    async def found(request: web.Request) -> web.StreamResponse | None:
        return await answer(request) if part in f"{request.method} {request.path}" else None

    return found


def status(code: int) -> Fault:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=code, text="secret words of the remote", headers={"Retry-After": "1"})

    return answer


def body(content: bytes, kind: str = MANIFEST) -> Fault:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=content, content_type=kind)

    return answer


async def hung_up(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def cut(request: web.Request) -> web.StreamResponse:
    """Half of what was announced."""
    answer = web.StreamResponse(headers={"Content-Length": "1000"})
    await answer.prepare(request)
    await answer.write(b"x" * 50)
    return await hung_up(request)


async def dripping(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Length": "1000"})
    await answer.prepare(request)
    for _ in range(200):
        await answer.write(b"x")
        await asyncio.sleep(0.02)
    return answer


def files(folder: Path) -> set[str]:
    """What lies in the state folder, without Git's own objects: they are content, and nothing names those of a failure."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and "objects" not in path.parts}


FAULTS: dict[str, tuple[Fault, str]] = {
    "HEAD 429": (at("HEAD ", status(429)), "answered 429 (too many requests)"),
    "HEAD 503": (at("HEAD ", status(503)), "answered 503"),
    "manifest 503": (at("GET /v2/team/app/manifests/sha256", status(503)), "answered 503"),
    "layer 429": (at("/blobs/", status(429)), "answered 429 (too many requests)"),
    "layer 404": (at("/blobs/", status(404)), "answered 404 (not found)"),
    "no answer": (at("HEAD ", hung_up), "gave no answer, or broke it off"),
    "manifest cut": (at("GET /v2/team/app/manifests", cut), "gave no answer, or broke it off"),
    "layer cut": (at("/blobs/", cut), "gave no answer, or broke it off"),
    "layer drips": (at("/blobs/", dripping), "not finished within 1 s; is spec.timeout too short?"),
    "another manifest": (at("GET /v2/team/app/manifests", body(b"{}")), "has another digest than its name"),
    "a large manifest": (at("GET /v2/team/app/manifests", body(b" " * 300_000)), "larger than 262,144 bytes"),
    "another layer": (at("/blobs/", body(b"x")), "is not what its digest says"),
    "an endless layer": (at("/blobs/", body(b"x" * 100_000)), "is not what its digest says"),
}


@pytest.mark.parametrize(("fault", "words"), FAULTS.values(), ids=FAULTS)
async def test_a_fault_is_told_and_leaves_nothing(bench: Bench, registry: StandIn, fault: Fault, words: str) -> None:
    first = registry.push("1.0", tarball(OLD))
    bench.api.put(spec(registry))
    await bench.run()
    if fault is FAULTS["layer drips"][0]:
        bench.api.put(spec(registry, timeout="1s"))
        await bench.run()
    before, known = files(bench.state), bench.status["artifact"]
    second = registry.push("1.0", tarball(NEW))
    registry.fault = fault
    outcome = await bench.run()
    assert (outcome.result, outcome.backoff) == ("failed", True)
    ready = bench.api.ready()
    assert ready[:2] == ("False", "OCIArtifactPullFailed")
    assert words in ready[2]
    assert "secret words" not in ready[2]
    assert bench.status["artifact"] == known
    assert bench.published[bench.key].revision == f"1.0@{first}"
    assert files(bench.state) == before
    registry.fault = None
    bench.api.put(spec(registry))
    assert (await bench.run()).message == f"1.0@{second}"
    assert bench.api.ready()[0] == "True"


def manifest(**changes: Any) -> bytes:
    layer = {"mediaType": "x", "digest": digest_of(b"x"), "size": 1}
    return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": layer, "layers": [layer], **changes}).encode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (manifest(layers=[{"digest": digest_of(b"x"), "size": 10**13}]), "has 10,000,000,000,000 bytes; 536,870,912 is the most"),
        (manifest(layers=[{"digest": digest_of(b"x"), "size": -1}]), "does not have the form of one"),
        (manifest(layers=[{"digest": "sha256:../../etc/passwd", "size": 1}]), "does not have the form of one"),
        (manifest(layers=[]), "no layers found in artifact"),
        (manifest(layers=7), "does not have the form of one"),
        (manifest(layers=[7]), "does not have the form of one"),
        (b'{"layers": ' + b"[" * 100_000, "no JSON"),
        (b"[]", "no JSON object"),
        (b'{"manifests": [7, {"platform": "linux"}]}', "has no manifest for linux/amd64"),
        (b'{"manifests": 7}', "has no manifest for linux/amd64"),
    ],
)
async def test_a_manifest_of_a_hostile_hand_is_refused(bench: Bench, registry: StandIn, content: bytes, words: str) -> None:
    digest = digest_of(content)

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=content, content_type=MANIFEST, headers={"Docker-Content-Digest": digest})

    registry.fault = at("/manifests/", answer)
    bench.api.put(spec(registry))
    assert (await bench.run()).result == "failed"
    assert words in bench.api.ready()[2]
    assert bench.key not in bench.published


async def test_a_tag_that_moves_between_the_requests_gives_what_it_was_first(bench: Bench, registry: StandIn) -> None:
    second = registry.push("next", tarball(NEW))
    first = registry.push("1.0", tarball(OLD))

    async def moves(request: web.Request) -> web.StreamResponse | None:
        if request.method == "HEAD":
            registry.tags["1.0"] = second
            return web.Response(headers={"Docker-Content-Digest": first})
        return None

    registry.fault = moves
    bench.api.put(spec(registry))
    assert (await bench.run()).message == f"1.0@{first}"
    assert GitTree.open(bench.published[bench.key]).read("a.yaml") == b"a: 1\n"  # what the digest names, not what the tag says by now
    registry.fault = None
    assert (await bench.run()).message == f"1.0@{second}"
    assert GitTree.open(bench.published[bench.key]).read("a.yaml") == b"a: 2\n"
