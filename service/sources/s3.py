"""A bucket of S3, or of what speaks it: listings and objects over a session of the tenant's remote.

Our own, of two requests: the maintained asyncio client (obstore) follows redirects and resolves names behind the outbound policy's back and
takes no client certificates. Redirects are not followed; the region that an answer names is taken.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html and API_GetObject.html
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import BinaryIO
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from providers.aws_signature import Keys, authorization
from service.kinds.bucket import BucketSpec
from service.outbound import OutboundRefused, refusal_in
from service.sources.bucketclient import MEANING, BucketError, Listed, NotThere
from service.sources.remote import Way
from service.sources.s3listing import S3Listing

MOST_PAGE_BYTES = 16 * 2**20
CHUNK = 2**18
TRIES, PAUSE_SECONDS = 3, 0.3
_EMPTY = hashlib.sha256(b"").hexdigest()
_HOST = re.compile(r"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
_REGION = re.compile(r"[a-z0-9-]{1,40}")
_BY_HOST = re.compile(r"(s3[a-z0-9.-]*\.amazonaws\.com(\.cn)?|storage\.googleapis\.com|[a-z0-9.-]+\.aliyuncs\.com)(:\d+)?")
_BUCKET_OF_HOST = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """With what requests are signed; `session` is that of short-lived keys, or ""."""

    identity: str
    secret: str = field(repr=False)
    session: str = field(default="", repr=False)


class S3Bucket:
    """See service.sources.bucketclient.BucketClient. Without a key the requests are anonymous."""

    def __init__(self, spec: BucketSpec, way: Way, key: AccessKey | None) -> None:
        """Raises BucketError where the endpoint is no host."""
        if not _HOST.fullmatch(spec.endpoint):
            raise BucketError("spec.endpoint is not a host, or a host with its port")
        self._way = way
        self._key = key
        self._region = spec.region or "us-east-1"
        self._name = f"bucket '{spec.bucket_name}' at {spec.endpoint}"
        # As minio-go looks a bucket up: where the provider wants the bucket as a part of the host, and names and TLS allow it.
        in_host = bool(_BY_HOST.fullmatch(spec.endpoint) and _BUCKET_OF_HOST.fullmatch(spec.bucket_name))
        self._host = f"{spec.bucket_name}.{spec.endpoint}" if in_host else spec.endpoint
        self._path = "/" if in_host else f"/{quote(spec.bucket_name, safe='')}/"
        self._scheme = "http" if spec.insecure else "https"

    async def list(self, prefix: str) -> AsyncIterator[list[Listed]]:
        token = ""
        while True:
            page = S3Listing()
            query = {"encoding-type": "url", "list-type": "2", "prefix": prefix} | ({"continuation-token": token} if token else {})
            async with self._asked("list", "", query, {}) as answer:
                size = 0
                async for chunk in answer.content.iter_chunked(CHUNK):
                    size += len(chunk)
                    if size > MOST_PAGE_BYTES:
                        raise BucketError(f"a page of the listing of {self._name} is larger than {MOST_PAGE_BYTES:,} bytes")
                    page.feed(chunk)
            page.close()
            yield [each for each in page.found if not each.key.endswith("/") and each.key.startswith(prefix)]
            if not page.following or page.following == token:
                return
            token = page.following

    async def read(self, wanted: Listed, target: BinaryIO) -> None:
        size, match = 0, {"If-Match": f'"{wanted.etag}"'} if wanted.etag else {}
        try:
            async with self._asked(f"get '{wanted.key}' of", quote(wanted.key, safe="/-_.~"), {}, match) as answer:
                async for chunk in answer.content.iter_chunked(CHUNK):
                    size += len(chunk)
                    if size > wanted.size:
                        break
                    target.write(chunk)
        except BucketError as error:
            if error.status in (404, 412):
                raise NotThere(wanted.key) from error
            raise
        if size != wanted.size:
            raise NotThere(wanted.key)

    @asynccontextmanager
    async def _asked(
        self, doing: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            answer = await self._tried(path, query, headers)
            try:
                if answer.status != 200:
                    meaning = MEANING.get(answer.status, "") if answer.status >= 400 else ": is spec.endpoint that of the bucket's region?"
                    raise BucketError(f"cannot {doing} {self._name}: it answered {answer.status}{meaning}", answer.status)
                yield answer
            finally:
                answer.release()
        except (aiohttp.ClientError, ConnectionError, OutboundRefused) as error:
            refusal = refusal_in(error)
            if refusal is not None:
                raise BucketError(f"cannot {doing} {self._name}: {refusal}") from error
            raise BucketError(f"cannot {doing} {self._name}: no answer, or it was broken off ({type(error).__name__})") from error

    async def _tried(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        """The answer, asked again where the store is busy or says which region it is in."""
        for number in range(TRIES):
            last = number == TRIES - 1
            try:
                answer = await self._sent(path, query, headers)
            except (aiohttp.ClientConnectionError, ConnectionError):
                if last:
                    raise
            else:
                moved = self._moved(answer)
                if last or not (moved or answer.status == 429 or answer.status >= 500):
                    return answer
                answer.close()
                if moved:
                    continue
            await asyncio.sleep(PAUSE_SECONDS * 2**number)
        raise AssertionError("the last try returns or raises")

    async def _sent(self, path: str, query: Mapping[str, str], more: Mapping[str, str]) -> aiohttp.ClientResponse:
        url = f"{self._scheme}://{self._host}{self._path}{path}{'?' if query else ''}{urlencode(query, quote_via=quote, safe='-_.~')}"
        headers = {"Accept-Encoding": "identity", "x-amz-content-sha256": _EMPTY, **more}
        if self._key is not None:
            headers["x-amz-date"] = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
            if self._key.session:
                headers["x-amz-security-token"] = self._key.session
            keys = Keys(identity=self._key.identity, secret=self._key.secret, region=self._region, service="s3")
            signed = {name: value for name, value in headers.items() if name.startswith("x-amz-")} | {"host": self._host}
            headers["Authorization"] = authorization(keys, "GET", url, headers=signed, body=b"")
        return await self._way.session.get(URL(url, encoded=True), headers=headers, allow_redirects=False, auto_decompress=False)

    def _moved(self, answer: aiohttp.ClientResponse) -> bool:
        """Whether the bucket is in another region than was signed for: asked there from now on."""
        region = answer.headers.get("x-amz-bucket-region", "")
        if answer.status not in (301, 307, 400, 403) or region == self._region or not _REGION.fullmatch(region):
            return False
        self._region = region
        self._host = re.sub(r"(^|\.)s3\.amazonaws\.com$", rf"\1s3.{region}.amazonaws.com", self._host)
        return True
