"""One attempt: a provider's requests over the one wire, their answers judged by it.

In: an event and the route to its target. Out: nothing, or Rejected or Busy with words that hold neither the address nor credentials.
"""

import asyncio
import logging
import ssl
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import aiohttp
from yarl import URL

from providers.contract import (
    Busy,
    Certificates,
    Dialogue,
    Event,
    Misconfigured,
    Placing,
    Provider,
    Rejected,
    Reply,
    Request,
    Response,
    Step,
)
from service.alerts.confined import Confined
from service.alerts.placing import Memory, place
from service.alerts.route import Route
from service.outbound import Outbound, OutboundRefused, check_url, refusal_in
from service.socks import socks_of

T = TypeVar("T")

log = logging.getLogger(__name__)

ANSWER_BYTES = 1024 * 1024
HEADERS = {"User-Agent": "sluice", "Accept-Encoding": "identity"}
_NO_URL = "the address is not a usable URL: correct it in the Provider or its Secret"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """What everything is sent over: connections to checked addresses, others by way of the proxy that the environment names."""

    outbound: Outbound
    direct: aiohttp.ClientSession
    proxied: aiohttp.ClientSession
    confined: Confined


@asynccontextmanager
async def open_wire(outbound: Outbound) -> AsyncIterator[Wire]:
    """One for all providers; needs a running loop."""
    confined = Confined(outbound.policy)
    try:  # no limits here: each lane bounds its own, so that a target that hangs holds no connections of others
        checked = aiohttp.TCPConnector(limit=0, resolver=outbound.resolver(), use_dns_cache=False)
        plain = aiohttp.TCPConnector(limit=0)
        async with _session(checked, outbound.checked) as direct, _session(plain) as proxied:
            yield Wire(outbound=outbound, direct=direct, proxied=proxied, confined=confined)
    finally:
        await confined.close()


def _session(connector: aiohttp.TCPConnector, *middlewares: aiohttp.ClientMiddlewareType) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        middlewares=middlewares,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),  # `send` bounds the whole
        headers=HEADERS,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Means:
    """The contract's Means for one attempt."""

    wire: Wire
    tls: ssl.SSLContext | None
    certificates: Certificates | None
    timeout: timedelta

    async def connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            addresses = await self.wire.outbound.addresses(host, port)
        except OutboundRefused as error:
            raise Misconfigured(f"refused: {error}") from None
        for address in addresses[:-1]:
            with suppress(OSError):
                return await asyncio.open_connection(address, port)
        return await asyncio.open_connection(addresses[-1], port)

    async def apart(self, function: Callable[..., T], *args: object) -> T:
        return await self.wire.confined.run(function, *args, timeout=self.timeout)


async def send(wire: Wire, provider: Provider, event: Event, *, route: Route, timeout: timedelta, memory: Memory | None = None) -> None:
    """Try once and return if the target has it. Without `memory` nothing is known of earlier messages. Raises Rejected, Busy."""
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            if provider.place is not None and memory is not None:
                await place(provider.place(event, route.target), memory, _next_of, lambda request: _answer(wire, request, route))
                return
            if provider.publish is not None:
                means = _Means(wire=wire, tls=route.tls, certificates=route.certificates, timeout=timeout)
                await _published(provider.publish(event, route.target, means))
                return
            dialogue = provider.dialogue(event, route.target)
            request = _following(dialogue, None)
            while request is not None:
                request = _following(dialogue, await _answer(wire, request, route))
    except TimeoutError as error:
        raise Busy(f"no answer within {timeout.total_seconds():g} s") from error


def _following(dialogue: Dialogue, response: Response | None) -> Request | None:
    """The next request, None at the end. Raises Rejected, Busy."""
    return _made(lambda: next(dialogue) if response is None else dialogue.send(response))


def _next_of(placing: Placing, reply: Reply) -> Step | None:
    """The same where notes are kept."""
    return _made(lambda: placing.send(reply))


