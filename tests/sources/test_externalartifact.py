"""ExternalArtifact: what others have made is built from only with the digest that they say."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from service.cluster.discovery import Discovery
from service.kinds.meta import ObjectKey
from service.outbound import Outbound, Policy
from service.sources.artifact import ArtifactStore
from service.sources.externalartifact import ExternalArtifactReconciler
from service.sources.gitstore import GitStore
from service.sources.published import Published
from service.sources.reconciler import Needs
from service.sources.tree import GitTree
from tests.sources.bench import opened
from tests.sources.registry import tarball

KEY = ObjectKey(group="source.toolkit.fluxcd.io", kind="ExternalArtifact", namespace="apps", name="made")


class Maker:
    """Serves artifacts and says so in the object's status."""

    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.object: dict[str, Any] | None = None
        self.revisions: list[str] = []
        self.events: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        found = self.files.get(request.path)
        return web.Response(body=found) if found is not None else web.Response(status=404)

    def make(self, revision: str, content: bytes, *, digest: str = "", url: str = "") -> None:
        path = f"/{revision}.tar.gz"
        self.files[path] = content
        artifact = {
            "path": path,
            "url": url or f"{self.url}{path}",
            "revision": revision,
            "digest": digest or f"sha256:{hashlib.sha256(content).hexdigest()}",
            "lastUpdateTime": "2026-11-21T10:00:00Z",
        }
        metadata = {"name": "made", "namespace": "apps", "uid": "u-1", "generation": 1, "resourceVersion": "1"}
        kind = {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "ExternalArtifact"}
        self.object = {**kind, "metadata": metadata, "spec": {}, "status": {"artifact": artifact}}


@pytest.fixture
async def maker() -> AsyncIterator[Maker]:
    made = Maker()
    app = web.Application()
    app.router.add_route("GET", "/{path:.*}", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def needs(tmp_path, workers, maker) -> AsyncIterator[Needs]:
    async with opened("GitRepository", tmp_path, workers) as bench:
        yield Needs(
            cluster=bench.cluster,
            discovery=Discovery(bench.cluster),
            workers=workers,
            gitstore=GitStore(tmp_path / "git"),
            artifacts=ArtifactStore(tmp_path / "artifacts", "http://sluice", workers),
            published=Published(lambda snapshot, _: maker.revisions.append(snapshot.revision)),
            outbound=Outbound(Policy(loopback=True)),
            read_secret=bench.read_secret,
            read_pull_secrets=bench.read_pull_secrets,
            on_event=lambda event: maker.events.append(event.message),
            read=lambda _: maker.object,
        )


async def test_made_and_made_again(needs, maker):
    reconciler = ExternalArtifactReconciler(needs)
    maker.make("latest@sha256:1", tarball({"a.yaml": b"a: 1\n", "logo.png": b"png"}))
    assert (await reconciler.reconcile(KEY, ())).result == "succeeded"
    tree = GitTree.open(needs.published[KEY])
    assert (tree.read("a.yaml"), tree.read("logo.png")) == (b"a: 1\n", b"png")
    assert (await reconciler.reconcile(KEY, ())).result == "unchanged"
    maker.make("latest@sha256:2", tarball({"a.yaml": b"a: 2\n"}))
    await reconciler.reconcile(KEY, ())
    assert maker.revisions == ["latest@sha256:1", "latest@sha256:2"]
    assert len(maker.asked) == 2


async def test_a_restart_downloads_nothing(needs, maker):
    maker.make("1", tarball({"a.yaml": b"a: 1\n"}))
    await ExternalArtifactReconciler(needs).reconcile(KEY, ())
    needs.published.forget(KEY)
    assert (await ExternalArtifactReconciler(needs).reconcile(KEY, ())).result == "succeeded"
    assert len(maker.asked) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"digest": "sha256:" + "0" * 64}, "has another digest than its status says"),
        ({"digest": "blake3:" + "0" * 64}, "is of a kind that is not carried out"),
        ({"url": "http://169.254.169.254/latest/meta-data"}, "metadata"),
        ({"url": "file:///etc/passwd"}, "must begin with https"),
    ],
)
async def test_what_cannot_be_used_is_told_once_and_not_published(needs, maker, changes, words):
    reconciler = ExternalArtifactReconciler(needs)
    maker.make("1", tarball({"a.yaml": b"a: 1\n"}), **changes)
    for _ in range(2):
        outcome = await reconciler.reconcile(KEY, ())
        assert (outcome.result, outcome.backoff) == ("failed", True)
    assert maker.revisions == []
    (told,) = maker.events
    assert words in told


async def test_gone(needs, maker):
    reconciler = ExternalArtifactReconciler(needs)
    maker.make("1", tarball({"a.yaml": b"a: 1\n"}))
    await reconciler.reconcile(KEY, ())
    maker.object = None
    assert (await reconciler.reconcile(KEY, ())).result == "gone"
    assert KEY not in needs.published
