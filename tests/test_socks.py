"""By way of a real SOCKS5 proxy: who resolves the name, what is judged before, and what is said when it goes wrong."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from providers import PROVIDERS
from providers.contract import Busy, Misconfigured, Secret, Target
from service.alerts.route import Route
from service.alerts.sending import open_wire, send
from service.outbound import Outbound, OutboundRefused, Policy, refusal_in
from service.socks import Socks, socks_of
from service.sources.remote import Remote
from service.transport import BadTransport, checked_proxy, proxy_of
from tests.peers.authority import Authority
from tests.peers.socks import PASSWORD, USER, SocksProxy
from tests.providers.test_kafka import EVENT

LOCAL = Policy(loopback=True)


def test_url_says_who_resolves_names_and_holds_the_credentials() -> None:
    assert socks_of("socks5h://ann:a%3Ab@p.example") == Socks(host="p.example", port=1080, username="ann", password="a:b", resolves=True)
    assert socks_of("socks5://[::1]:9") == Socks(host="::1", port=9)
    assert socks_of("http://p.example") is None
    assert "a:b" not in repr(socks_of("socks5h://ann:a%3Ab@p.example"))


def test_secret_makes_a_proxy_of_it() -> None:
    held = {"address": b"socks5h://p.example:1080", "username": b"ann", "password": b"a:b"}
    assert proxy_of(held, "Secret/apps/p") == "socks5h://ann:a%3Ab@p.example:1080"


@pytest.mark.parametrize(("address", "socks"), [("socks4://p.example", True), ("socks5://", True), ("socks5://p.example", False)])
def test_proxy_that_is_not_carried_out_is_refused(address: str, socks: bool) -> None:
    with pytest.raises(BadTransport, match="not carried out"):
        checked_proxy(address, "here", socks=socks)


@pytest.fixture(scope="module")
def proxy(peers: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SocksProxy]:
    peers.need("socks")
    with SocksProxy(tmp_path_factory.mktemp("socks")) as running:
        yield running


@pytest.fixture
async def site() -> AsyncIterator[TestServer]:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.method} {request.raw_path} {request.host}")

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    server = TestServer(app)
    await server.start_server(host="127.0.0.1")
    yield server
    await server.close()


async def got(url: str, proxy: str, policy: Policy = LOCAL, tls: ssl.SSLContext | bool = True) -> str:
    limits = aiohttp.ClientTimeout(total=5)
    async with Outbound(policy).session(tls=tls, proxy=proxy, timeout=limits) as session, session.get(url) as answer:
        return await answer.text()


@pytest.mark.real
@pytest.mark.parametrize(("scheme", "asked"), [("socks5", "127.0.0.1 {}"), ("socks5h", "localhost {}")])
async def test_name_is_resolved_where_the_scheme_says(proxy: SocksProxy, site: TestServer, scheme: str, asked: str) -> None:
    assert await got(f"http://localhost:{site.port}/a?b", proxy.url(scheme)) == f"GET /a?b localhost:{site.port}"
    assert proxy.asked[-1] == asked.format(site.port)


@pytest.mark.real
async def test_tls_is_with_the_target(proxy: SocksProxy, tmp_path: Path) -> None:
    authority = Authority()
    certificate, key = authority.pair()
    (tmp_path / "both").write_bytes(certificate + key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "both")
    server = TestServer(web.Application(), scheme="https")
    await server.start_server(host="127.0.0.1", ssl=context)
    trust = ssl.create_default_context(cadata=authority.pem.decode())
    try:
        for scheme in ("socks5", "socks5h"):
            assert await got(f"https://127.0.0.1:{server.port}/", proxy.url(scheme), tls=trust) == "404: Not Found"
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await got(f"https://localhost:{server.port}/", proxy.url(scheme), tls=trust)  # is not in the certificate
    finally:
        await server.close()


@pytest.mark.real
@pytest.mark.parametrize(
    ("url", "scheme", "words"),
    [
        ("http://169.254.169.254/", "socks5h", "link-local"),
        ("http://169.254.169.254/", "socks5", "link-local"),
        ("http://metadata.google.internal/", "socks5h", "metadata service"),
        ("http://localhost:1/", "socks5", "this machine itself"),
    ],
)
async def test_target_is_judged_before_the_proxy_hears_of_it(proxy: SocksProxy, url: str, scheme: str, words: str) -> None:
    before = len(proxy.asked)
    with pytest.raises((OutboundRefused, aiohttp.ClientError)) as caught:
        await got(url, proxy.url(scheme), Policy(loopback="localhost" not in url))
    assert words in str(refusal_in(caught.value))
    assert len(proxy.asked) == before


async def test_proxy_is_judged_too() -> None:
    for at in ("169.254.169.254", "localhost"):
        with pytest.raises((OutboundRefused, aiohttp.ClientError)) as caught:
            await got("http://hooks.example.com/", f"socks5h://{at}:1080", Policy())
        assert refusal_in(caught.value) is not None


@pytest.mark.real
async def test_sources_go_by_way_of_the_one_in_their_secret(proxy: SocksProxy, site: TestServer) -> None:
    secret = {"address": f"socks5h://127.0.0.1:{proxy.port}".encode(), "username": USER.encode(), "password": PASSWORD.encode()}

    async def read(_namespace: str, _name: str) -> Mapping[str, bytes]:
        return secret

    async with Remote(namespace="apps", proxy="p").open(Outbound(LOCAL), read) as way:
        for _ in range(2):
            async with way.session.get(f"http://localhost:{site.port}/v2/") as answer:
                assert answer.status == 200
    assert proxy.asked[-1] == f"localhost {site.port}"


async def told(address: str, proxy: str) -> None:
    async with open_wire(Outbound(LOCAL)) as wire:
        route = Route(target=Target(address=Secret(address)), proxy=Secret(proxy))
        await send(wire, PROVIDERS["generic"], EVENT, route=route, timeout=timedelta(seconds=3))


@pytest.mark.real
async def test_alert_goes_by_way_of_it(proxy: SocksProxy, site: TestServer) -> None:
    await told(f"http://localhost:{site.port}/hook", proxy.url("socks5h"))
    assert proxy.asked[-1] == f"localhost {site.port}"
    with pytest.raises(Busy, match="no connection to the proxy") as caught:
        await told(f"http://localhost:{site.port}/hook", proxy.url("socks5h").replace(USER, "ben"))
    assert PASSWORD not in str(caught.value)
    with pytest.raises(Busy, match="no connection to the proxy"):
        await told("http://127.0.0.1:1/hook", proxy.url("socks5h"))
    with pytest.raises(Misconfigured, match="link-local"):
        await told(f"http://127.0.0.1:{site.port}/hook", "socks5://169.254.169.254")


@pytest.mark.real
async def test_proxy_that_hangs_is_given_up(site: TestServer) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        limits = aiohttp.ClientTimeout(total=None, sock_connect=0.2)
        async with Outbound(LOCAL).session(tls=True, proxy=f"socks5://127.0.0.1:{port}", timeout=limits) as session:
            with pytest.raises(aiohttp.ServerTimeoutError):
                await session.get(f"http://127.0.0.1:{site.port}/")