def _made(step: Callable[[], T]) -> T | None:
    """One event of which no request can be made must not stop all others."""
    try:
        return step()
    except StopIteration:
        return None
    except (Rejected, Busy):
        raise
    except Exception as error:  # noqa: BLE001 - types of other packages may raise anything
        raise _not_made(error) from None


async def _published(publishing: Awaitable[None]) -> None:
    """The same for what speaks to its target itself."""
    try:
        await publishing
    except (Rejected, Busy, TimeoutError):
        raise
    except OSError as error:
        raise Busy(f"the connection failed: {error.strerror or type(error).__name__}") from None
    except Exception as error:  # noqa: BLE001 - types of other packages may raise anything
        raise _not_made(error) from None


def _not_made(error: Exception) -> Rejected:
    place = traceback.extract_tb(error.__traceback__)[-1]  # not the error's words: they may hold what it stumbled over
    log.error("no request can be made of an event", extra={"error": type(error).__name__, "place": f"{place.filename}:{place.lineno}"})
    return Rejected("no request can be made of this event and Provider: see the log, and report it")


async def _answer(wire: Wire, request: Request, route: Route) -> Response:
    try:
        return await _exchange(wire, request, route)
    except OutboundRefused as error:
        raise Misconfigured(f"refused: {error}") from None
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
        raise Rejected(_NO_URL) from None  # the cause would show it
    except aiohttp.ClientError as error:  # before ValueError: a certificate that does not verify is one too
        refusal = refusal_in(error)
        raise Misconfigured(f"refused: {refusal}") if refusal else Busy(_words(error)) from None
    except ValueError:
        raise Rejected(_NO_URL) from None
    except TimeoutError:
        raise
    except OSError as error:
        raise Busy(f"the connection failed: {error.strerror or type(error).__name__}") from None


async def _exchange(wire: Wire, request: Request, route: Route) -> Response:
    """Redirects are an answer like any other, so credentials go nowhere else."""
    url = URL(request.url.reveal(), encoded=True)
    async with (
        _way(wire, route, url) as (session, proxy),
        session.request(
            request.method,
            url,
            headers=request.headers,
            data=request.body or None,
            allow_redirects=False,
            ssl=route.tls or True,
            proxy=proxy,
        ) as answer,
    ):
        body = b""
        while len(body) < ANSWER_BYTES and (chunk := await answer.content.read(ANSWER_BYTES)):
            body += chunk
        return Response(status=answer.status, headers={name.lower(): value for name, value in answer.headers.items()}, body=body)


@asynccontextmanager
async def _way(wire: Wire, route: Route, url: URL) -> AsyncIterator[tuple[aiohttp.ClientSession, str | None]]:
    """What the request is sent over, and the proxy of HTTP to name with it. Connections by way of a SOCKS proxy are for one request."""
    proxy = route.proxy.reveal()
    if socks_of(proxy) is not None:
        limits = aiohttp.ClientTimeout(total=None)
        async with wire.outbound.session(tls=route.tls or True, proxy=proxy, timeout=limits, headers=HEADERS) as session:
            yield session, None
    elif not proxy and await wire.outbound.is_proxied(str(url)):  # by the environment, which no tenant writes
        check_url(str(url))
        yield wire.proxied, wire.outbound.proxies[url.scheme]
    else:
        yield wire.direct, proxy or None


def _words(error: aiohttp.ClientError) -> str:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "the host name of the address is not known"
        case aiohttp.ClientHttpProxyError():
            return f"the proxy answered {error.status}"
        case aiohttp.ClientProxyConnectionError():
            return "no connection to the proxy"
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return "the TLS connection failed: check the certificate of the address"
        case aiohttp.ClientConnectorError():
            return f"no connection: {error.os_error.strerror or 'refused'}"
        case aiohttp.ServerDisconnectedError():
            return "the connection was closed without an answer"
        case _:
            return f"the connection failed: {type(error).__name__}"
