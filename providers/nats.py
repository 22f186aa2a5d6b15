"""nats: the event itself, as JSON, on a subject of NATS.

Credentials: put a `.creds` file into the Secret's key `creds`, or a user's seed (`SU...`) into `nkey`, or `username` and `password`, or
`token`, as the server asks (https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro). The address is
`nats://<host>:4222`, or `tls://`; `spec.channel` is the subject. Sent is Flux's event JSON. Where a stream of JetStream holds the subject,
the message counts as sent when the stream has stored it, once only in its window for duplicates; elsewhere when the server has answered a
PING after it. https://docs.nats.io/reference/reference-protocols/nats_api_reference
"""

import asyncio
import json
import secrets
import ssl
from contextlib import suppress
from urllib.parse import urlsplit

from providers.answers import address_of, needs
from providers.contract import Busy, Event, Means, Misconfigured, Target
from providers.flux_event import flux_bytes
from providers.nats_wire import STREAMS, SUBJECT, NotAllowed, check_stored, connect, has_streams, holds, info, refusal, size_of

PORT = 4222


def preview(event: Event, target: Target) -> str:
    """What would be published."""
    return f"PUB {target.channel}\n\n{flux_bytes(event).decode()}"


async def publish(event: Event, target: Target, means: Means) -> None:
    """Publish the event; the caller bounds the time. Raises Misconfigured, Rejected, Busy."""
    parts = urlsplit(address_of(target))
    subject = needs(target.channel, "no subject: set spec.channel")
    if not SUBJECT.fullmatch(subject) or not subject.isprintable():
        raise Misconfigured("spec.channel is not a subject: write words with dots between them, without * and >")
    body = flux_bytes(event)
    try:
        reader, writer = await means.connect(parts.hostname or "", parts.port or PORT)
    except OSError as error:
        raise Busy(f"no connection: {error.strerror or type(error).__name__}") from None
    try:
        greeting = info(await reader.readuntil(b"\r\n"))
        secure = parts.scheme == "tls" or means.tls is not None or greeting.get("tls_required") is True
        if secure:
            await writer.start_tls(means.tls or ssl.create_default_context(), server_hostname=parts.hostname)
        writer.write(connect(greeting, target, tls=secure) + b"PING\r\n")
        link = _Link(reader, writer)
        await link.pong()
        if has_streams(greeting) and await link.is_held(subject):
            await link.store(subject, body, event.id)
        else:
            writer.write(b"PUB %s %d\r\n%s\r\nPING\r\n" % (subject.encode(), len(body), body))
            await link.pong()
    except ssl.SSLError:
        raise Busy("the TLS connection failed: check the certificate of the address") from None
    except (OSError, EOFError, asyncio.LimitOverrunError):
        raise Busy("the connection was closed without an answer") from None
    finally:
        writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                await writer.wait_closed()


class _Link:
    """A connection whose server knows us."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._inbox = f"_INBOX.{secrets.token_hex(11)}"

    async def pong(self) -> None:
        """Read until the server has answered our PING. Raises Rejected, Busy."""
        word = b""
        while word != b"PONG":
            with suppress(NotAllowed):  # a late word on what we were not to ask
                word, _ = await self._next()

    async def is_held(self, subject: str) -> bool:
        """Whether a stream holds the subject; also False where we may not ask. Raises Rejected, Busy."""
        inbox, question = self._inbox.encode(), json.dumps({"subject": subject}).encode()
        self._writer.write(b"SUB %s.* 1\r\nPUB %s %s.1 %d\r\n%s\r\n" % (inbox, STREAMS, inbox, len(question), question))
        try:
            return holds(await self._answer())
        except NotAllowed:
            return False

    async def store(self, subject: str, body: bytes, id_: str) -> None:
        """Publish, and return when the stream has it. Raises Rejected, Busy."""
        head = b"NATS/1.0\r\n" + (b"Nats-Msg-Id: %s\r\n" % id_.encode() if id_ else b"") + b"\r\n"
        sizes = b"%d %d" % (len(head), len(head) + len(body))
        self._writer.write(b"HPUB %s %s.2 %s\r\n%s%s\r\n" % (subject.encode(), self._inbox.encode(), sizes, head, body))
        check_stored(await self._answer())

    async def _answer(self) -> bytes:
        while True:
            word, payload = await self._next()
            if word in (b"MSG", b"HMSG"):
                return payload

    async def _next(self) -> tuple[bytes, bytes]:
        """The server's next word that is not a PING, and what comes with a message. Raises NotAllowed, Rejected, Busy."""
        await self._writer.drain()
        while True:
            line = await self._reader.readuntil(b"\r\n")
            word = line.split(maxsplit=1)[0].upper() if line.strip() else b""
            if word == b"-ERR":
                raise refusal(line)
            if word != b"PING":
                return word, await self._reader.readexactly(size_of(line) + 2) if word in (b"MSG", b"HMSG") else b""
            self._writer.write(b"PONG\r\n")
