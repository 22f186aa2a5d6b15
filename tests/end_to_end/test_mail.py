"""A push becomes a mail, by a type that Flux's CRD does not know; a Provider that names what must not be reached is told of it.

On both API servers, with the service as a process and the mail sent by the process that it starts for Apprise.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.end_to_end.world import NOTIFICATION, World
from tests.peers.smtp import Smtp


@contextmanager
def serving(smtp: Smtp) -> Iterator[int]:
    """The mail server in a thread of its own; the port."""
    loop, ready, ports = asyncio.new_event_loop(), threading.Event(), []
    done = asyncio.Event()

    async def run() -> None:
        async with smtp.running() as port:
            ports.append(port)
            ready.set()
            await done.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), name="mail server")
    thread.start()
    try:
        assert ready.wait(5)
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(5)
        loop.close()


def provider(world: World, name: str, kind: str, **spec: Any) -> list[dict[str, Any]]:
    made = world.made(f"{NOTIFICATION}/v1beta3", "Provider", name, {"type": "generic", **spec})
    made["metadata"]["annotations"] = {"notification.sluice.dev/type": kind}
    sources = [{"kind": "Kustomization", "name": "shop-production"}]
    alert = {"providerRef": {"name": name}, "eventSources": sources}
    return [made, world.made(f"{NOTIFICATION}/v1beta3", "Alert", name, alert)]


def test_a_push_becomes_a_mail(town: World) -> None:
    smtp = Smtp()
    with serving(smtp) as port:
        town.sluice.start()
        address = f"mailto://ops:hush-word@127.0.0.1:{port}?from=sluice@example.com&to=ann@example.com"
        mail = provider(town, "mail", "apprise", secretRef={"name": "mail"})
        cloud = provider(town, "cloud", "", address="http://169.254.169.254/latest/meta-data")
        town.install()
        for each in (town.secret("mail", address=address), *mail, *cloud):
            town.kube.apply(each)
        commit = town.greet("good morning", subject="Greet the early ones")
        assert town.hook(commit).status == 200
        town.wait_greeting("good morning")
        town.sluice.wait_log(lambda lines: any("link-local" in str(line.get("error")) for line in lines))
        town.sluice.wait_log(
            lambda lines: any(line.get("msg") == "message sent" and str(line.get("provider")).endswith("/mail") for line in lines)
        )
    assert any(commit[:7] in str(mail.get_content()) for _, _, mail in smtp.mails)
    assert "hush-word" not in town.sluice.log_file.read_text()
