"""Connections by way of a SOCKS5 proxy, for aiohttp. Needs the extra `socks`.

In: the proxy's URL, `socks5://` where names are resolved here, `socks5h://` where the proxy does it, and what gives the proxy's checked
addresses. Out: a connector. TLS is with the target, through the proxy. https://www.rfc-editor.org/rfc/rfc1928
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler

SCHEMES = ("socks5", "socks5h")
PORT = 1080

Addresses = Callable[[str, int], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Socks:
    """A proxy. `resolves`: it is told names, not addresses."""

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    resolves: bool = False


def socks_of(url: str) -> Socks | None:
    """Return the proxy of a URL, None where it is of another kind. Raises ValueError for what is no URL."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        return None
    username, password = (None if each is None else unquote(each) for each in (parts.username, parts.password))
    host, port = parts.hostname or "", parts.port or PORT
    return Socks(host=host, port=port, username=username, password=password, resolves=parts.scheme == "socks5h")


def is_there() -> bool:
    """Whether the library is installed."""
    return find_spec("python_socks") is not None


class SocksConnector(aiohttp.TCPConnector):
    """Each connection goes to an address of the proxy that `addresses` lets through, and is told where to by `resolver`'s answer."""

    def __init__(self, proxy: Socks, addresses: Addresses, resolver: AbstractResolver, **options: Any) -> None:
        super().__init__(resolver=_Names() if proxy.resolves else resolver, use_dns_cache=False, **options)
        self._proxy, self._addresses = proxy, addresses

    async def _wrap_create_connection(
        self,
        *args: Any,
        addr_infos: list[Any],
        req: aiohttp.ClientRequest,
        timeout: aiohttp.ClientTimeout,
        client_error: type[Exception] = aiohttp.ClientConnectorError,
        **kwargs: Any,
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        """What aiohttp calls for a new connection; the rest of it is as there."""
        try:
            async with asyncio.timeout(timeout.sock_connect):
                host, port, *_ = addr_infos[0][4]
                link = await self._through(host, port, req)
                return await self._loop.create_connection(*args, **kwargs, sock=link)
        except aiohttp.ClientError:
            raise
        except ssl.CertificateError as error:
            raise aiohttp.ClientConnectorCertificateError(req.connection_key, error) from error
        except ssl.SSLError as error:
            raise aiohttp.ClientConnectorSSLError(req.connection_key, error) from error
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError("no connection by way of the proxy in time") from error
        except OSError as error:
            raise client_error(req.connection_key, error) from error

    async def _through(self, host: str, port: int, req: aiohttp.ClientRequest) -> socket.socket:
        """A connection to a name or an address. The time is bounded by the caller."""
        from python_socks import ProxyConnectionError, ProxyError, ProxyType
        from python_socks.async_.asyncio import Proxy

        try:
            [at, *_] = await self._addresses(self._proxy.host, self._proxy.port)
            way = Proxy(ProxyType.SOCKS5, at, self._proxy.port, self._proxy.username, self._proxy.password, rdns=True)
            link: socket.socket = await way.connect(host, port)
        except (ProxyConnectionError, ProxyError, OSError) as error:
            number = getattr(error, "errno", None) or 0
            raise aiohttp.ClientProxyConnectionError(req.connection_key, OSError(number, "the SOCKS proxy made no connection")) from error
        return link


class _Names(AbstractResolver):
    """Names stay names."""

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        """The name as if it were an address."""
        return [ResolveResult(hostname=host, host=host, port=port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST)]

    async def close(self) -> None:
        """Nothing is held."""
