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
            if line.startswith((b"PUB ", b"HPUB ")):
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


ASKS = b"PUB $JS.API.STREAM.NAMES"
STREAMY = b'INFO {"nonce": "abc", "headers": true, "jetstream": true}\r\n'


@dataclass
class Streams:
    """Answers as a server with JetStream does: `found` to the question for streams, `stored` to the message."""

    found: bytes = b'{"streams": ["FLUX"]}'
    stored: bytes = b'{"stream": "FLUX", "seq": 1}'
    lines: list[bytes] = field(default_factory=list)
    inbox: bytes = b""

    def __call__(self, line: bytes) -> bytes | None:
        self.lines.append(line)
        if line.startswith(ASKS):
            self.inbox = line.split()[2]
            return self._message(self.found)
        if line.startswith(b"HPUB"):
            return self._message(self.stored)
        return b"PONG\r\n" if line == b"PING\r\n" else b""

    def _message(self, body: bytes) -> bytes:
        return body if body.startswith(b"-ERR") else b"PING\r\nMSG %s 1 %d\r\n%s\r\n" % (self.inbox, len(body), body)


async def test_stream_s_word_counts_where_it_holds_the_subject() -> None:
    says = Streams()
    await published(server := Server(greeting=STREAMY, says=says), Target(channel="flux.events"))
    [sent] = [each for each in server.lines if each.startswith(b"HPUB")]
    assert sent.split()[1] == b"flux.events"
    assert not any(each.startswith(b"PUB flux.events") for each in server.lines)
    assert server.connect["headers"] is server.connect["no_responders"] is True


FORBIDDEN = b"-ERR 'Permissions Violation for Publish to \"$JS.API.STREAM.NAMES\"'\r\n"
UNHEARD = b"-ERR 'Permissions Violation for Subscription to \"_INBOX.a.*\"'\r\n"


@pytest.mark.parametrize("found", [b'{"streams": null}', b'{"error": {"code": 503}}', b"", b"[1]", FORBIDDEN, UNHEARD + FORBIDDEN])
async def test_subject_without_a_stream_is_published_as_before(found: bytes) -> None:
    await published(server := Server(greeting=STREAMY, says=Streams(found=found)), Target(channel="flux.events"))
    assert any(each.startswith(b"PUB flux.events") for each in server.lines)


@pytest.mark.parametrize(
    ("stored", "error"),
    [
        (b'{"error": {"code": 503, "err_code": 10077, "description": "hush"}}', Busy),
        (b'{"error": {"code": 400, "err_code": 10054, "description": "hush"}}', Rejected),
        (b"", Busy),
        (b"{", Busy),
        (b'{"seq": "1"}', Busy),
        (b"-ERR 'Permissions Violation for Publish to \"flux.events\"'\r\n", Misconfigured),
    ],
)
async def test_what_the_stream_does_not_store_is_told(stored: bytes, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        await published(Server(greeting=STREAMY, says=Streams(stored=stored)), Target(channel="flux.events"))
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.real
async def test_real_server_has_the_event(peers: Any, tmp_path: Path, streams: bool) -> None:
    peers.need("nats-server")
    port, conf = free_port(), tmp_path / "conf"
    store = f'jetstream {{ store_dir: "{tmp_path}" }}\n' if streams else ""
    conf.write_text(f'listen: "127.0.0.1:{port}"\n{store}authorization {{ users = [ {{ nkey: {PUBLIC} }} ] }}\n')
    with Running("nats-server", [binary("nats-server"), "-c", conf], log=tmp_path / "log"):
        target = Target(address=Secret(f"nats://127.0.0.1:{port}"), channel="flux.events", keys={"nkey": Secret(SEED)})
        async with asyncio.timeout(10):
            await until_it_is_up(target)
        with pytest.raises(Misconfigured, match="refuses the credentials"):
            await nats.publish(EVENT, replace(target, keys={}), MEANS)
        with pytest.raises(Busy):
            await nats.publish(EVENT, target, replace(MEANS, tls=ssl.create_default_context()))


@pytest.mark.real
async def test_real_stream_stores_each_event_once(peers: Any, tmp_path: Path) -> None:
    peers.need("nats-server")
    port = free_port()
    command = [binary("nats-server"), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", tmp_path]
    with Running("nats-server", command, log=tmp_path / "log"):
        target = Target(address=Secret(f"nats://127.0.0.1:{port}"), channel="flux.events")
        async with asyncio.timeout(10):
            await until_it_is_up(target)
            stream = {"name": "FLUX", "subjects": ["flux.>"], "max_msgs": 2, "discard": "new", "max_msg_size": 4000}
            assert "error" not in await api(port, "STREAM.CREATE.FLUX", stream)
            for number in (1, 1, 2, 1):
                await nats.publish(replace(EVENT, id=f"id-{number}"), target, MEANS)
            with pytest.raises(Rejected, match="longer than the stream takes"):
                await nats.publish(replace(EVENT, id="long", message="a" * 5000), target, MEANS)
            with pytest.raises(Busy, match="did not store it"):
                await nats.publish(replace(EVENT, id="id-3"), target, MEANS)
            assert (await api(port, "STREAM.INFO.FLUX"))["state"]["messages"] == 2
            got = await api(port, "STREAM.MSG.GET.FLUX", {"seq": 1})
    assert json.loads(base64.b64decode(got["message"]["data"]))["involvedObject"]["name"] == "web"


async def api(port: int, name: str, body: object = "") -> Any:
    """What JetStream answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    asked = json.dumps(body).encode() if body else b""
    writer.write(b"CONNECT {}\r\nSUB here 1\r\nPUB $JS.API.%s here %d\r\n%s\r\n" % (name.encode(), len(asked), asked))
    while not (line := await reader.readline()).startswith(b"MSG"):
        pass
    answer = await reader.readexactly(int(line.split()[-1]))
    writer.close()
    await writer.wait_closed()
    return json.loads(answer)


async def until_it_is_up(target: Target) -> None:
    while True:
        try:
            await nats.publish(EVENT, target, MEANS)
            return
        except Busy:
            await asyncio.sleep(0.05)
