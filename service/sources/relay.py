"""A way for libgit2 to a remote that it cannot reach by itself: it shows no client certificates, and knows no proxies of SOCKS.

In: a request for a fetch. Out: the same at an address of this machine that nobody else knows, while it lasts. What libgit2 asks there is
asked of the remote, with the certificate and the log-in, under the outbound policy; libgit2 holds neither. No redirect is followed.
"""

import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
from aiohttp import web
from yarl import URL

from service.outbound import Outbound, OutboundRefused, Policy, refusal_in
from service.sources.credentials import Credentials, masked
from service.sources.fetcherror import AuthRefused, FetchError, RemoteFailed, RemoteGone, Stopped
from service.sources.fetchprocess import Limits
from service.sources.smart import authorization, trust_of
from service.sources.transfer import Request
from service.transport import BadTransport

MOST_ASKED_BYTES = 4 * 2**20
_HERE = Policy(loopback=True)
_ASKED = {"/info/refs?service=git-upload-pack": "GET", "/git-upload-pack": "POST"}
_PASSED_ON = ("Content-Type", "Accept", "Git-Protocol", "User-Agent")


@asynccontextmanager
async def relayed(request: Request, limits: Limits) -> AsyncIterator[Request]:
    """The request to make instead. Raises what was wrong with the remote in the place of what libgit2 says of it."""
    try:
        tls = await trust_of(request.credentials)
    except BadTransport as error:
        raise RemoteFailed(f"unable to clone '{masked(request.url)}': {error}") from error
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect.total_seconds(), sock_read=limits.silence.total_seconds())
    async with Outbound(request.policy).session(tls=tls, proxy=request.credentials.proxy, timeout=timeout) as session:
        relay = _Relay(session, request)
        runner = web.ServerRunner(web.Server(relay.answer), shutdown_timeout=0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            here = f"http://127.0.0.1:{runner.addresses[0][1]}{relay.path}"
            yield replace(request, url=here, credentials=Credentials(), policy=_HERE, relayed=True)
        except FetchError as error:
            raise relay.failure or type(error)(str(error).replace(here, masked(request.url))) from error
        finally:
            await runner.cleanup()


class _Relay:
    """`failure` is what the remote has last said no with."""

    def __init__(self, session: aiohttp.ClientSession, request: Request) -> None:
        self.path = f"/{secrets.token_urlsafe(32)}"
        self.failure: FetchError | None = None
        self._session = session
        self._request = request
        self._said = f"unable to clone '{masked(request.url)}': "

    async def answer(self, asked: web.BaseRequest) -> web.StreamResponse:
        """Pass one request on."""
        path, _, tail = asked.raw_path.partition(self.path)
        if path or _ASKED.get(tail) != asked.method:
            return web.Response(status=404)
        body = await _bounded(asked) if asked.method == "POST" else None
        if body is not None and len(body) > MOST_ASKED_BYTES:
            return web.Response(status=413)
        headers = {name: asked.headers[name] for name in _PASSED_ON if name in asked.headers}
        headers |= {"Accept-Encoding": "identity", **authorization(self._request.credentials)}
        try:
            return await self._passed_on(asked, URL(self._request.url.rstrip("/") + tail, encoded=True), headers, body)
        except TimeoutError:
            failure: FetchError = Stopped(f"{self._said}the remote did not answer in time")
        except (aiohttp.ClientError, OutboundRefused, ssl.SSLError, ConnectionError, ValueError) as error:
            failure = RemoteFailed(self._said + _words(error))
        if asked.transport is not None and not asked.transport.is_closing():  # else libgit2 has left, and knows why
            self.failure = failure
            asked.transport.abort()  # what has come so far must not look like all of it
        return web.Response(status=502)

    async def _passed_on(self, asked: web.BaseRequest, url: URL, headers: dict[str, str], body: bytes | None) -> web.StreamResponse:
        async with self._session.request(asked.method, url, headers=headers, data=body, allow_redirects=False) as answer:
            if answer.status != 200:
                self.failure = self._refusal(answer)
                return web.Response(status=502)
            response = web.StreamResponse(headers={"Content-Type": answer.headers.get("Content-Type", "")})
            await response.prepare(asked)
            async for part in answer.content.iter_any():
                await response.write(part)
            await response.write_eof()
            return response

    def _refusal(self, answer: aiohttp.ClientResponse) -> FetchError:
        match answer.status:
            case 401 | 403 if self._request.credentials.given:
                return AuthRefused("authentication failed: the remote refuses the credentials of spec.secretRef")
            case 401 | 403:
                return AuthRefused("authentication required: the remote asks for more than the client certificate of spec.secretRef")
            case 404 | 410:
                return RemoteGone(f"{self._said}repository not found: it answered {answer.status}")
            case 301 | 302 | 303 | 307 | 308:
                where = masked(answer.headers.get("Location", ""))
                return RemoteFailed(f"the remote redirects to '{where}', which is not sent any credentials; write it into spec.url")
        return RemoteFailed(f"{self._said}it answered {answer.status}")


async def _bounded(asked: web.BaseRequest) -> bytes:
    """The body, cut where it is too long; it comes in pieces."""
    body = b""
    while len(body) <= MOST_ASKED_BYTES and (more := await asked.content.read(MOST_ASKED_BYTES)):
        body += more
    return body


def _words(error: Exception) -> str:
    refusal = refusal_in(error)
    if refusal is not None:
        return f"not allowed: {refusal}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "the remote's certificate is not trusted; a private CA belongs into the key ca.crt of spec.secretRef"
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError) and not isinstance(error, aiohttp.ClientConnectorError):
        return "the remote ends the connection without an answer; is the client certificate (tls.crt of spec.secretRef) one that it trusts?"
    return f"no answer: {type(error).__name__}"
