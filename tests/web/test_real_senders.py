"""Real senders on loopback against the real hooks port: what they send is what the recordings say. Nothing of ours stands between."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from receivers.contract import Event, GitPush, ImagePush
from receivers.record import load
from service.cluster.client import Cluster
from service.state.store import Store
from tests.peers.gitea import USER, Gitea
from tests.peers.registry import Registry
from tests.triggers.kube import Kube
from tests.triggers.scene import TOKEN
from tests.web.test_hooks import PATH, Scene, serving

pytestmark = pytest.mark.real
SECONDS = 15


@pytest.fixture(scope="module")
def gitea(peers: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gitea]:
    peers.need("gitea")
    with Gitea(tmp_path_factory.mktemp("gitea")) as host:
        yield host


async def until_events(scene: Scene, wanted: Callable[[list[Event]], bool]) -> list[Event]:
    """All events in the inbox, as soon as they are what is wanted."""
    async with asyncio.timeout(SECONDS):
        while True:
            events = [event for row in await scene.inbox.pending() for event in load(row.events_json)]
            if wanted(events):
                return events
            await asyncio.sleep(0.05)


def git(*words: str, cwd: Path) -> str:
    command = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.com", *words]
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True, timeout=30).stdout.strip()


@pytest.mark.parametrize("type_", ["gitea", "github"])
async def test_gitea_sends_a_push(store: Store, kube: Kube, cluster: Cluster, gitea: Gitea, tmp_path: Path, type_: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    name = f"fleet-{type_}"
    remote = await asyncio.to_thread(gitea.make_repository, name)
    async with serving(store, kube, cluster, type=type_, events=["push"]) as scene:
        await asyncio.to_thread(gitea.add_hook, name, url=f"http://{scene.port.address}{PATH}", secret=TOKEN.decode())
        git("init", "-q", "-b", "main", cwd=work)
        git("commit", "-q", "--allow-empty", "-m", "Begin", cwd=work)
        await asyncio.to_thread(git, "push", "-q", remote, "HEAD:refs/heads/main", cwd=work)
        (event,) = await until_events(scene, lambda events: len(events) == 1)
        assert isinstance(event, GitPush)
        assert (event.ref, event.after) == ("refs/heads/main", git("rev-parse", "HEAD", cwd=work))
        assert f"{gitea.url}/{USER}/{name}.git" in event.urls
        (row,) = await scene.inbox.pending()
        assert len(row.delivery_id) == 36
        await asyncio.to_thread(git, "push", "-q", remote, "HEAD:refs/tags/v1", cwd=work)
        events = await until_events(scene, lambda events: len(events) == 2)
        assert {event.ref for event in events if isinstance(event, GitPush)} == {"refs/heads/main", "refs/tags/v1"}


@asynccontextmanager
async def registry_beside(scene: Scene, folder: Path, token: str) -> AsyncIterator[Registry]:
    registry = Registry(folder, hook=f"http://{scene.port.address}{PATH}", token=token)
    await asyncio.to_thread(registry.__enter__)
    try:
        yield registry
    finally:
        await asyncio.to_thread(registry.__exit__)


async def test_a_registry_tells_of_pushes_and_pulls_run_nothing(
    store: Store, kube: Kube, cluster: Cluster, peers: Any, tmp_path: Path
) -> None:
    peers.need("registry")
    async with serving(store, kube, cluster, type="distribution") as scene, registry_beside(scene, tmp_path, TOKEN.decode()) as registry:
        digest = await asyncio.to_thread(registry.push, "team/shop", "1.0", b"hello")
        wanted = ImagePush(names=(f"{registry.host}/team/shop",), tag="1.0", digest=digest)
        assert await until_events(scene, bool) == [wanted]
        for _ in range(5):
            await asyncio.to_thread(registry.pull, "team/shop", "1.0")
        await asyncio.to_thread(registry.delete, "team/shop", digest)
        events = await until_events(scene, lambda events: len(events) > 1)
        assert all(isinstance(event, ImagePush) and event.deleted for event in events[1:])
        assert await scene.inbox.log.newest() != []
        assert {entry.state for entry in await scene.inbox.log.newest()} == {"queued", "filtered"}  # pulls are in the log and run nothing


async def test_a_registry_with_another_token_is_refused(store: Store, kube: Kube, cluster: Cluster, peers: Any, tmp_path: Path) -> None:
    peers.need("registry")
    async with serving(store, kube, cluster, type="distribution") as scene, registry_beside(scene, tmp_path, "guess") as registry:
        await asyncio.to_thread(registry.push, "team/shop", "1.0", b"hello")
        async with asyncio.timeout(SECONDS):
            while not await scene.inbox.log.newest():  # noqa: ASYNC110 - the disk tells nobody
                await asyncio.sleep(0.05)
        entry = await scene.last()
        assert (entry.state, entry.sender_type) == ("refused", "distribution")
        assert "token in the header" in entry.detail
        assert await scene.inbox.pending() == []
