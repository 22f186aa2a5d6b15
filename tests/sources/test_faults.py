"""A remote that is slow, hangs or breaks off in the middle: said in time, nothing half stored, and the next success makes up for it."""

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.sources.bench import Bench, opened
from tests.sources.conftest import Remote
from tests.sources.registry import served as registry_served
from tests.sources.registry import tarball
from tests.sources.s3 import served as bucket_served

TIMEOUT = 1.5
REASONS = {"GitRepository": "GitOperationFailed", "OCIRepository": "OCIArtifactPullFailed", "Bucket": "BucketOperationFailed"}


class Line:
    """A way to a remote that passes `most` bytes of answers for each connection, then does what `fault` says."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.fault, self.most = "", 0
        self._over = asyncio.Event()
        self._open: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        self._over.set()
        if self._open:
            await asyncio.wait(self._open)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        there, towards = await asyncio.open_connection("127.0.0.1", self._port)
        ways = (asyncio.create_task(self._ask(reader, towards)), asyncio.create_task(self._answer(there, writer)))
        over = asyncio.create_task(self._over.wait())
        await asyncio.wait((*ways, over), return_when=asyncio.FIRST_COMPLETED)
        for each in (*ways, over):
            each.cancel()
        await asyncio.wait((*ways, over))
        for each in (writer, towards):
            each.transport.abort()
        self._open.discard(task)

    async def _ask(self, reader: asyncio.StreamReader, towards: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(2**16):
                towards.write(data)

    async def _answer(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = self.most
        while data := await there.read(2**16):
            if not self.fault:
                writer.write(data)
                continue
            writer.write(data[:left])
            data, left = data[left:], max(0, left - len(data))
            if not data:
                continue
            if self.fault == "cut":
                return
            for at in range(len(data) if self.fault == "slow" else 0):
                writer.write(data[at : at + 1])
                await asyncio.sleep(1)
            await asyncio.sleep(60)


class Scene:
    """A source that was stored once, the way to its remote, and `change`, which makes the next revision there."""

    def __init__(self, bench: Bench, line: Line, change: Callable[[], Any]) -> None:
        self.bench, self.line, self.change = bench, line, change

    def files(self) -> dict[str, int]:
        """What consumers can see."""
        folder = self.bench.state / "artifacts"
        return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def content(number: int) -> bytes:
    return f"a: {number}\n".encode() + os.urandom(60_000).hex().encode()


async def _git(stack: AsyncExitStack, remote: Remote) -> tuple[int, Callable[[], Any], Callable[[int], dict[str, Any]]]:
    numbers = iter(range(100))

    def change() -> None:
        remote.commit({"a.yaml": content(next(numbers)).decode()})

    def spec(port: int) -> dict[str, Any]:
        return {"url": f"http://127.0.0.1:{port}/fleet.git", "ref": {"branch": "main"}}

    return int(remote.url.rsplit(":", 1)[1].partition("/")[0]), change, spec


async def _registry(stack: AsyncExitStack, _remote: Remote) -> tuple[int, Callable[[], Any], Callable[[int], dict[str, Any]]]:
    registry, numbers = await stack.enter_async_context(registry_served()), iter(range(100))

    def change() -> None:
        registry.push("latest", tarball({"a.yaml": content(next(numbers))}))

    return int(registry.host.rpartition(":")[2]), change, lambda port: {"url": f"oci://127.0.0.1:{port}/team/app", "insecure": True}


async def _bucket(stack: AsyncExitStack, _remote: Remote) -> tuple[int, Callable[[], Any], Callable[[int], dict[str, Any]]]:
    store, numbers = await stack.enter_async_context(bucket_served()), iter(range(100))

    def change() -> None:
        store.objects["a.yaml"] = content(next(numbers))

    return (
        int(store.host.rpartition(":")[2]),
        change,
        lambda port: {"bucketName": "apps", "endpoint": f"127.0.0.1:{port}", "insecure": True},
    )


@pytest.fixture(params=["GitRepository", "OCIRepository", "Bucket"])
async def scene(request: pytest.FixtureRequest, tmp_path: Path, workers: Any, remote: Remote) -> AsyncIterator[Scene]:
    kind = request.param
    async with AsyncExitStack() as stack:
        make = {"GitRepository": _git, "OCIRepository": _registry, "Bucket": _bucket}[kind]
        port, change, spec = await make(stack, remote)
        await asyncio.to_thread(change)
        line = Line(port)
        server = await asyncio.start_server(line.take, "127.0.0.1", 0)
        stack.push_async_callback(line.close)
        stack.callback(server.close)
        bench = await stack.enter_async_context(opened(kind, tmp_path, workers))
        bench.api.put({**spec(server.sockets[0].getsockname()[1]), "interval": "1m0s", "timeout": f"{TIMEOUT}s"})
        assert (await bench.run()).result == "succeeded"
        yield Scene(bench, line, change)


@pytest.mark.parametrize(("fault", "most"), [("slow", 2000), ("hang", 2000), ("cut", 150), ("cut", 2000)])
async def test_what_fails_on_the_way_is_said_and_leaves_nothing(scene: Scene, fault: str, most: int) -> None:
    bench, before = scene.bench, (scene.bench.status["artifact"], scene.files(), scene.bench.published[scene.bench.key])
    await asyncio.to_thread(scene.change)
    scene.line.fault, scene.line.most = fault, most
    began = time.monotonic()
    outcome = await bench.run()
    assert time.monotonic() - began < TIMEOUT + 3
    assert (outcome.result, outcome.backoff) == ("failed", True)
    status, reason, message = bench.api.ready()
    assert (status, reason) == ("False", REASONS[bench.api.kind])
    assert bench.api.condition("FetchFailed")["message"] == message
    assert len(message) < 400
    assert "Traceback" not in message
    assert (bench.status["artifact"], scene.files(), bench.published[bench.key]) == before
    assert len([severity for severity, *_ in bench.events if severity == "error"]) == 1

    scene.line.fault = ""
    assert (await bench.run()).result == "succeeded"
    assert bench.api.ready()[0] == "True"
    assert bench.api.condition("FetchFailed") is None
    assert bench.status["artifact"]["revision"] != before[0]["revision"]
    for store in (bench.state / "git").iterdir():
        done = await asyncio.to_thread(subprocess.run, ("git", "-C", str(store), "fsck", "--full"), capture_output=True, text=True)
        assert (done.returncode, "missing" in done.stdout) == (0, False), done.stdout + done.stderr
        assert not list(store.rglob("tmp_*"))
