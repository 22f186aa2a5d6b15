"""The way to a target: own authorities, client certificates and proxies, against real servers."""

import ssl
from base64 import b64decode
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from providers import PROVIDERS
from service.alerts.credentials import BadCredentials
from service.alerts.route import Route, route_of
from service.kinds.codec import decode
from service.kinds.notification import Provider
from tests.alerts.conftest import Slack, World, alert, event, provider
from tests.peers.authority import Authority

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOOK = "https://hooks.example.com/hush-hush"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
async def strict(authority: Authority, tmp_path: Path) -> AsyncIterator[Slack]:
    """A target that speaks TLS and wants a client certificate."""
    certificate, key = authority.pair()
    (tmp_path / "both").write_bytes(certificate + key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=authority.pem.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(tmp_path / "both")
    made = Slack()
    made.server.scheme = "https"
    await made.server.start_server(host="127.0.0.1", ssl=context)
    yield made
    await made.server.close()


async def test_client_certificate_and_own_authority_are_used(world: World, strict: Slack, authority: Authority) -> None:
    certificate, key = authority.pair()
    world.secrets["apps", "tls"] = {"ca.crt": authority.pem, "tls.crt": certificate, "tls.key": key}
    world.put(alert(), provider(address=strict.address, certSecretRef={"name": "tls"}))
    async with world.running():
        await world.tell(event("a"), event("b"))
        await world.settled(sent=2)
    assert len(strict.got) == 2


@pytest.mark.parametrize("held", [(), ("ca.crt",), ("tls.crt", "tls.key")])
async def test_tls_that_is_not_complete_sends_nothing(world: World, strict: Slack, authority: Authority, held: tuple[str, ...]) -> None:
    certificate, key = authority.pair()
    all_keys = {"ca.crt": authority.pem, "tls.crt": certificate, "tls.key": key}
    spec: dict[str, Any] = {"certSecretRef": {"name": "tls"}} if held else {}
    world.secrets["apps", "tls"] = {name: all_keys[name] for name in held}
    world.put(alert(), provider(address=strict.address, **spec))
    async with world.running():
        await world.tell(event())
        warning = await world.warned()
    assert strict.got == []
    assert "TLS" in warning or "connection" in warning


async def test_proxy_is_gone_through_with_its_credentials(world: World) -> None:
    got: list[tuple[str, str]] = []

    async def forward(request: web.Request) -> web.Response:
        got.append((request.raw_path if "://" in request.raw_path else str(request.url), request.headers.get("Proxy-Authorization", "")))
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", forward)
    proxy = TestServer(app)
    await proxy.start_server(host="127.0.0.1")
    world.secrets["apps", "proxy"] = {"address": str(proxy.make_url("/")).encode(), "username": b"us@er", "password": b"pa/ss"}
    world.put(alert(), provider(address="http://hooks.example.invalid/x", proxySecretRef={"name": "proxy"}))
    async with world.running():
        await world.tell(event())
        await world.settled(sent=1)
    await proxy.close()
    [(url, authorization)] = got
    assert url == "http://hooks.example.invalid/x"
    assert b64decode(authorization.removeprefix("Basic ")) == b"us@er:pa/ss"


async def routed(secrets: Mapping[str, Mapping[str, bytes]], **spec: Any) -> Route:
    async def read(_: str, name: str) -> Mapping[str, bytes] | None:
        return secrets.get(name)

    typed = decode(Provider, provider(address=HOOK, **spec))
    return await route_of(typed, PROVIDERS[typed.spec.type], read, now=NOW)


@pytest.mark.parametrize(
    ("spec", "secret", "words"),
    [
        ({"certSecretRef": {"name": "s"}}, None, "does not exist"),
        ({"certSecretRef": {"name": "s"}}, {"tls.crt": b"hush"}, "only one of tls.crt and tls.key"),
        ({"certSecretRef": {"name": "s"}}, {}, "neither ca.crt nor"),
        ({"certSecretRef": {"name": "s"}}, {"ca.crt": b"hush"}, "cannot be used"),
        ({"certSecretRef": {"name": "s"}}, {"ca.crt": b"\xff"}, "cannot be used"),
        ({"certSecretRef": {"name": "s"}}, {"tls.crt": b"hush", "tls.key": b"hush"}, "cannot be used"),
        ({"proxySecretRef": {"name": "s"}}, {}, "no key address"),
        ({"proxySecretRef": {"name": "s"}}, {"address": b"http://p", "username": b"hush"}, "only one of username and password"),
        ({"proxySecretRef": {"name": "s"}}, {"address": b"http://p", "username": b"hu:sh", "password": b"p"}, "username with a colon"),
        ({"proxySecretRef": {"name": "s"}}, {"address": b"socks4://hush:1"}, "other kinds are not carried out"),
        ({"secretRef": {"name": "s"}}, {"proxy": b"hush"}, "other kinds are not carried out"),
    ],
)
async def test_what_is_missing_is_named_and_not_shown(spec: dict[str, Any], secret: dict[str, bytes] | None, words: str) -> None:
    with pytest.raises(BadCredentials) as caught:
        await routed({} if secret is None else {"s": secret}, **spec)
    assert words in str(caught.value)
    assert "hush" not in str(caught.value)


async def test_proxy_of_its_own_secret_wins_and_is_masked() -> None:
    secrets = {"s": {"proxy": b"http://old:1"}, "p": {"address": b"http://new:2", "username": b"u", "password": b"hush"}}
    route = await routed(secrets, secretRef={"name": "s"}, proxySecretRef={"name": "p"}, proxy="http://oldest:1")
    assert route.proxy.reveal() == "http://u:hush@new:2"
    assert route.masked(f"a {HOOK} b http://u:hush@new:2 c") == "a *** b *** c"
    assert "hush" not in repr(route)


async def test_same_certificates_make_one_context(authority: Authority) -> None:
    secrets = {"s": {"ca.crt": authority.pem}}
    one, two = [await routed(secrets, certSecretRef={"name": "s"}) for _ in range(2)]
    assert one.tls is not None
    assert one.tls is two.tls
