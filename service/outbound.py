"""Requests to addresses that tenants name: never to the metadata services of clouds, link-local hosts, this process or this machine.

In: a URL of an object's spec. Out: the answer, or OutboundRefused before anything was sent. The check is made on the resolved addresses
that the connection then uses, and again at each redirect, so that no name can point somewhere else in between. Private ranges are let
through unless told otherwise: in most clusters that is where the Git host stands.
https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from service.socks import Socks, SocksConnector, socks_of

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

REDIRECTS = 3
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:42::42"),
    )
)
"""Of Alibaba, Azure, Oracle, AWS, Google and Scaleway, where they are not link-local."""
_METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"})
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class OutboundRefused(Exception):
    """The policy forbids the address; the message says which and why."""


class OutboundFailed(Exception):
    """No usable answer; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What may be reached beside public addresses. `ports` are our own: they are refused on every address of this machine."""

    private: bool = True
    loopback: bool = False
    ports: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """An answer. Names of headers are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


def problem_of(address: Address, port: int, policy: Policy) -> str:
    """Return why an address must not be reached, or ""."""
    address = _inner(address)
    if address in _METADATA or address.is_link_local:
        return "link-local, where clouds have their metadata services"
    if address.is_unspecified or address.is_multicast:
        return "no address of one host"
    if address.is_loopback:
        return "" if policy.loopback and port not in policy.ports else "this machine itself"
    if address.is_private and not policy.private:
        return "private, and --no-private-addresses is set"
    if address.is_reserved:
        return "reserved"
    if port in policy.ports and _is_ours(address):
        return "a port of this service"
    return ""


def check_url(url: str) -> None:
    """Raises OutboundRefused for a URL that is none of http or https with a host, names a user, or a metadata service."""
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").rstrip("."), parts.port
    except ValueError as error:
        raise OutboundRefused("the address is no URL") from error
    if parts.scheme not in ("http", "https") or not host:
        raise OutboundRefused("the address must begin with https:// or http:// and name a host")
    if parts.username is not None or parts.password is not None:
        raise OutboundRefused("the address must not hold a user or a password")
    _check_name(host)


