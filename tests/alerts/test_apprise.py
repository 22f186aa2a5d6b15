"""Apprise as the service runs it: a mail arrives at a server, refusals are told by their consequence and hold no secret."""

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from providers import PROVIDERS
from providers.contract import Busy, Misconfigured, Rejected, Secret, Target
from service.alerts.route import Route
from service.alerts.sending import Wire, open_wire, send
from service.outbound import Outbound, Policy
from tests.alerts.conftest import World, alert, event, provider
from tests.alerts.test_sending import EVENT
from tests.peers.smtp import Smtp

TAIL = "from=sluice@example.com&to=ann@example.com"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wire() -> AsyncIterator[Wire]:
    """One for all: its process loads the library once."""
    async with open_wire(Outbound(Policy(loopback=True))) as made:
        yield made


async def tell(wire: Wire, address: str, timeout: timedelta = timedelta(seconds=15)) -> None:
    await send(wire, PROVIDERS["apprise"], EVENT, route=Route(target=Target(address=Secret(address))), timeout=timeout)


async def test_mail_arrives(wire: Wire) -> None:
    smtp = Smtp()
    async with smtp.running() as port:
        await tell(wire, f"mailto://ops:hush-word@127.0.0.1:{port}?{TAIL}&format=text")
    [(sender, receivers, mail)] = smtp.mails
    assert (sender, receivers) == ("sluice@example.com", ["ann@example.com"])
    assert mail["subject"] == "kustomization/web.apps: reconciliation succeeded"
    body = mail.get_body()
    assert body is not None
    assert body.get_content().strip() == "done"
    assert "apprise" not in sys.modules  # only in the process of its own


@pytest.mark.parametrize(
    ("says", "password", "error", "words"),
    [
        ({}, "wrong-word", Rejected, "535"),
        ({"RCPT": "550 5.1.1 no such mailbox"}, "hush-word", Rejected, "550"),
        ({"MAIL": "451 4.3.0 try again later"}, "hush-word", Busy, "451"),
        ({"DATA": "451 4.3.0 try again later"}, "hush-word", Busy, "451"),
    ],
)
async def test_refusals_of_a_mail_server_are_told(
    wire: Wire, says: dict[str, str], password: str, error: type[Exception], words: str
) -> None:
    smtp = Smtp(says=says)
    async with smtp.running() as port:
        with pytest.raises(error, match=words) as caught:
            await tell(wire, f"mailto://ops:{password}@127.0.0.1:{port}?{TAIL}")
    assert password not in str(caught.value)
    assert "ann@example.com" not in str(caught.value)


async def test_server_that_hangs_does_not_hold_the_next_message(wire: Wire) -> None:
    smtp = Smtp(says={"EHLO": "250-wait for it"})
    async with smtp.running() as port:
        with pytest.raises(Busy, match="no answer within"):
            await tell(wire, f"mailto://ops:hush-word@127.0.0.1:{port}?{TAIL}", timeout=timedelta(seconds=0.3))
        smtp.says = {}
        await tell(wire, f"mailto://ops:hush-word@127.0.0.1:{port}?{TAIL}")
    assert len(smtp.mails) == 1


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("nope://hush-word", "not one that Apprise can use"),
        ("json://169.254.169.254/latest", "link-local"),
        ("rsyslog://169.254.169.254", "link-local"),
    ],
)
async def test_addresses_that_cannot_be_used_are_told(wire: Wire, address: str, words: str) -> None:
    with pytest.raises(Misconfigured, match=words) as caught:
        await tell(wire, address)
    assert "hush" not in str(caught.value)


@pytest.mark.asyncio(loop_scope="function")
@pytest.mark.parametrize(("form", "shown"), [("plain", "<b>5 > 3</b>"), ("html", "&lt;b&gt;5 &gt; 3&lt;/b&gt;")])
async def test_event_becomes_a_mail(world: World, form: str, shown: str) -> None:
    smtp = Smtp()
    async with smtp.running() as port:
        world.secrets["apps", "mail"] = {
            "address": f"mailto://ops:hush-word@127.0.0.1:{port}?{TAIL}{'&format=html' * (form == 'html')}".encode()
        }
        world.put(alert(), provider(type="apprise", secretRef={"name": "mail"}))
        async with world.running():
            await world.tell(event("Deployment/web: <b>5 > 3</b>", severity="error", reason="HealthCheckFailed"))
            async with asyncio.timeout(20):  # the process starts, and loads the library
                while not smtp.mails:  # noqa: ASYNC110 - the server tells nobody
                    await asyncio.sleep(0.02)
            await world.settled(sent=1)
    [(_, _, mail)] = smtp.mails
    body = mail.get_body((form,))
    assert body is not None
    assert shown in body.get_content().replace("&nbsp;", " ")


@pytest.mark.asyncio(loop_scope="function")
async def test_what_apprise_cannot_use_is_an_error_and_not_passed_over(world: World) -> None:
    world.put(alert(), provider(type="apprise", address="json://a.example", proxy="http://proxy.example:3128"))
    async with world.running():
        await world.tell(event())
        assert "spec.proxy: not carried out for the type apprise" in await world.warned()
