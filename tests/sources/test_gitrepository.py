import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from service.cluster.client import Cluster
from service.cluster.discovery import Discovery
from service.gitserver import GitServer
from service.kinds.codec import decode
from service.kinds.meta import FINALIZER, REQUESTED_AT, ObjectKey
from service.kinds.source import GitRepository
from service.sources.artifact import ArtifactStore
from service.sources.gitrepository import GitOrigin
from service.sources.gitstore import GitStore
from service.sources.published import Published
from service.sources.reconciler import Needs, SourceReconciler
from service.sources.snapshot import Snapshot
from service.sources.tree import GitTree
from service.workers import Workers

KEY = ObjectKey(group="source.toolkit.fluxcd.io", kind="GitRepository", namespace="apps", name="fleet")


def merge(into: Any, patch: Any) -> Any:
    """https://www.rfc-editor.org/rfc/rfc7386"""
    if not isinstance(patch, dict):
        return patch
    found = dict(into) if isinstance(into, dict) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merge(found.get(name), value)
    return found


class Api:
    """The part of the Kubernetes API that one reconciler sees: one object, read and merge-patched."""

    def __init__(self) -> None:
        self.object: dict[str, Any] | None = None
        self.patches: list[dict[str, Any]] = []
        self.away = False

    def put(self, spec: dict[str, Any], **metadata: Any) -> None:
        before = self.object or {"metadata": {"generation": 0, "uid": "u-1", "finalizers": []}, "status": {"observedGeneration": -1}}
        self.object = {
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "GitRepository",
            "metadata": {**before["metadata"], "name": "fleet", "namespace": "apps", "resourceVersion": "1", **metadata},
            "spec": spec,
            "status": before["status"],
        }
        self.object["metadata"]["generation"] += 1

    async def answer(self, request: web.Request) -> web.Response:
        if self.away:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if request.path.endswith("/v1"):
            return web.json_response({"resources": [{"name": "gitrepositories", "namespaced": True, "kind": "GitRepository"}]})
        if self.object is None:
            return web.json_response({"kind": "Status", "code": 404, "reason": "NotFound", "message": "not found"}, status=404)
        if request.method == "PATCH":
            patch = await request.json()
            self.patches.append(patch)
            changed = merge(self.object, patch)
            changed["metadata"]["resourceVersion"] = str(int(self.object["metadata"]["resourceVersion"]) + 1)
            gone = "deletionTimestamp" in changed["metadata"] and not changed["metadata"]["finalizers"]
            self.object = None if gone else changed
            return web.json_response(changed)
        return web.json_response(self.object)

    def condition(self, kind: str) -> dict[str, Any] | None:
        assert self.object is not None
        return next((each for each in self.object["status"].get("conditions", ()) if each["type"] == kind), None)

    def ready(self) -> tuple[str, str, str]:
        found = self.condition("Ready")
        assert found is not None
        return found["status"], found["reason"], found["message"]


class Bench:
    """A reconciler with real parts around it; `restart` makes a new one on the same state folder."""

    def __init__(self, api: Api, cluster: Cluster, workers: Workers, state: Path) -> None:
        self.api, self.cluster, self.workers, self.state = api, cluster, workers, state
        self.secrets: dict[str, dict[str, bytes]] = {}
        self.when_told: Callable[[], object] = lambda: None
        self.restart()

    def restart(self, shadow: bool = False) -> None:
        self.revisions: list[str] = []
        self.events: list[tuple[str, str, str]] = []
        self.artifacts = ArtifactStore(self.state / "artifacts", "http://sluice", self.workers)
        self.published = Published(self.told)
        needs = Needs(
            cluster=self.cluster,
            discovery=Discovery(self.cluster),
            workers=self.workers,
            gitstore=GitStore(self.state / "git"),
            artifacts=self.artifacts,
            read_secret=self.read_secret,
            published=self.published,
            on_event=lambda event: self.events.append((event.severity, event.reason, event.message)),
        )
        self.reconciler = SourceReconciler(needs, GitOrigin(needs), shadow=shadow)

    def told(self, snapshot: Snapshot, triggers: object) -> None:
        self.revisions.append(snapshot.revision)
        self.when_told()

    async def read_secret(self, namespace: str, name: str) -> dict[str, bytes] | None:
        assert namespace == "apps"
        return self.secrets.get(name)

    async def run(self):
        self.api.patches.clear()
        return await self.reconciler.reconcile(KEY, ())

    @property
    def status(self) -> dict[str, Any]:
        assert self.api.object is not None
        return self.api.object["status"]


