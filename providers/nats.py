"""nats: the event itself, as JSON, on a subject of NATS.

Credentials: put a `.creds` file into the Secret's key `creds`, or a user's seed (`SU...`) into `nkey`, or `username` and `password`, or
`token`, as the server asks (https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro). The address is
`nats://<host>:4222`, or `tls://`; `spec.channel` is the subject. Sent is Flux's event JSON, and the message counts as sent when the
server has answered a PING after it.
"""

import asyncio
import ssl
from contextlib import suppress
from urllib.parse import urlsplit

from providers.answers import address_of, needs
from providers.contract import Busy, Event, Means, Misconfigured, Target
from providers.flux_event import flux_bytes
from providers.nats_wire import SUBJECT, connect, info, refusal

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
        await _pong(reader, writer)
        writer.write(b"PUB %s %d\r\n%s\r\nPING\r\n" % (subject.encode(), len(body), body))
        await _pong(reader, writer)
    except ssl.SSLError:
        raise Busy("the TLS connection failed: check the certificate of the address") from None
    except (OSError, EOFError, asyncio.LimitOverrunError):
        raise Busy("the connection was closed without an answer") from None
    finally:
        writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                await writer.wait_closed()


async def _pong(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read until the server has answered our PING. Raises Rejected, Busy."""
    await writer.drain()
    while True:
        line = await reader.readuntil(b"\r\n")
        if line.startswith(b"PONG"):
            return
        if line.startswith(b"-ERR"):
            raise refusal(line)
        if line.startswith(b"PING"):
            writer.write(b"PONG\r\n")
