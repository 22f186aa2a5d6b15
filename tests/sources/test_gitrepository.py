import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from service.gitserver import GitServer
from service.kinds.codec import decode
from service.kinds.meta import FINALIZER, REQUESTED_AT, ObjectKey
from service.kinds.source import GitRepository
from service.sources.tree import GitTree
from tests.sources.bench import Bench, opened

KEY = ObjectKey(group="source.toolkit.fluxcd.io", kind="GitRepository", namespace="apps", name="fleet")


@pytest.fixture
async def bench(tmp_path, workers) -> AsyncIterator[Bench]:
    async with opened("GitRepository", tmp_path, workers) as made:
        yield made


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
        ({"url": "git@github.com:org/repo"}, "URLInvalid", "write ssh://git@github.com/org/repo"),
        ({"url": "https:///nohost"}, "URLInvalid", "no host"),
        ({"ref": {"branch": "evil:refs/heads/other"}}, "GitOperationFailed", "spec.ref.branch"),
        ({"verify": {"mode": "HEAD"}}, "ValidationFailed", "spec.verify.secretRef is missing"),
        ({"verify": {"mode": "Tag", "secretRef": {"name": "keys"}}}, "InvalidVerificationMode", "a tag reference is not specified"),
        ({"ref": {"semver": ">=one"}}, "GitOperationFailed", "spec.ref.semver"),
        ({"proxySecretRef": {"name": "proxy"}}, "GitOperationFailed", "spec.proxySecretRef"),
        ({"url": "ftp://host/x"}, "URLInvalid", "'ftp' is not supported"),
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


async def test_a_range_of_versions_is_named_by_its_tag_also_after_a_restart(bench, remote):
    commit = remote.commit({"a.yaml": "a: 1\n"})
    remote.git("push", "-q", "origin", "HEAD:refs/tags/v1.2.3")
    bench.api.put(spec(remote.url, ref={"semver": "^1.2"}))
    await bench.run()
    revision = f"v1.2.3@sha1:{commit}"
    assert (bench.status["artifact"]["revision"], bench.revisions) == (revision, [revision])
    bench.restart()
    remote.bare.rename(remote.bare.with_name("gone.git"))
    await bench.run()
    assert bench.revisions == [revision]


async def test_a_proxy_that_cannot_be_used_says_so(bench):
    bench.api.put(spec("https://127.0.0.1:1/a.git", proxySecretRef={"name": "proxy"}))
    await bench.run()
    assert 'secrets "proxy" not found' in bench.api.ready()[2]
    bench.secrets["proxy"] = {"address": b"socks4://127.0.0.1:1"}
    await bench.run()
    assert bench.api.ready()[1:] == (
        "AuthenticationFailed",
        "failed to configure proxy options: secret 'apps/proxy': the proxy's address is no URL of http, https, socks5 "
        "or socks5h: other kinds are not carried out",
    )
    bench.secrets["proxy"] = {"address": b"http://127.0.0.1:1", "username": b"me", "password": b"s3cret"}
    await bench.run()
    assert "s3cret" not in str(bench.api.object)
    assert bench.api.ready()[1] == "GitOperationFailed"
