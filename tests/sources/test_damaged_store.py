"""Whatever of a store is damaged while the service runs, the next runs put it right: for content that is new, and for the same."""

import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from service.reconcile.queue import Trigger
from service.sources import packs
from service.sources.openrepo import SnapshotGone
from service.sources.powerloss import drop_cut_objects
from service.sources.tarball import MISSED
from service.sources.tree import GitTree
from tests.sources.bench import Bench, opened
from tests.sources.registry import served as registry
from tests.sources.registry import tarball
from tests.sources.s3 import served as s3

RUNS = 3
Change = Callable[[str], Awaitable[None]]


def cut(path: Path) -> None:
    """By a new file: a mapped one that shrinks would end the process, and no disk does that."""
    half = path.with_name("half")
    half.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    half.replace(path)


def objects(store: Path) -> list[Path]:
    return [path for path in (store / "objects").glob("[0-9a-f][0-9a-f]/*")]


def all_spoilt(store: Path) -> None:
    for path in objects(store):
        path.unlink()
        path.write_bytes(b"spoilt")


def all_packed(store: Path, suffix: str) -> None:
    """As after a quiet night, and then the pack is damaged."""
    packs.pack(store)
    packs.drop(store)
    for path in (store / "objects" / "pack").glob(f"*{suffix}"):
        cut(path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no HEAD": lambda store: (store / "HEAD").unlink(),
    "no config": lambda store: (store / "config").unlink(),
    "no objects": lambda store: shutil.rmtree(store / "objects"),
    "no refs": lambda store: shutil.rmtree(store / "refs"),
    "spoilt objects": all_spoilt,
    "cut pack": lambda store: all_packed(store, ".pack"),
    "cut index": lambda store: all_packed(store, ".idx"),
    "gone": lambda store: shutil.rmtree(store),
}


async def healed(bench: Bench, change: Change, damage: str) -> None:
    await change("one")
    assert (await bench.run()).result == "succeeded", bench.api.ready()
    store = bench.published[bench.key].store_path
    DAMAGES[damage](store)
    if damage not in ("no HEAD", "no config", "no refs"):  # those do not concern what is there already
        (bench.state / "artifacts" / bench.status["artifact"]["path"]).unlink()
        assert await settles(bench, "one"), bench.api.ready()
        DAMAGES[damage](bench.published[bench.key].store_path)
    await change("two")
    assert await settles(bench, "two"), bench.api.ready()


async def settles(bench: Bench, content: str) -> bool:
    """Whether some runs end with the content for consumers, in the store and as a file."""
    for _ in range(RUNS):
        await bench.run()
        try:
            read = GitTree.open(bench.published[bench.key]).read("a.yaml")
        except SnapshotGone:
            continue
        file = bench.state / "artifacts" / bench.status["artifact"]["path"]
        if read == content.encode() and file.is_file() and bench.api.ready()[0] == "True":
            return True
    return False


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_bucket(tmp_path, workers, damage):
    async with opened("Bucket", tmp_path, workers) as bench, s3() as store:

        async def change(content: str) -> None:
            store.objects["a.yaml"] = content.encode()

        bench.api.put({"bucketName": "apps", "endpoint": store.host, "insecure": True, "interval": "1m0s", "timeout": "10s"})
        store.objects["same.yaml"] = b"same"
        await healed(bench, change, damage)


@pytest.mark.parametrize("damage", DAMAGES)
async def test_an_artifact_of_a_registry(tmp_path, workers, damage):
    async with opened("OCIRepository", tmp_path, workers) as bench, registry() as store:

        async def change(content: str) -> None:
            store.push("latest", tarball({"a.yaml": content.encode(), "same.yaml": b"same"}))

        bench.api.put({"url": f"oci://{store.host}/team/app", "insecure": True, "interval": "1m0s"})
        await healed(bench, change, damage)


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_repository(tmp_path, workers, remote, damage):
    async with opened("GitRepository", tmp_path, workers) as bench:

        async def change(content: str) -> None:
            remote.commit({"a.yaml": content})

        bench.api.put({"url": remote.url, "interval": "1m0s", "ref": {"branch": "main"}})
        await healed(bench, change, damage)


def unpacked(store: Path) -> None:
    """Every object in a file of its own."""
    for pack in (store / "objects" / "pack").glob("*.pack"):
        away = pack.rename(store / "away.pack")
        pack.with_suffix(".idx").unlink()
        with away.open("rb") as content:
            subprocess.run(["git", "unpack-objects", "-q"], cwd=store, stdin=content, check=True)


async def missed(bench: Bench) -> None:
    """The root's tree is there, a file's content is not: only who builds notices."""
    await bench.run()
    snapshot = bench.published[bench.key]
    oid = GitTree.open(snapshot).blob_id("a.yaml")
    unpacked(snapshot.store_path)
    (snapshot.store_path / "objects" / oid[:2] / oid[2:]).unlink()
    assert (await bench.run()).result == "unchanged"
    await bench.run(triggers=(Trigger(reason=MISSED),))
    assert GitTree.open(bench.published[bench.key]).read("a.yaml") == b"one"


async def test_what_a_consumer_misses_of_a_bucket_is_fetched_again(tmp_path, workers):
    async with opened("Bucket", tmp_path, workers) as bench, s3() as store:
        store.objects["a.yaml"] = b"one"
        bench.api.put({"bucketName": "apps", "endpoint": store.host, "insecure": True, "interval": "1m0s", "timeout": "10s"})
        await missed(bench)


async def test_what_a_consumer_misses_of_a_repository_is_fetched_again(tmp_path, workers, remote):
    async with opened("GitRepository", tmp_path, workers) as bench:
        remote.commit({"a.yaml": "one"})
        bench.api.put({"url": remote.url, "interval": "1m0s", "ref": {"branch": "main"}})
        await missed(bench)


@pytest.mark.parametrize("left", [0, 1, 10, -1])
async def test_what_was_lost_with_the_power_is_fetched_again(tmp_path, workers, left):
    """libgit2 itself would never end on such an object."""
    async with opened("Bucket", tmp_path, workers) as bench, s3() as store:
        store.objects |= {"a.yaml": b"one", "b.yaml": b"two" * 1000}
        bench.api.put({"bucketName": "apps", "endpoint": store.host, "insecure": True, "interval": "1m0s", "timeout": "10s"})
        await bench.run()
        for path in objects(bench.published[bench.key].store_path):
            whole = path.read_bytes()
            path.unlink()
            path.write_bytes(whole[:left])
        (bench.state / "git.boot").write_text("an earlier boot")
        bench.restart()
        assert objects(next((bench.state / "git").iterdir())) == []
        assert await settles(bench, "one"), bench.api.ready()


def test_the_same_boot_looks_at_nothing(tmp_path):
    folder = tmp_path / "git" / "store" / "objects" / "17"
    folder.mkdir(parents=True)
    (folder / "cut").write_bytes(b"cut")
    (tmp_path / "note").write_text("this boot")
    assert drop_cut_objects(tmp_path / "git", tmp_path / "note", "this boot") == 0
    assert drop_cut_objects(tmp_path / "git", tmp_path / "note", "the next") == 1
    assert drop_cut_objects(tmp_path / "git", tmp_path / "note", "") == 0
