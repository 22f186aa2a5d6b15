"""A stand-in object store on loopback that speaks enough of S3: ListObjectsV2 in pages, GET, and signatures of version 4, checked.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

import asyncio
import hashlib
import hmac
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import quote
from xml.sax.saxutils import escape

from aiohttp import web

PAGE = 2
KEY, SECRET, REGION = "key", "hunter2", "us-east-1"


class StandIn:
    """The objects of the bucket `apps`; `asked` are the requests. `signed`: only signed ones are answered, of whom `keys` are.

    `refusals` are answered first, one for each request: a status and its headers.
    """

    def __init__(self) -> None:
        self.host = ""
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.signed = False
        self.cut: set[str] = set()
        self.slow: set[str] = set()
        self.before_get: Callable[[], None] | None = None
        self.keys = {KEY: SECRET}
        self.region = REGION
        self.session = ""
        self.refusals: list[tuple[int, dict[str, str]]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        key = request.path.removeprefix("/apps").removeprefix("/")
        self.asked.append(f"{request.method} {key or 'list'}")
        if self.refusals:
            status, headers = self.refusals.pop(0)
            return web.Response(status=status, headers=headers, text="<Error><Message>hunter2</Message></Error>")
        if self.signed and not self._is_signed(request):
            return web.Response(status=403, text="<Error><Code>SignatureDoesNotMatch</Code><Message>hunter2</Message></Error>")
        if not request.path.startswith("/apps"):
            return web.Response(status=404, text="<Error><Code>NoSuchBucket</Code></Error>")
        if not key:
            return web.Response(text=self._list(request), content_type="application/xml")
        return await self._object(request, key)

    async def _object(self, request: web.Request, key: str) -> web.StreamResponse:
        if self.before_get is not None:
            self.before_get()
        if key not in self.objects:
            return web.Response(status=404, text="<Error><Code>NoSuchKey</Code></Error>")
        if request.headers.get("If-Match", f'"{self.etag(key)}"') != f'"{self.etag(key)}"':
            return web.Response(status=412, text="<Error><Code>PreconditionFailed</Code></Error>")
        headers = {"ETag": f'"{self.etag(key)}"', "Last-Modified": "Sat, 21 Nov 2026 10:00:00 GMT"}
        if key in self.slow:
            answer = web.StreamResponse(headers={**headers, "Content-Length": str(len(self.objects[key]))})
            await answer.prepare(request)
            for byte in self.objects[key]:
                await answer.write(bytes([byte]))
                await asyncio.sleep(1)
            return answer
        if key in self.cut:
            answer = web.StreamResponse(headers={**headers, "Content-Length": str(len(self.objects[key]))})
            await answer.prepare(request)
            await answer.write(self.objects[key][:1])
            assert request.transport is not None
            request.transport.abort()
            return answer
        return web.Response(body=self.objects[key], headers=headers)

    def etag(self, key: str) -> str:
        return hashlib.md5(self.objects[key]).hexdigest()

    def _list(self, request: web.Request) -> str:
        prefix, after = request.query.get("prefix", ""), request.query.get("continuation-token", "")
        names = [name for name in sorted(self.objects) if name.startswith(prefix) and name > after]
        shown = names[:PAGE]
        more = len(names) > PAGE
        entries = "".join(
            f"<Contents><Key>{quote(name)}</Key><LastModified>2026-11-21T10:00:00.000Z</LastModified>"
            f"<ETag>&quot;{self.etag(name)}&quot;</ETag><Size>{len(self.objects[name])}</Size></Contents>"
            for name in shown
        )
        token = f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if more else ""
        about = f"<EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>"
        return f"<ListBucketResult>{about}{token}{entries}</ListBucketResult>"

    def _is_signed(self, request: web.Request) -> bool:
        scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
        if scheme != "AWS4-HMAC-SHA256":
            return False
        parts = dict(part.strip().split("=", 1) for part in rest.split(","))
        key, day, region, service, _ = parts["Credential"].split("/")
        names = parts["SignedHeaders"].split(";")
        query = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in sorted(request.query.items()))
        headers = "".join(f"{name}:{request.headers[name].strip()}\n" for name in names)
        canonical = "\n".join(
            [request.method, request.raw_path.partition("?")[0], query, headers, ";".join(names), request.headers["x-amz-content-sha256"]]
        )
        scope = f"{day}/{region}/{service}/aws4_request"
        text = "\n".join([scheme, request.headers["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()])
        made = f"AWS4{self.keys.get(key, '')}".encode()
        for word in (day, region, service, "aws4_request"):
            made = hmac.digest(made, word.encode(), "sha256")
        if key not in self.keys or region != self.region or request.headers.get("x-amz-security-token", "") != self.session:
            return False
        return hmac.digest(made, text.encode(), "sha256").hex() == parts["Signature"]


@asynccontextmanager
async def served(tls: ssl.SSLContext | None = None) -> AsyncIterator[StandIn]:
    """The store at `host`."""
    found = StandIn()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    found.host = f"127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield found
    finally:
        await runner.cleanup()
