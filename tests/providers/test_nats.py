"""NATS over a socket: what is published, and what each end of the conversation means."""

import asyncio
import base64
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from providers import nats
from providers.contract import Busy, Certificates, Misconfigured, Rejected, Secret, Target
from tests.peers.binaries import binary
from tests.peers.process import Running, free_port
from tests.providers.conftest import FOLDER, event_of, target_of

SEED = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"  # of NATS' own documentation
PUBLIC = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"


@dataclass(frozen=True)
class Direct:
    """Connections without rules."""

    tls: ssl.SSLContext | None = None
    certificates: Certificates | None = None
    timeout: timedelta = timedelta(seconds=15)

    async def connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(host, port)

    async def apart(self, function: Callable[..., Any], *args: object) -> Any:
        return function(*args)


MEANS = Direct()


@dataclass
class Server:
    """Speaks the server's side; `says` may answer a line of the client's."""

    greeting: bytes = b'INFO {"nonce": "abc"}\r\n'
    says: Callable[[bytes], bytes | None] = lambda line: b"PONG\r\n" if line == b"PING\r\n" else b""
    lines: list[bytes] = field(default_factory=list)
    payload: bytes = b""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.greeting)
        while line := await reader.readline():
            self.lines.append(line)
            if line.startswith(b"PUB "):
                self.payload = (await reader.readexactly(int(line.split()[-1]) + 2))[:-2]
            answer = self.says(line)
            if answer is None:
                break
            writer.write(answer)
        writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1")
        async with server:
            yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    @property
    def connect(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.lines[0].removeprefix(b"CONNECT "))
        return found


EVENT = event_of(json.loads((FOLDER / "nats" / "applied" / "event.json").read_text())["event"])


async def published(server: Server, target: Target) -> None:
    async with server.running() as address:
        await nats.publish(EVENT, replace(target, address=Secret(address)), MEANS)


@pytest.mark.parametrize("case", sorted((FOLDER / "nats").glob("*/")), ids=lambda path: path.name)
async def test_published_equals_the_recording(case: Path) -> None:
    given, server = json.loads((case / "event.json").read_text()), Server()
    async with server.running() as address:
        await nats.publish(event_of(given["event"]), replace(target_of(given["target"]), address=Secret(address)), MEANS)
    seen = {"connect": server.connect, "publish": server.lines[2].split()[1].decode(), "body": json.loads(server.payload)}
    assert seen == json.loads((case / "request.json").read_text())
    assert [line.split()[0] for line in server.lines] == [b"CONNECT", b"PING", b"PUB", b"PING"]


CREDS = f"-----BEGIN NATS USER JWT-----\ne.y.J\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n{SEED}\n"


@pytest.mark.parametrize("keys", [{"nkey": SEED}, {"creds": CREDS}])
async def test_nonce_is_signed_with_the_seed(keys: dict[str, str]) -> None:
    server = Server()
    await published(server, Target(channel="a", keys={name: Secret(text) for name, text in keys.items()}))
    assert server.connect.get("nkey", PUBLIC) == PUBLIC
    assert server.connect.get("jwt", "e.y.J") == "e.y.J"
    raw = base64.b32decode(PUBLIC + "=" * (-len(PUBLIC) % 8))[1:-2]
    signature = server.connect["sig"]
    Ed25519PublicKey.from_public_bytes(raw).verify(base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)), b"abc")
    assert SEED.encode() not in b"".join(server.lines)


@pytest.mark.parametrize(
    ("server", "error"),
    [
        (Server(greeting=b"SSH-2.0-x\r\n"), Busy),
        (Server(greeting=b"INFO {\r\n"), Busy),
        (Server(greeting=b"INFO {}\r\n" + b"x" * 70_000), Busy),
        (Server(says=lambda _: None), Busy),
        (Server(says=lambda _: b"-ERR 'Authorization Violation'\r\n"), Misconfigured),
        (Server(says=lambda _: b"-ERR 'Permissions Violation for Publish to \"a\"'\r\n"), Misconfigured),
        (Server(says=lambda _: b"-ERR 'Maximum Payload Violation'\r\n"), Rejected),
        (Server(says=lambda _: b"-ERR 'Slow Consumer'\r\n"), Busy),
        (Server(greeting=b'INFO {"tls_required": true}\r\n', says=lambda _: None), Busy),
    ],
)
async def test_what_goes_wrong_is_told_by_its_consequence(server: Server, error: type[Exception]) -> None:
    with pytest.raises(error):
        await published(server, Target(channel="a"))


async def test_server_that_is_not_there_is_busy() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(Busy, match="no connection"):
            await nats.publish(EVENT, Target(address=Secret(f"nats://127.0.0.1:{taken.getsockname()[1]}"), channel="a"), MEANS)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (Target(channel="a"), "no address"),
        (Target(address=Secret("nats://127.0.0.1:1")), "no subject"),
        (Target(address=Secret("nats://127.0.0.1:1"), channel="a b\r\nPUB x 0"), "not a subject"),
        (Target(address=Secret("nats://127.0.0.1:1"), channel="a.>"), "not a subject"),
    ],
)
async def test_what_is_missing_is_named(target: Target, words: str) -> None:
    with pytest.raises(Misconfigured, match=words):
        await nats.publish(EVENT, target, MEANS)


@pytest.mark.parametrize("keys", [{"nkey": "hush"}, {"nkey": SEED[:-1] + "A"}, {"creds": SEED}])
async def test_seed_that_is_none_is_named_and_not_shown(keys: dict[str, str]) -> None:
    with pytest.raises(Misconfigured) as caught:
        await published(Server(), Target(channel="a", keys={name: Secret(text) for name, text in keys.items()}))
    assert not any(text in str(caught.value) for text in keys.values())


@pytest.mark.real
async def test_real_server_has_the_event(peers: Any, tmp_path: Path) -> None:
    peers.need("nats-server")
    port, conf = free_port(), tmp_path / "conf"
    conf.write_text(f'listen: "127.0.0.1:{port}"\nauthorization {{ users = [ {{ nkey: {PUBLIC} }} ] }}\n')
    with Running("nats-server", [binary("nats-server"), "-c", conf], log=tmp_path / "log"):
        target = Target(address=Secret(f"nats://127.0.0.1:{port}"), channel="flux.events", keys={"nkey": Secret(SEED)})
        async with asyncio.timeout(10):
            await until_it_is_up(target)
        with pytest.raises(Misconfigured, match="refuses the credentials"):
            await nats.publish(EVENT, replace(target, keys={}), MEANS)
        with pytest.raises(Busy):
            await nats.publish(EVENT, target, replace(MEANS, tls=ssl.create_default_context()))


async def until_it_is_up(target: Target) -> None:
    while True:
        try:
            await nats.publish(EVENT, target, MEANS)
            return
        except Busy:
            await asyncio.sleep(0.05)
