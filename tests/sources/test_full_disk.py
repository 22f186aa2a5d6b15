"""The disk is full: the condition says so, nothing half is kept, and the next run with room goes well by itself.

On a small tmpfs, which needs a mount; where that is not allowed the tests are skipped.
"""

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.sources.tree import GitTree
from tests.sources.bench import Bench, opened
from tests.sources.registry import served as registry
from tests.sources.registry import tarball
from tests.sources.s3 import served as s3

ROOM = 8 * 2**20
BIG = random.Random(1).randbytes(9 * 2**20)
SMALL = random.Random(2).randbytes(2**19)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """The state folder on a disk of eight MiB."""
    folder = tmp_path / "state"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


async def full(bench: Bench, words: str) -> None:
    """A run that fails for want of room, and says so; the last good content is what consumers have."""
    before, known = dict(bench.status["artifact"]), bench.published[bench.key]
    assert (await bench.run()).result == "failed"
    status, _, message = bench.api.ready()
    assert status == "False"
    assert "No space left on device" in message
    assert words in message
    assert bench.api.condition("StorageOperationFailed")["status"] == "True"
    assert bench.status["artifact"] == before
    assert bench.published[bench.key] == known
    assert [path for path in (bench.state / "git").rglob("*") if path.name.startswith(("tmp_", "layer", "objects-"))] == []


async def test_a_bucket(disk, tmp_path, workers):
    async with opened("Bucket", tmp_path, workers) as bench, s3() as store:
        store.objects["a.bin"] = SMALL
        bench.api.put({"bucketName": "apps", "endpoint": store.host, "insecure": True, "interval": "1m0s", "timeout": "10s"})
        assert (await bench.run()).result == "succeeded"
        store.objects["b.bin"] = BIG
        await full(bench, "bucket 'apps'")
        store.objects["b.bin"] = SMALL[: 2**18]
        assert (await bench.run()).result == "succeeded"
        assert GitTree.open(bench.published[bench.key]).read("b.bin") == SMALL[: 2**18]
        assert list(disk.glob("git/*/objects-*")) == []


async def test_an_artifact_of_a_registry(disk, tmp_path, workers):
    async with opened("OCIRepository", tmp_path, workers) as bench, registry() as store:
        store.push("latest", tarball({"a.bin": SMALL}))
        bench.api.put({"url": f"oci://{store.host}/team/app", "insecure": True, "interval": "1m0s"})
        assert (await bench.run()).result == "succeeded", bench.api.ready()
        store.push("latest", tarball({"b.bin": BIG}))
        await full(bench, "failed to store the layer sha256:")
        store.push("latest", tarball({"b.bin": b"small"}))
        assert (await bench.run()).result == "succeeded"
        assert GitTree.open(bench.published[bench.key]).read("b.bin") == b"small"
        assert list(disk.glob("git/*/layer-*")) == []


async def test_a_layer_that_only_grows_too_large_unpacked(disk, tmp_path, workers):
    async with opened("OCIRepository", tmp_path, workers) as bench, registry() as store:
        store.push("latest", tarball({"a.bin": b"a"}))
        bench.api.put({"url": f"oci://{store.host}/team/app", "insecure": True, "interval": "1m0s"})
        assert (await bench.run()).result == "succeeded", bench.api.ready()
        files = {f"{number}.bin": random.Random(number).randbytes(100) for number in range(3000)}  # a block each
        store.push("latest", tarball(files))
        await full(bench, "failed to store the layer sha256:")
        store.push("latest", tarball({"b.bin": b"small"}))
        assert (await bench.run()).result == "succeeded"


async def test_a_repository(disk, tmp_path, workers, remote):
    async with opened("GitRepository", tmp_path, workers) as bench:
        remote.commit({"a.yaml": "a: 1\n"})
        bench.api.put({"url": remote.url, "interval": "1m0s", "ref": {"branch": "main"}})
        assert (await bench.run()).result == "succeeded", bench.api.ready()
        (remote.work / "big.bin").write_bytes(BIG)
        remote.commit({})
        before = dict(bench.status["artifact"])
        assert (await bench.run()).result == "failed"
        assert "No space left on device" in bench.api.ready()[2]
        assert bench.status["artifact"] == before
        remote.git("rm", "-q", "--cached", "big.bin")
        (remote.work / "big.bin").unlink()
        remote.git("commit", "-q", "--amend", "--allow-empty", "-m", "small")
        commit = remote.commit({"b.yaml": "b: 1\n"})
        assert (await bench.run()).result == "succeeded", bench.api.ready()
        assert bench.published[bench.key].commit == commit