@pytest.fixture(scope="module")
def workers():
    pool = Workers(1)
    yield pool
    loop = asyncio.new_event_loop()
    loop.run_until_complete(pool.close())
    loop.close()


@pytest.fixture
async def bench(tmp_path, workers) -> AsyncIterator[Bench]:
    api = Api()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server = f"http://127.0.0.1:{runner.addresses[0][1]}"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    cluster = await Cluster.from_kubeconfig(tmp_path / "kubeconfig")
    try:
        yield Bench(api, cluster, workers, tmp_path / "state")
    finally:
        await cluster.close()
        await runner.cleanup()


def spec(url: str, **more: Any) -> dict[str, Any]:
    return {"url": url, "interval": "1m0s", "timeout": "10s", "ref": {"branch": "main"}, **more}


async def test_first_run_then_push_then_nothing(bench, remote):
    first = remote.commit({"a.yaml": "a: 1\n"}, message="Add a\n\nlong")
    bench.api.put(spec(remote.url))
    outcome = await bench.run()
    revision = f"main@sha1:{first}"
    assert (outcome.result, bench.revisions) == ("succeeded", [revision])
    assert timedelta(seconds=57) <= outcome.requeue_after <= timedelta(seconds=63)
    assert bench.api.ready() == ("True", "Succeeded", f"stored artifact for revision '{revision}'")
    assert bench.api.condition("ArtifactInStorage")["status"] == "True"
    assert bench.api.object["metadata"]["finalizers"] == [FINALIZER]
    status = bench.status
    assert status["observedGeneration"] == 1
    assert status["artifact"]["path"] == f"gitrepository/apps/fleet/{first}.tar.gz"
    assert status["artifact"]["digest"].startswith("sha256:")
    assert bench.artifacts.file(status["artifact"]["path"]).stat().st_size == status["artifact"]["size"]
    assert bench.events == [("info", "NewArtifact", "stored artifact for commit 'Add a'")]
    assert (await bench.run()).result == "unchanged"
    assert bench.api.patches == []

    second = remote.commit({"a.yaml": "a: 2\n"})
    assert (await bench.run()).result == "succeeded"
    assert len(bench.api.patches) == 1  # the one status patch
    assert bench.revisions == [revision, f"main@sha1:{second}"]
    assert GitTree.open(bench.published[KEY]).read("a.yaml") == b"a: 2\n"


async def test_consumers_are_told_before_anything_is_written(bench, remote):
    remote.commit({"a.yaml": "a: 1\n"})
    bench.api.put(spec(remote.url), finalizers=[FINALIZER])
    seen: list[tuple[int, bool]] = []
    bench.when_told = lambda: seen.append((len(bench.api.patches), (bench.state / "artifacts").exists()))
    await bench.run()
    assert seen == [(0, False)]
    assert len(bench.api.patches) == 1


async def test_restart_writes_nothing_and_needs_no_remote_for_the_snapshot(bench, remote):
    remote.commit({"a.yaml": "a: 1\n", ".sourceignore": "*.md\n"})
    bench.api.put(spec(remote.url))
    await bench.run()
    before = bench.published[KEY]
    bench.restart()
    assert (await bench.run()).result == "unchanged"
    assert bench.api.patches == []
    assert bench.events == []
    assert bench.revisions == [before.revision]
    assert bench.published[KEY] == before
    remote.bare.rename(remote.bare.with_name("away"))
    bench.restart()
    assert (await bench.run()).result == "failed"
    assert bench.published[KEY] == before


async def test_deleted_branch_keeps_the_last_artifact_then_recovers(bench, remote):
    commit = remote.commit({"a.yaml": "a: 1\n"})
    bench.api.put(spec(remote.url))
    await bench.run()
    artifact = bench.status["artifact"]
    remote.git("-C", str(remote.bare), "update-ref", "-d", "refs/heads/main")
    remote.git("push", "-q", "origin", "HEAD:refs/heads/other")
    outcome = await bench.run()
    assert (outcome.result, outcome.backoff) == ("failed", True)
    message = f"failed to checkout and determine revision: unable to clone '{remote.url}': couldn't find remote ref \"refs/heads/main\""
    assert bench.api.ready() == ("False", "GitOperationFailed", message)
    assert bench.api.condition("FetchFailed")["reason"] == "GitOperationFailed"
    assert bench.api.condition("Reconciling")["reason"] == "ProgressingWithRetry"
    assert bench.api.condition("ArtifactInStorage")["status"] == "True"
    assert bench.status["artifact"] == artifact
    assert bench.events[-1] == ("error", "GitOperationFailed", message)
    await bench.run()
    assert bench.api.patches == []  # the same failure again changes nothing
    assert len(bench.events) == 2
    remote.git("push", "-q", "origin", f"{commit}:refs/heads/main")
    assert (await bench.run()).result == "succeeded"
    assert bench.api.ready()[0] == "True"
    assert bench.api.condition("FetchFailed") is None
    assert bench.api.condition("Reconciling") is None
    assert bench.events[-1][:2] == ("info", "Succeeded")


