import hashlib
import os
import tarfile
import time
from dataclasses import replace

import pytest

from service.sources.artifact import ArtifactStore, archive
from service.sources.openrepo import SnapshotGone
from service.workers import Workers


@pytest.fixture
async def workers():
    pool = Workers(1)
    yield pool
    await pool.close()


def test_tarball_is_like_flux_makes_it(history, tmp_path):
    history.commit({"b.sh": "#!/bin/sh\n", "apps/a.yaml": "a: 1\n", "apps/x.png": "1", "é/y.yaml": "y"})
    history.remote.git("update-index", "--chmod=+x", "b.sh")
    history.remote.git("commit", "-q", "-m", "mode")
    history.raw(b"link", "120000", b"b.sh")
    history.raw(b"\xff.yaml")
    done = archive(history.snapshot(), tmp_path / "one" / "a.tar.gz")
    with tarfile.open(tmp_path / "one" / "a.tar.gz") as tar:
        entries = [(entry.name, oct(entry.mode), entry.isdir()) for entry in tar]
        assert {(entry.mtime, entry.uid, entry.gid, entry.uname) for entry in tar} == {(0, 0, 0, "")}
        assert tar.extractfile("apps/a.yaml").read() == b"a: 1\n"
    assert entries == [
        (".", "0o750", True),
        ("apps", "0o750", True),
        ("apps/a.yaml", "0o600", False),
        ("b.sh", "0o700", False),
        ("é", "0o750", True),
        ("é/y.yaml", "0o600", False),
    ]
    content = (tmp_path / "one" / "a.tar.gz").read_bytes()
    assert (done.digest, done.size, done.skipped) == (f"sha256:{hashlib.sha256(content).hexdigest()}", len(content), 1)
    assert archive(history.snapshot(), tmp_path / "b.tar.gz") == done


def test_nothing_half_is_left(history, tmp_path):
    snapshot = history.commit({"a.yaml": "1"})
    blob = history.remote.git("rev-parse", "HEAD:a.yaml")
    (snapshot.store_path / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(SnapshotGone):
        archive(snapshot, tmp_path / "a.tar.gz")
    assert list(tmp_path.glob("*.tar.gz*")) + list(tmp_path.glob(".*")) == []


async def test_store_checks_and_serves(history, tmp_path, workers):
    store = ArtifactStore(tmp_path / "artifacts", "http://sluice.flux-system/", workers)
    snapshot = history.commit({"a.yaml": "1"})
    artifact = await store.store(snapshot)
    assert artifact.path == f"gitrepository/apps/fleet/{snapshot.commit}.tar.gz"
    assert artifact.url == f"http://sluice.flux-system/{artifact.path}"
    assert artifact.revision == snapshot.revision
    file = store.file(artifact.path)
    assert file is not None
    assert file.stat().st_size == artifact.size
    assert await store.intact(artifact)
    file.write_bytes(b"damaged")
    assert not await store.intact(artifact)
    assert store.file(artifact.path) is None
    assert not await store.intact(artifact)
    (tmp_path / "outside").write_text("secret")
    assert store.file("../outside") is None
    assert store.file("/etc/passwd") is None
    assert store.file("gitrepository") is None


async def test_old_files_go_and_the_current_one_never(history, tmp_path, workers):
    store = ArtifactStore(tmp_path, "http://x", workers)
    folder = tmp_path / "gitrepository" / "apps" / "fleet"
    folder.mkdir(parents=True)
    now = time.time()
    for name, age in (("current", 900), ("new", 5), ("newer", 1), ("old", 61)):
        (folder / name).touch()
        os.utime(folder / name, (now - age, now - age))
    assert await store.collect(history.key, "gitrepository/apps/fleet/current") == 2
    assert sorted(path.name for path in folder.iterdir()) == ["current", "newer"]
    await store.remove(history.key)
    await store.remove(replace(history.key, name="never"))
    assert not folder.exists()
