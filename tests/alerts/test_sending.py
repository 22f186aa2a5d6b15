"""Where messages may go: what tenants name as a target or a proxy is judged before anything is sent, and redirects are not followed."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from providers import PROVIDERS
from providers.contract import Event, Misconfigured, Rejected, Response, Secret, Target
from service.alerts.route import Route
from service.alerts.sending import open_wire, send
from service.alerts.trial import MADE_UP
from service.outbound import Outbound, Policy, check_url
from tests.providers.conftest import requests_of
from tests.providers.targets import TARGETS

EVENT = Event(
    kind="Kustomization",
    namespace="apps",
    name="web",
    severity="info",
    reason="ReconciliationSucceeded",
    message="done",
    timestamp=datetime(2026, 11, 21, tzinfo=UTC),
)


class Site:
    """Counts what comes, and sends everybody who asks for /away somewhere else."""

    def __init__(self) -> None:
        self.got: list[str] = []
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self.server = TestServer(app)

    async def _answer(self, request: web.Request) -> web.Response:
        self.got.append(request.path)
        if request.path == "/away":
            raise web.HTTPTemporaryRedirect(str(self.server.make_url("/elsewhere")))
        return web.Response(text="ok")

    def at(self, path: str) -> str:
        return str(self.server.make_url(path))


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    await made.server.start_server(host="127.0.0.1")
    yield made
    await made.server.close()


async def tell(address: str, *, type_: str = "generic", policy: Policy | None = None, proxy: str = "") -> None:
    target = Target(address=Secret(address), channel="events", headers={"Authorization": "Bearer hush"})
    async with open_wire(Outbound(policy)) as wire:
        await send(wire, PROVIDERS[type_], EVENT, route=Route(target=target, proxy=Secret(proxy)), timeout=timedelta(seconds=2))


@pytest.mark.parametrize(
    "address",
    [
        "http://169.254.169.254/latest/meta-data/iam", "http://metadata.google.internal/x", "http://[fd00:ec2::254]/", "http://2852039166/",
        "http://[::ffff:169.254.169.254]/", "http://127.0.0.1:9440/", "http://localhost:9440/", "http://0.0.0.0/", "http://0177.1/",
    ],
)  # fmt: skip
async def test_addresses_of_clouds_and_of_this_machine_are_refused(address: str) -> None:
    with pytest.raises(Misconfigured, match="refused: "):
        await tell(address)


async def test_own_ports_are_refused_even_where_loopback_is_allowed(site: Site) -> None:
    port = site.server.port
    assert port
    with pytest.raises(Misconfigured, match="this machine itself"):
        await tell(site.at("/"), policy=Policy(loopback=True, ports=frozenset([port])))
    await tell(site.at("/in"), policy=Policy(loopback=True))
    assert site.got == ["/in"]


async def test_name_is_judged_by_what_it_resolves_to(site: Site) -> None:
    with pytest.raises(Misconfigured, match=r"localhost: (127|::1)"):
        await tell(f"http://localhost:{site.server.port}/")
    assert site.got == []


async def test_redirect_is_an_answer_and_credentials_go_no_further(site: Site) -> None:
    with pytest.raises(Rejected, match="answered 307"):
        await tell(site.at("/away"), policy=Policy(loopback=True))
    assert site.got == ["/away"]


@pytest.mark.parametrize("proxy", ["http://169.254.169.254:3128", "http://127.0.0.1:3128", "http://localhost:3128"])
async def test_proxy_that_a_tenant_names_is_judged_too(proxy: str) -> None:
    with pytest.raises(Misconfigured, match="refused: "):
        await tell("https://hooks.example.com/x", proxy=proxy)


async def test_proxy_of_the_environment_is_the_operators(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", site.at("").rstrip("/"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    await tell("http://93.184.216.34/hook")
    with pytest.raises(Misconfigured, match="link-local"):
        await tell("http://169.254.169.254/hook")
    assert site.got == ["/hook"]


async def test_sockets_of_a_broker_are_judged() -> None:
    for address in ("nats://169.254.169.254:4222", "nats://localhost:4222", "nats://127.1:4222"):
        with pytest.raises(Misconfigured, match="refused: "):
            await tell(address, type_="nats")


async def test_broker_is_reached_where_one_of_its_addresses_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"-ERR 'Authorization Violation'\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        outbound = Outbound(Policy(loopback=True))
        port = server.sockets[0].getsockname()[1]

        async def two(_host: str, _port: int) -> list[str]:
            return ["127.0.0.2", "127.0.0.1"]  # nobody listens on the first

        monkeypatch.setattr(outbound, "addresses", two)
        async with open_wire(outbound) as wire:
            target = Target(address=Secret(f"nats://broker.example:{port}"), channel="events")
            with pytest.raises(Exception, match=r"NATS|nats"):
                await send(wire, PROVIDERS["nats"], EVENT, route=Route(target=target), timeout=timedelta(seconds=2))


@pytest.mark.parametrize("name", TARGETS)
def test_requests_of_every_type_have_addresses_that_can_be_judged(name: str) -> None:
    target, told = TARGETS[name], replace(EVENT, severity="error", metadata={"revision": "a" * 40, "change_request": "7"})
    requests = list(requests_of(PROVIDERS[name], told, target, [Response(status=200, headers={}, body=MADE_UP)] * 9))
    assert requests
    for request in requests:
        check_url(request.url.reveal())