async def test_forced_push_is_followed(bench, remote):
    first = remote.commit({"a.yaml": "a: 1\n"})
    remote.commit({"a.yaml": "a: 2\n"})
    bench.api.put(spec(remote.url))
    await bench.run()
    remote.git("push", "-q", "--force", "origin", f"{first}:refs/heads/main")
    await bench.run()
    assert bench.status["artifact"]["revision"] == f"main@sha1:{first}"
    assert bench.revisions[-1] == f"main@sha1:{first}"


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"url": "git@github.com:org/repo"}, "URLInvalid", "write https://github.com/org/repo"),
        ({"url": "https:///nohost"}, "URLInvalid", "no host"),
        ({"ref": {"branch": "evil:refs/heads/other"}}, "GitOperationFailed", "spec.ref.branch"),
        ({"verify": {"mode": "HEAD", "secretRef": {"name": "keys"}}}, "ValidationFailed", "spec.verify"),
        ({"ref": {"semver": ">=1.0.0"}}, "ValidationFailed", "spec.ref.semver"),
        ({"recurseSubmodules": True}, "ValidationFailed", "spec.recurseSubmodules"),
        ({"url": "ssh://git@host/x"}, "URLInvalid", "'ssh' is not supported"),
        ({"interval": "soon"}, "ValidationFailed", "spec.interval"),
    ],
)
async def test_what_is_not_carried_out_stalls(bench, changes, reason, words):
    bench.api.put(spec("http://127.0.0.1:1/a.git", **changes) if "url" not in changes else {**spec(""), **changes})
    outcome = await bench.run()
    assert (outcome.result, outcome.requeue_after) == ("stalled", None)
    status, why, message = bench.api.ready()
    assert (status, why) == ("False", reason)
    assert words in message
    assert bench.api.condition("Stalled")["status"] == "True"
    assert bench.api.condition("Reconciling") is None
    assert bench.status["observedGeneration"] == 1
    assert bench.revisions == []
    assert not list((bench.state / "git").iterdir())


async def test_secrets_missing_wrong_and_right(bench, remote):
    remote.commit({"a.yaml": "a: 1\n"})
    async with GitServer(root=remote.bare.parent, password="s3cret").serving() as base:
        bench.api.put(spec(f"{base}/fleet.git"))
        await bench.run()
        assert bench.api.ready()[1] == "AuthenticationFailed"
        bench.api.put(spec(f"{base}/fleet.git", secretRef={"name": "git"}))
        await bench.run()
        assert bench.api.ready()[1:] == ("AuthenticationFailed", "failed to get secret 'apps/git': secrets \"git\" not found")
        bench.secrets["git"] = {"username": b"git"}
        await bench.run()
        assert bench.api.ready()[1] == "AuthenticationFailed"
        assert "no password" in bench.api.ready()[2]
        bench.secrets["git"] = {"username": b"git", "password": b"wr0ng"}
        await bench.run()
        assert bench.api.ready()[1] == "AuthenticationFailed"
        assert "wr0ng" not in json.dumps(bench.status)
        bench.secrets["git"] = {"username": b"git", "password": b"s3cret"}
        assert (await bench.run()).result == "succeeded"
        bench.secrets["git"] = {"bearerToken": b"s3cret"}
        assert (await bench.run()).result == "unchanged"


async def test_suspend_and_requested_at(bench, remote):
    remote.commit({"a.yaml": "a: 1\n"})
    bench.api.put(spec(remote.url))
    await bench.run()
    bench.api.put(spec(remote.url, suspend=True), annotations={REQUESTED_AT: "now"})
    remote.commit({"a.yaml": "a: 2\n"})
    bench.restart()
    assert (await bench.run()).result == "suspended"
    assert bench.api.patches == [{"status": {"lastHandledReconcileAt": "now"}}]
    assert len(bench.revisions) == 1  # what was stored can still be built from
    assert (await bench.run()).result == "suspended"
    assert bench.api.patches == []
    bench.api.put(spec(remote.url), annotations={REQUESTED_AT: "later"})
    await bench.run()
    assert bench.status["lastHandledReconcileAt"] == "later"
    assert bench.status["observedGeneration"] == 3


