"""Requests of protocol v2 over connections of our own that are kept open: a repository's URL in, the checked bodies of answers out.

No redirect is followed, nothing is retried but a connection that had gone stale, every answer is bounded in size. Whoever gets Unfit asks
in the ordinary way, which has the words for what is wrong with a remote. https://git-scm.com/docs/http-protocol
"""

import base64
import ssl
import urllib.request
from datetime import timedelta
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from service.outbound import Outbound, OutboundRefused
from service.socks import SocksConnector, socks_of
from service.sources.credentials import Credentials
from service.sources.fetcherror import Stopped
from service.sources.packread import TooBig
from service.sources.reach import GIT_POLICY
from service.transport import BadTransport, tls_of

ANSWER_BYTES = 768 * 1024
LISTING_BYTES = 16 * 2**20
KEPT = timedelta(minutes=5)
MOST_SESSIONS = 16
_TYPE = "application/x-git-upload-pack-{}"
_HEADERS = {"Git-Protocol": "version=2", "User-Agent": "git/2.0 (sluice)", "Accept-Encoding": "identity"}


class Unfit(Exception):
    """The remote, or this answer of it, is not for this way. `lasting`: it will not be for a while."""

    def __init__(self, why: str, *, lasting: bool = False) -> None:
        super().__init__(why)
        self.lasting = lasting


class Smart:
    """Belongs to one event loop; connections are opened on use, where `outbound` lets them.

    `connect`: until one stands, `silence`: without any data.
    """

    def __init__(
        self,
        *,
        connect: timedelta = timedelta(seconds=10),
        silence: timedelta = timedelta(seconds=30),
        outbound: Outbound | None = None,
    ) -> None:
        self._outbound = outbound or Outbound(GIT_POLICY)
        self._limits = aiohttp.ClientTimeout(total=None, sock_connect=connect.total_seconds(), sock_read=silence.total_seconds())
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def advertised(self, url: str, credentials: Credentials) -> bytes:
        """Return the answer to info/refs. Raises Unfit, Stopped."""
        _check(url)
        return await self._asked(f"{url.rstrip('/')}/info/refs?service=git-upload-pack", credentials, None, _TYPE.format("advertisement"))

    async def post(self, url: str, credentials: Credentials, body: bytes, most: int = ANSWER_BYTES) -> bytes:
        """Return the answer to one command. Raises Unfit, Stopped, TooBig past `most` bytes."""
        return await self._asked(f"{url.rstrip('/')}/git-upload-pack", credentials, body, _TYPE.format("result"), most)

    async def close(self) -> None:
        """Close the connections."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    async def _asked(self, url: str, credentials: Credentials, body: bytes | None, kind: str, most: int = ANSWER_BYTES) -> bytes:
        try:
            trust = await trust_of(credentials)
        except BadTransport as error:
            raise Unfit(str(error), lasting=True) from error
        for again in (True, False):
            try:
                return await self._answer(url, credentials, body, (kind, most, trust))
            except aiohttp.ServerTimeoutError as error:
                raise Stopped("the remote did not answer in time") from error
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                if again and not isinstance(error, aiohttp.ClientConnectorError):
                    continue  # a kept connection that the server had closed: asking twice does no harm
                raise Unfit(f"no connection: {type(error).__name__}") from error
            except TooBig:
                raise
            except OutboundRefused as error:
                raise Unfit(str(error)) from error  # the ordinary way refuses it with words
            except (aiohttp.ClientError, ValueError) as error:
                raise Unfit(f"no answer: {type(error).__name__}") from error
        raise AssertionError("the second attempt returns or raises")

    async def _answer(
        self, url: str, credentials: Credentials, body: bytes | None, wanted: tuple[str, int, ssl.SSLContext | bool]
    ) -> bytes:
        kind, most, trust = wanted
        session = await self._session(credentials.proxy)
        headers = {**_HEADERS, **authorization(credentials), "Accept": kind}
        if body is not None:
            headers["Content-Type"] = _TYPE.format("request")
        async with session.request(
            "GET" if body is None else "POST",
            URL(url, encoded=True),
            data=body,
            headers=headers,
            allow_redirects=False,
            ssl=trust,
            proxy=named_proxy(url, credentials.proxy),
        ) as answer:
            if answer.status != 200:
                raise Unfit(f"answered {answer.status}", lasting=300 <= answer.status < 500)
            if answer.headers.get("Content-Type") != kind or answer.headers.get("Content-Encoding", "identity") != "identity":
                raise Unfit("the answer is of another type", lasting=True)
            return await _bounded(answer, most)

    async def _session(self, proxy: str) -> aiohttp.ClientSession:
        """One for all but proxies of SOCKS, which have one each."""
        socks = socks_of(proxy)
        name = "" if socks is None else proxy
        if name not in self._sessions:
            while len(self._sessions) >= MOST_SESSIONS:
                oldest = next(each for each in self._sessions if each)
                await self._sessions.pop(oldest).close()
            resolver = self._outbound.resolver()
            connector = aiohttp.TCPConnector(
                limit=0, limit_per_host=0, keepalive_timeout=KEPT.total_seconds(), ttl_dns_cache=30, resolver=resolver
            )
            if socks is not None:
                connector = SocksConnector(socks, self._outbound.addresses, resolver, limit=0, keepalive_timeout=KEPT.total_seconds())
            self._sessions[name] = aiohttp.ClientSession(
                connector=connector,
                timeout=self._limits,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                middlewares=(self._outbound.checked,),
            )
        return self._sessions[name]


def _check(url: str) -> None:
    """Only plain addresses are taken, without user information and query."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or parts.query or parts.fragment:
        raise Unfit("not a plain http address", lasting=True)


def authorization(credentials: Credentials) -> dict[str, str]:
    """Return the header that says who we are, or none."""
    if credentials.bearer:
        return {"Authorization": f"Bearer {credentials.bearer}"}
    if credentials.username:
        given = f"{credentials.username}:{credentials.password}".encode()
        return {"Authorization": f"Basic {base64.b64encode(given).decode()}"}
    return {}


async def _bounded(answer: aiohttp.ClientResponse, most: int) -> bytes:
    parts, left = [], most
    async for part in answer.content.iter_any():
        left -= len(part)
        if left < 0:
            raise TooBig("the answer is large")
        parts.append(part)
    return b"".join(parts)


async def trust_of(credentials: Credentials) -> ssl.SSLContext | bool:
    """What a connection trusts and shows: the system's certificates beside those of the credentials. Raises BadTransport."""
    held = {"ca.crt": credentials.ca, "tls.crt": credentials.certificate, "tls.key": credentials.key}
    return await tls_of(held, "spec.secretRef", system=True) or True


def named_proxy(url: str, given: str) -> str | None:
    """The proxy of HTTP to name: the given one, or that of the environment, as libgit2 takes it."""
    if given:
        return given if socks_of(given) is None else None
    parts = urlsplit(url)
    found = urllib.request.getproxies_environment()
    return None if urllib.request.proxy_bypass(parts.hostname or "") else found.get(parts.scheme)
