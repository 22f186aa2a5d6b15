"""A Bucket on a real object store, which checks each signature and logs each request."""

from collections.abc import AsyncIterator, Iterator

import pytest

from service.sources.snapshot import changed_paths
from tests.peers.s3 import KEY, REGION, S3, SECRET
from tests.sources.bench import Bench, opened

pytestmark = pytest.mark.real
MANY = 1000


@pytest.fixture
def s3(peers, tmp_path) -> Iterator[S3]:
    peers.need("versitygw")
    with S3(tmp_path / "s3") as made:
        yield made


@pytest.fixture
async def bench(tmp_path, workers) -> AsyncIterator[Bench]:
    async with opened("Bucket", tmp_path, workers) as made:
        made.secrets["keys"] = {"accesskey": KEY.encode(), "secretkey": SECRET.encode()}
        yield made


async def test_one_object_of_a_thousand_changes_and_one_is_fetched(bench, s3):
    for number in range(MANY):
        s3.put(f"apps/{number:03}.yaml", f"number: {number}\n".encode())
    s3.put("odd name+ü&.yaml", b"odd: 1\n")
    spec = {"bucketName": "apps", "endpoint": s3.host, "insecure": True, "interval": "1m", "secretRef": {"name": "keys"}, "region": REGION}
    bench.api.put(spec)
    assert (await bench.run()).result == "succeeded"
    assert sum(line.startswith("GetObject ") for line in s3.asked()) == MANY + 1
    first = bench.published[bench.key]

    s3.put("apps/500.yaml", b"number: half\n")
    s3.asked()
    assert (await bench.run()).result == "succeeded"
    assert [line for line in s3.asked() if "List" not in line] == ["GetObject apps/500.yaml 200"]
    assert changed_paths(first, bench.published[bench.key]) == ("apps/500.yaml",)

    assert (await bench.run()).result == "unchanged"
    assert {line.partition(" ")[0] for line in s3.asked()} == {"ListObjectsV2"}


async def test_credentials_and_buckets_that_are_wrong(bench, s3):
    s3.put("a.yaml", b"a: 1\n")
    spec = {"bucketName": "apps", "endpoint": s3.host, "insecure": True, "interval": "1m", "region": REGION}
    bench.api.put(spec)
    await bench.run()
    assert bench.api.ready()[:2] == ("False", "AuthenticationFailed")  # anonymous
    bench.api.put({**spec, "secretRef": {"name": "keys"}, "bucketName": "none"})
    await bench.run()
    assert bench.api.ready()[1:] == ("BucketOperationFailed", f"cannot list bucket 'none' at {s3.host}: it answered 404 (not found)")
    bench.secrets["keys"]["secretkey"] = b"wrong"
    bench.api.put({**spec, "secretRef": {"name": "keys"}})
    await bench.run()
    assert bench.api.ready()[1] == "AuthenticationFailed"