class Outbound:
    """One policy for many requests; each has a connection of its own. `proxies`: scheme -> address, as the environment names them."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        found = getproxies()  # once: to look through the environment costs more than all checks of a request
        self.proxies = {scheme: at if "://" in at else f"http://{at}" for scheme, at in found.items() if scheme in ("http", "https")}

    async def check(self, url: str) -> None:
        """For clients that connect by themselves: look at the addresses that the URL's host has now. Raises OutboundRefused."""
        check_url(url)
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        literal = _literal(host)
        try:
            _check(host, [literal] if literal is not None else await _resolved(host, port), port, self.policy)
        except OSError:
            return  # no such host: the client will say so

    async def get(self, url: str, *, timeout: timedelta, most_bytes: int, redirects: int = REDIRECTS) -> Fetched:
        """Return the answer to a GET. Raises OutboundRefused, and OutboundFailed also where the body is longer than `most_bytes`."""
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                for _ in range(redirects + 1):
                    found = await self._once(url, most_bytes)
                    if found.status not in (301, 302, 303, 307, 308) or "location" not in found.headers:
                        return found
                    following = urljoin(url, found.headers["location"])
                    if urlsplit(url).scheme == "https" and urlsplit(following).scheme != "https":
                        raise OutboundRefused("redirected from https to something else")
                    url = following
        except TimeoutError as error:
            raise OutboundFailed(f"no answer within {timeout.total_seconds():g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            cause = refusal_in(error)
            if cause is not None:
                raise cause from error
            raise OutboundFailed(f"no answer: {error}") from error
        raise OutboundFailed(f"redirected more than {redirects} times")

    def session(
        self, *, tls: ssl.SSLContext | bool, timeout: aiohttp.ClientTimeout, proxy: str = "", headers: Mapping[str, str] | None = None
    ) -> aiohttp.ClientSession:
        """Return a session for one tenant's remote: each request and each redirect is checked, and connections go to checked addresses.

        `proxy` is the URL of one that all requests take, and that then resolves the names itself, but for socks5://; without it that of the
        environment is taken. A refusal comes as OutboundRefused, or as the cause of an aiohttp.ClientError: `refusal_in` finds it.
        """
        socks = socks_of(proxy)
        return aiohttp.ClientSession(
            connector=self._connector(tls, socks, is_proxied=bool(proxy)),
            middlewares=(self.checked,) if proxy or not self.proxies else (self._by_environment,),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=timeout,
            proxy=proxy if proxy and socks is None else None,
            headers=headers,
        )

    def _connector(self, tls: ssl.SSLContext | bool, socks: Socks | None, *, is_proxied: bool) -> aiohttp.TCPConnector:
        if socks is not None:
            return SocksConnector(socks, self.addresses, self.resolver(), ssl=tls)
        return aiohttp.TCPConnector(ssl=tls, resolver=None if is_proxied else self.resolver(), use_dns_cache=False)

    def resolver(self) -> AbstractResolver:
        """Return what gives a connector the checked addresses of a name, and no others."""
        return _Resolver(self.policy, frozenset((proxy.host, proxy.port) for proxy in map(URL, self.proxies.values())))

    async def _by_environment(self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """Name the environment's proxy, which no tenant writes and which is not judged, where there is one for the address."""
        check_url(str(request.url))
        if not await self.is_proxied(str(request.url)):
            return await self.checked(request, send)
        proxy = URL(self.proxies[request.url.scheme])
        login = {"Proxy-Authorization": aiohttp.encode_basic_auth(proxy.user, proxy.password or "")} if proxy.user else None
        request.update_proxy(proxy.with_user(None), None, login)
        return await send(request)

    async def checked(self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """Check a request and the proxy that is named with it; a middleware for sessions. Raises OutboundRefused."""
        check_url(str(request.url))
        for url in (request.url, request.proxy):
            literal = _literal(url.host or "") if url is not None else None
            if url is not None and literal is not None:  # the connector asks the resolver for names alone
                _check(url.host or "", [literal], url.port or 443, self.policy)
        return await send(request)

    async def addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host that a connection may be made to. Raises OutboundRefused, OSError."""
        found = await _resolved(host, port)
        _check(host, found, port, self.policy)
        return [str(each) for each in found]

    async def _once(self, url: str, most_bytes: int) -> Fetched:
        check_url(url)
        proxied = await self.is_proxied(url)
        connector = aiohttp.TCPConnector(resolver=None if proxied else _Resolver(self.policy), use_dns_cache=False, force_close=True)
        async with (
            aiohttp.ClientSession(connector=connector, trust_env=proxied) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            body = b""
            while len(body) <= most_bytes and (more := await answer.content.read(most_bytes + 1 - len(body))):
                body += more
            if len(body) > most_bytes:
                raise OutboundFailed(f"the answer is larger than {most_bytes} bytes")
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Fetched(status=answer.status, headers=headers, body=body, url=url)

    async def is_proxied(self, url: str) -> bool:
        """Check what needs no connection, and say whether the environment names a proxy, which then resolves the name itself."""
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        literal = _literal(host)
        if literal is not None:  # the connector asks the resolver for names alone
            _check(host, [literal], port, self.policy)
        if parts.scheme not in self.proxies or proxy_bypass(host):
            return False
        try:
            _check(host, await _resolved(host, port), port, self.policy)
        except OSError:
            return True  # only the proxy knows the name
        return True


class _Resolver(AbstractResolver):
    """Gives the connection the checked addresses, and no others."""

    def __init__(self, policy: Policy, trusted: frozenset[tuple[str | None, int | None]] = frozenset()) -> None:
        """`trusted` are hosts and ports of the operator's own proxies."""
        self._policy = policy
        self._trusted = trusted

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """Return the addresses of a host. Raises OutboundRefused where one of them must not be reached, OSError."""
        addresses = await _resolved(host, port, family)
        if (host, port) not in self._trusted:
            _check(host, addresses, port, self._policy)
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


def check_reach(url: str, policy: Policy) -> None:
    """Look at the addresses that a URL's host has now, blocking, for clients that connect by themselves. Raises OutboundRefused."""
    parts = urlsplit(url)
    host, port = (parts.hostname or "").rstrip("."), parts.port or {"https": 443, "ssh": 22}.get(parts.scheme, 80)
    _check_name(host)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return  # no such host: the client will say so
    _check(host, [ipaddress.ip_address(str(address[0]).partition("%")[0]) for *_, address in found], port, policy)


def _check_name(host: str) -> None:
    """Raises OutboundRefused for a name of a metadata service."""
    if host.lower() in _METADATA_NAMES:
        raise OutboundRefused(f"{host}: the metadata service of a cloud")


async def _resolved(host: str, port: int, family: int = socket.AF_UNSPEC) -> list[Address]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
    return [ipaddress.ip_address(str(address[0]).partition("%")[0]) for *_, address in found]


def _check(host: str, addresses: Iterable[Address], port: int, policy: Policy) -> None:
    """One bad address is enough: a name that has good and bad ones is made to be tried twice."""
    for address in addresses:
        problem = problem_of(address, port, policy)
        if problem:
            raise OutboundRefused(f"{host}: {address} is {problem}")


def _literal(host: str) -> Address | None:
    """An address as it stands in a URL, also in the short and octal forms that connections understand."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def _inner(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one, where it stands for that."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is not None:
            return inner
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _is_ours(address: Address) -> bool:
    """Whether an address is this machine's: only those can be bound."""
    with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
        return True


def refusal_in(error: BaseException) -> OutboundRefused | None:
    """Return the refusal that the connector has wrapped into its own error, None where it is another."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, OutboundRefused):
        found = found.__cause__ or found.__context__
    return found
