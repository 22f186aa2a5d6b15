"""Addresses that tenants name: what is refused, before anything is sent, however it is spelt."""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator
from datetime import timedelta

import aiohttp
import pytest
from aiohttp import web

from service import outbound
from service.outbound import Outbound, OutboundFailed, OutboundRefused, Policy, check_url, problem_of

SOON = timedelta(seconds=2)
LOCAL = Policy(loopback=True)


async def get(url: str, policy: Policy = LOCAL, most_bytes: int = 1000) -> outbound.Fetched:
    return await Outbound(policy).get(url, timeout=SOON, most_bytes=most_bytes)


@pytest.fixture
async def site() -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        match request.path:
            case "/to":
                return web.Response(status=302, headers={"Location": request.query["url"]})
            case "/again":
                return web.Response(status=307, headers={"Location": "/again"})
            case "/slow":
                await asyncio.sleep(5)
        return web.Response(text=f"host {request.host}")

    app = web.Application()
    app.router.add_get("/{rest:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "169.254.170.2", "fe80::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "fd00:ec2::254",
        "100.100.100.200", "168.63.129.16", "192.0.0.192", "0.0.0.0", "::", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1",
        "224.0.0.1",
        "ff02::1",
        "240.0.0.1", "255.255.255.255",
    ],
)  # fmt: skip
def test_addresses_that_are_never_reached(address: str) -> None:
    assert problem_of(ipaddress.ip_address(address), 443, Policy())


@pytest.mark.parametrize("address", ["10.0.0.1", "192.168.1.1", "172.16.0.1", "fd12::1"])
def test_private_addresses_by_a_switch(address: str) -> None:
    assert problem_of(ipaddress.ip_address(address), 443, Policy()) == ""
    assert "private" in problem_of(ipaddress.ip_address(address), 443, Policy(private=False))


def test_public_addresses_are_reached_and_our_own_ports_are_not() -> None:
    assert problem_of(ipaddress.ip_address("140.82.121.3"), 443, Policy(private=False)) == ""
    assert problem_of(ipaddress.ip_address("127.0.0.1"), 80, LOCAL) == ""
    assert problem_of(ipaddress.ip_address("127.0.0.1"), 9292, Policy(loopback=True, ports=frozenset([9292])))


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://example.com/", "http://", "//example.com", "https://user@example.com/", "https://u:p@example.com/",
     "http://[::1", "http://example.com:99999/", "http://metadata.google.internal/",
      "http://METADATA.google.internal./x", "", "http:example.com"],
)  # fmt: skip
def test_urls_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(OutboundRefused):
        check_url(url)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "0x7f.1", "2130706433", "0177.0.0.1", "[::1]", "localhost", "169.254.169.254", "0"])
async def test_no_spelling_gets_through(host: str) -> None:
    with pytest.raises(OutboundRefused):
        await get(f"http://{host}:1/", Policy())


async def test_an_answer_is_read_up_to_its_bound(site: str) -> None:
    found = await get(f"{site}/x")
    assert (found.status, found.body[:5], found.url) == (200, b"host ", f"{site}/x")
    with pytest.raises(OutboundFailed, match="larger"):
        await get(site, most_bytes=3)
    with pytest.raises(OutboundFailed, match="within"):
        await Outbound(LOCAL).get(f"{site}/slow", timeout=timedelta(seconds=0.1), most_bytes=10)
    with pytest.raises(OutboundFailed):
        await get("http://127.0.0.1:1/")


async def test_each_redirect_is_checked(site: str) -> None:
    assert (await get(f"{site}/to?url=/there")).url == f"{site}/there"
    with pytest.raises(OutboundRefused, match="link-local"):
        await get(f"{site}/to?url=http://169.254.169.254/latest/meta-data/")
    with pytest.raises(OutboundRefused, match="must begin"):
        await get(f"{site}/to?url=file:///etc/passwd")
    with pytest.raises(OutboundFailed, match="more than"):
        await get(f"{site}/again")


async def test_a_name_is_checked_by_what_it_resolves_to_when_it_is_used(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name whose second answer is another address gets nowhere: the connection is made to what was checked."""
    answers = iter([["140.82.121.3", "169.254.169.254"], ["127.0.0.1"]])

    async def resolved(host: str, port: int, family: int = socket.AF_UNSPEC) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
        return [ipaddress.ip_address(address) for address in next(answers)]

    monkeypatch.setattr(outbound, "_resolved", resolved)
    port = site.rpartition(":")[2]
    with pytest.raises(OutboundRefused, match=r"git\.example"):
        await get(f"http://git.example:{port}/")
    assert (await get(f"http://git.example:{port}/")).body == f"host git.example:{port}".encode()


async def test_a_proxy_does_not_take_the_check_away(monkeypatch: pytest.MonkeyPatch, site: str) -> None:
    monkeypatch.setenv("http_proxy", site)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(OutboundRefused):
        await get("http://169.254.169.254/")
    with pytest.raises(OutboundRefused):
        await get("http://localhost:1/", Policy())
    assert (await get("http://only-the-proxy-knows.invalid/")).body == b"host only-the-proxy-knows.invalid"


async def test_sessions_take_the_environments_proxy_which_is_not_judged(monkeypatch: pytest.MonkeyPatch, site: str) -> None:
    monkeypatch.setenv("http_proxy", site.replace("//", "//user:secret@"))
    monkeypatch.setenv("no_proxy", "direct.invalid")
    strict = Policy(private=False)
    async with Outbound(strict).session(tls=True, timeout=aiohttp.ClientTimeout(total=2)) as session:
        async with session.get("http://only-the-proxy-knows.invalid/seen") as answer:
            assert await answer.text() == "host only-the-proxy-knows.invalid"
        for url in ("http://169.254.169.254/", "http://metadata.google.internal/", site):
            with pytest.raises(OutboundRefused):
                await session.get(url)
        with pytest.raises(aiohttp.ClientConnectorDNSError):
            await session.get("http://direct.invalid/")
