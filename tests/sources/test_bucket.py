"""Bucket against a stand-in object store: what is fetched, when nothing is, and what each fault leaves behind."""

import hashlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.sources.snapshot import changed_paths
from service.sources.tree import GitTree
from tests.sources.bench import Bench, opened
from tests.sources.s3 import KEY, SECRET, StandIn, served

OBJECTS = {"apps/a.yaml": b"a: 1\n", "apps/b.yaml": b"b: 1\n", "logo.png": b"png", "odd/../key": b"", "other/c.yaml": b"c: 1\n"}


@pytest.fixture
async def bench(tmp_path, workers) -> AsyncIterator[Bench]:
    async with opened("Bucket", tmp_path, workers) as made:
        yield made


@pytest.fixture
async def store() -> AsyncIterator[StandIn]:
    async with served() as made:
        made.objects.update({key: content for key, content in OBJECTS.items() if ".." not in key})
        yield made


def spec(store: StandIn, **more: Any) -> dict[str, Any]:
    return {"bucketName": "apps", "endpoint": store.host, "insecure": True, "interval": "1m0s", "timeout": "10s", **more}


async def test_first_run_then_a_change_then_nothing(bench, store):
    bench.api.put(spec(store))
    assert (await bench.run()).result == "succeeded"
    lines = "".join(f"{key} {store.etag(key)}\n" for key in sorted(store.objects))
    digest = hashlib.sha256(lines.encode()).hexdigest()
    assert bench.api.ready() == ("True", "Succeeded", f"stored artifact: revision 'sha256:{digest}'")
    assert bench.status["artifact"]["path"] == f"bucket/apps/fleet/{digest}.tar.gz"
    assert bench.status["url"] == "http://sluice/bucket/apps/fleet/latest.tar.gz"
    assert (bench.state / "artifacts/bucket/apps/fleet/latest.tar.gz").readlink().name == f"{digest}.tar.gz"
    first = bench.published[bench.key]
    assert GitTree.open(first).read("logo.png") == b"png"  # nothing is left out by itself
    assert [message for _, _, message in bench.events] == ["stored artifact with 4 fetched files from 'apps' bucket"]

    store.asked.clear()
    assert (await bench.run()).result == "unchanged"
    assert store.asked == ["GET list", "GET list"]

    store.objects["apps/b.yaml"] = b"b: 2\n"
    del store.objects["other/c.yaml"]
    store.asked.clear()
    assert (await bench.run()).result == "succeeded"
    assert [each for each in store.asked if each != "GET list"] == ["GET apps/b.yaml"]  # one object has changed, one is fetched
    assert changed_paths(first, bench.published[bench.key]) == ("apps/b.yaml", "other/c.yaml")
    assert (bench.state / "artifacts/bucket/apps/fleet/latest.tar.gz").resolve().name == bench.status["artifact"]["path"].rpartition("/")[2]


async def test_prefix_and_ignore_rules(bench, store):
    store.objects[".sourceignore"] = b"*.png\n"
    bench.api.put(spec(store, ignore="other/\n"))
    await bench.run()
    tree = GitTree.open(bench.published[bench.key])
    assert tree.list("") == ((".sourceignore", "file"), ("apps", "dir"))
    bench.api.put(spec(store, prefix="apps/"))
    await bench.run()
    assert GitTree.open(bench.published[bench.key]).list("") == (("apps", "dir"),)


async def test_signed_requests(bench, store):
    store.signed = True
    bench.api.put(spec(store))
    await bench.run()
    assert bench.api.ready()[:2] == ("False", "AuthenticationFailed")
    bench.secrets["keys"] = {"accesskey": KEY.encode(), "secretkey": b"wrong"}
    bench.api.put(spec(store, secretRef={"name": "keys"}))
    await bench.run()
    assert bench.api.ready()[1] == "AuthenticationFailed"
    assert SECRET not in bench.api.ready()[2]
    bench.secrets["keys"] = {"accesskey": KEY.encode()}
    await bench.run()
    assert "required field 'secretkey' is missing" in bench.api.ready()[2]
    bench.secrets["keys"] = {"accesskey": KEY.encode(), "secretkey": SECRET.encode() + b"\n"}
    await bench.run()
    assert bench.api.ready()[0] == "True"