async def test_spec_ignore_changes_the_snapshot_and_the_artifact(bench, remote):
    remote.commit({"a.yaml": "a: 1\n", "b.yaml": "b: 1\n"})
    bench.api.put(spec(remote.url))
    await bench.run()
    digest = bench.status["artifact"]["digest"]
    bench.api.put(spec(remote.url, ignore="/b.yaml\n"))
    await bench.run()
    assert bench.status["artifact"]["digest"] != digest
    assert bench.status["observedIgnore"] == "/b.yaml\n"
    assert len(bench.revisions) == 2
    assert GitTree.open(bench.published[KEY]).kind("b.yaml") is None
    bench.api.put(spec(remote.url))
    await bench.run()
    assert "observedIgnore" not in bench.status
    assert bench.status["artifact"]["digest"] == digest


async def test_damaged_artifact_is_rebuilt(bench, remote):
    remote.commit({"a.yaml": "a: 1\n"})
    bench.api.put(spec(remote.url))
    await bench.run()
    file = bench.artifacts.file(bench.status["artifact"]["path"])
    good = file.read_bytes()
    file.write_bytes(b"damaged")
    await bench.run()
    assert file.read_bytes() == good
    assert await bench.artifacts.intact(decode(GitRepository, bench.api.object).status.artifact)


async def test_disk_full_is_told_and_consumers_go_on(bench, remote):
    commit = remote.commit({"a.yaml": "a: 1\n"})
    (bench.state / "artifacts").write_text("a file where the folder should be")
    bench.api.put(spec(remote.url))
    outcome = await bench.run()
    assert (outcome.result, outcome.backoff) == ("failed", True)
    assert bench.api.ready()[1] == "ArchiveOperationFailed"
    assert bench.api.condition("StorageOperationFailed")["status"] == "True"
    assert bench.revisions == [f"main@sha1:{commit}"]
    (bench.state / "artifacts").unlink()
    assert (await bench.run()).result == "succeeded"
    assert bench.api.condition("StorageOperationFailed") is None


async def test_api_away_after_the_fetch_loses_nothing(bench, remote):
    commit = remote.commit({"a.yaml": "a: 1\n"})
    bench.api.put(spec(remote.url), finalizers=[FINALIZER])
    bench.when_told = lambda: setattr(bench.api, "away", True)
    outcome = await bench.run()
    assert outcome.result == "failed"
    assert outcome.requeue_after < timedelta(seconds=5)
    bench.api.away = False
    assert (await bench.run()).result == "succeeded"
    assert bench.status["artifact"]["revision"] == f"main@sha1:{commit}"
    assert bench.revisions == [f"main@sha1:{commit}"]
    assert [reason for _, reason, _ in bench.events] == ["NewArtifact"]


async def test_deletion_removes_everything_and_lets_go(bench, remote):
    remote.commit({"a.yaml": "a: 1\n"})
    bench.api.put(spec(remote.url))
    await bench.run()
    bench.api.object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert (await bench.run()).result == "gone"
    assert bench.api.object is None
    assert dict(bench.published) == {}
    assert not list((bench.state / "git").iterdir())
    assert not (bench.state / "artifacts" / "gitrepository" / "apps" / "fleet").exists()
    assert (await bench.run()).result == "gone"


async def test_deletion_of_an_object_that_cannot_be_read(bench):
    bench.api.put(spec("http://127.0.0.1:1/a.git", interval="soon"), finalizers=[FINALIZER], deletionTimestamp="2026-01-01T00:00:00Z")
    assert (await bench.run()).result == "gone"
    assert bench.api.object is None


async def test_shadow_computes_and_writes_nothing(bench, remote):
    commit = remote.commit({"a.yaml": "a: 1\n"})
    bench.api.put(spec(remote.url))
    bench.restart(shadow=True)
    outcome = await bench.run()
    assert outcome.message == f"would store main@sha1:{commit}"
    assert bench.revisions == [f"main@sha1:{commit}"]
    assert (bench.api.patches, bench.events) == ([], [])
    assert not (bench.state / "artifacts").exists()
    remote.bare.rename(remote.bare.with_name("away"))
    assert (await bench.run()).result == "failed"
    assert (bench.api.patches, bench.events) == ([], [])
