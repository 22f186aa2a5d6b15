"""What is asked of an object store that speaks S3, and what becomes of each of its answers."""

import io
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.kinds.bucket import BucketSpec
from service.outbound import Outbound, Policy
from service.sources.bucketclient import BucketError, Listed, NotThere
from service.sources.remote import Remote
from service.sources.s3 import AccessKey, S3Bucket
from service.sources.s3listing import S3Listing
from tests.sources.s3 import KEY, SECRET, StandIn, served


@pytest.fixture
async def store() -> AsyncIterator[StandIn]:
    async with served() as made:
        made.objects.update({f"apps/{name}.yaml": name.encode() for name in "abcde"} | {"odd name+ü&<.yaml": b"odd", "folder/": b""})
        made.signed = True
        yield made


@pytest.fixture
async def way():
    async def nobody(namespace: str, name: str) -> None:
        raise AssertionError(name)

    async with Remote(namespace="apps").open(Outbound(Policy(loopback=True)), nobody) as opened:
        yield opened


def bucket(store: StandIn, way, key: AccessKey | None = None, **more: object) -> S3Bucket:
    given = {"bucket_name": "apps", "endpoint": store.host, "interval": timedelta(minutes=1), "insecure": True, **more}
    return S3Bucket(BucketSpec(**given), way, key or AccessKey(identity=KEY, secret=SECRET))


async def listed(client: S3Bucket, prefix: str = "") -> list[Listed]:
    return [each async for page in client.list(prefix) for each in page]


async def test_lists_pages_and_reads_any_name(store, way):
    client = bucket(store, way)
    found = await listed(client)
    assert {each.key: each.size for each in found} == {key: len(body) for key, body in store.objects.items() if key != "folder/"}
    for each in found:
        await client.read(each, out := io.BytesIO())
        assert out.getvalue() == store.objects[each.key]
    assert [each.key for each in await listed(client, "odd n")] == ["odd name+ü&<.yaml"]


async def test_the_region_that_an_answer_names_is_taken(store, way):
    store.region = "eu-west-1"
    store.refusals = [(301, {"x-amz-bucket-region": "eu-west-1"})]
    client = bucket(store, way)
    assert len(await listed(client)) == 6
    store.refusals = [(400, {"x-amz-bucket-region": "no region!"})]
    with pytest.raises(BucketError, match="answered 400"):
        await listed(client)


async def test_redirects_are_not_followed(store, way):
    (first, *_) = await listed(bucket(store, way))
    async with served() as elsewhere:
        elsewhere.objects["apps/a.yaml"] = b"evil"
        store.refusals = [(302, {"Location": f"http://{elsewhere.host}/apps/apps/a.yaml"})]
        with pytest.raises(BucketError, match=r"answered 302: is spec.endpoint that of the bucket's region\?"):
            await bucket(store, way).read(first, io.BytesIO())
        assert elsewhere.asked == []


async def test_a_busy_store_is_asked_again_and_then_believed(store, way):
    store.refusals = [(503, {})] * 2
    assert len(await listed(bucket(store, way))) == 6
    store.refusals = [(503, {})] * 3
    with pytest.raises(BucketError, match=r"it answered 503 \(busy\)$"):
        await listed(bucket(store, way))
    with pytest.raises(BucketError, match=r"cannot list bucket 'none' at .*: it answered 404 \(not found\)$"):
        await listed(bucket(store, way, bucket_name="none"))
    with pytest.raises(BucketError, match=r"it answered 403 \(not allowed\)$") as refused:
        await listed(bucket(store, way, AccessKey(identity=KEY, secret="wrong")))
    assert refused.value.unauthorized


@pytest.mark.parametrize("what", ["changed", "gone", "grown", "shrunk"])
async def test_an_object_that_is_not_what_was_listed(store, way, what):
    (first, *_) = await listed(bucket(store, way))
    match what:
        case "gone":
            del store.objects[first.key]
        case "changed":
            store.objects[first.key] = b"b"
        case "grown" | "shrunk":  # a store without ETags
            store.objects[first.key] = b"aa" if what == "grown" else b""
            first = Listed(key=first.key, etag="", size=first.size)
    with pytest.raises(NotThere, match=r"the object 'apps/a.yaml' has changed since it was listed"):
        await bucket(store, way).read(first, io.BytesIO())


async def test_where_the_bucket_is_looked_for(store, way):
    for endpoint in ("https://host", "host/path", "user@host", ""):
        with pytest.raises(BucketError, match="not a host"):
            bucket(store, way, endpoint=endpoint)
    assert bucket(store, way, endpoint="s3.amazonaws.com")._host == "apps.s3.amazonaws.com"
    assert bucket(store, way, endpoint="s3.amazonaws.com", bucket_name="a.b")._host == "s3.amazonaws.com"


def read(*chunks: bytes) -> S3Listing:
    page = S3Listing()
    for chunk in chunks:
        page.feed(chunk)
    page.close()
    return page


PAGE = (
    b'<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>apps</Name><EncodingType>url</EncodingType>'
    b"<Contents><Key>a+b%2Fc</Key><ETag>&quot;e&quot;</ETag><Size>3</Size><Owner><ID>x</ID></Owner></Contents>"
    b"<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></ListBucketResult>"
)


@given(st.lists(st.integers(0, len(PAGE)), max_size=8))
def test_a_page_in_any_pieces(cuts):
    ends = [0, *sorted(cuts), len(PAGE)]
    page = read(*(PAGE[begin:end] for begin, end in pairwise(ends)))
    assert page.found == [Listed(key="a b/c", etag="e", size=3)]
    assert page.following == "t"


@given(st.integers(0, len(PAGE) - 1), st.binary(max_size=4))
def test_a_damaged_page_is_a_listing_or_refused(at, junk):
    with suppress(BucketError):
        read(PAGE[:at] + junk + PAGE[at + 1 :]).found  # noqa: B018


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html/>",
        b"<Error><Code>x</Code></Error>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><ListBucketResult>&b;</ListBucketResult>',
        b"<ListBucketResult><Contents><Key>" + b"k" * 10_000,
        b"<ListBucketResult><Contents><Key>a</Key><Size>many</Size></Contents></ListBucketResult>",
        PAGE[:-1],
    ],
)
def test_what_is_no_listing(body):
    with pytest.raises(BucketError, match="listing"):
        read(body).found  # noqa: B018