async def test_a_transfer_that_breaks_off_leaves_the_last_artifact(bench, store):
    bench.api.put(spec(store))
    await bench.run()
    before = bench.status["artifact"]["revision"]
    store.objects["apps/a.yaml"] = b"a: 2\n" * 100_000
    store.cut.add("apps/a.yaml")
    assert (await bench.run()).result == "failed"
    assert bench.api.ready()[1] == "BucketOperationFailed"
    assert bench.status["artifact"]["revision"] == before
    store.cut.clear()
    assert (await bench.run()).result == "succeeded"
    assert GitTree.open(bench.published[bench.key]).read("apps/a.yaml") == store.objects["apps/a.yaml"]


async def test_a_store_that_sends_a_byte_a_second_is_left_at_the_time_limit(bench, store):
    bench.api.put(spec(store, timeout="1s"))
    await bench.run()
    before = bench.status["artifact"]
    store.objects["apps/a.yaml"] = b"a: 2\n" * 100
    store.slow.add("apps/a.yaml")
    began = time.monotonic()
    assert (await bench.run()).result == "failed"
    assert time.monotonic() - began < 5
    assert bench.api.ready() == (
        "False", "BucketOperationFailed", "bucket 'apps': not finished within 1 s; is spec.timeout too short?",
    )  # fmt: skip
    assert bench.status["artifact"] == before
    assert list((bench.state / "git").glob("*/objects-*")) == []
    store.slow.clear()
    assert (await bench.run()).result == "succeeded"


async def test_an_object_that_changes_while_the_bucket_is_read(bench, store):
    bench.api.put(spec(store))
    await bench.run()
    before = bench.status["artifact"]
    store.objects["apps/a.yaml"] = b"a: 2\n"

    def upload() -> None:  # between the listing and the fetch
        store.objects["apps/a.yaml"] = b"a: 3\n"

    store.before_get = upload
    assert (await bench.run()).result == "failed"
    assert "the object 'apps/a.yaml' has changed since it was listed" in bench.api.ready()[2]
    assert bench.status["artifact"] == before
    store.before_get = None
    assert (await bench.run()).result == "succeeded"
    assert GitTree.open(bench.published[bench.key]).read("apps/a.yaml") == b"a: 3\n"


async def test_no_such_bucket_and_nobody_there(bench, store):
    bench.api.put(spec(store, bucketName="none"))
    await bench.run()
    assert bench.api.ready()[:2] == ("False", "BucketOperationFailed")
    bench.api.put(spec(store, endpoint="169.254.169.254"))
    await bench.run()
    assert "metadata" in bench.api.ready()[2]


async def test_restart_fetches_nothing_and_needs_no_store(bench, store):
    bench.api.put(spec(store))
    await bench.run()
    before = bench.published[bench.key]
    bench.restart()
    store.asked.clear()
    assert (await bench.run()).result == "unchanged"
    assert set(store.asked) == {"GET list"}
    assert bench.api.patches == []
    (bench.state / "artifacts" / bench.status["artifact"]["path"]).unlink()
    before_loss = dict(bench.status["artifact"])
    await bench.run()
    assert bench.status["artifact"]["digest"] == before_loss["digest"]  # made again, to the same bytes
    bench.restart()
    bench.api.put(spec(store, suspend=True))
    await bench.run()
    assert bench.published[bench.key] == before


async def test_deletion_lets_go(bench, store):
    bench.api.put(spec(store))
    await bench.run()
    bench.api.object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert (await bench.run()).result == "gone"
    assert list((bench.state / "git").iterdir()) == []
