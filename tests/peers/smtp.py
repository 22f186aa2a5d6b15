"""A mail server that keeps what it is sent: as much of SMTP as a client speaks. https://www.rfc-editor.org/rfc/rfc5321"""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage


@dataclass
class Smtp:
    """Takes mail of one user; `says` may answer a command otherwise."""

    user: str = "ops"
    password: str = "hush-word"
    says: dict[str, str] = field(default_factory=dict)
    mails: list[tuple[str, list[str], EmailMessage]] = field(default_factory=list)
    connections: int = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._serve, "127.0.0.1")
        async with server:
            yield server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._talk(reader, writer)
        except (asyncio.CancelledError, ConnectionError, EOFError):  # the test is over, or the client is gone
            pass
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example\r\n")
        sender, receivers, known = "", [], False
        while line := (await reader.readline()).decode().strip():
            word = line.split()[0].upper()
            answer = "250 ok"
            if word in ("EHLO", "HELO"):
                answer = "250-mail.example\r\n250 AUTH PLAIN"
            elif word == "AUTH":
                wanted = f"\0{self.user}\0{self.password}".encode()
                known = base64.b64decode(line.split()[2]) == wanted
                answer = "235 welcome" if known else f"535 5.7.8 authentication of {self.user} failed"
            elif word == "MAIL":
                sender, answer = line, "250 ok" if known else "530 5.7.0 authentication required"
            elif word == "RCPT":
                receivers.append(line.partition("<")[2].partition(">")[0])
            elif word == "DATA":
                writer.write(b"354 go on\r\n")
                content = (await reader.readuntil(b"\r\n.\r\n"))[:-5].replace(b"\r\n..", b"\r\n.")
                found = message_from_bytes(content, policy=policy.default)
                assert isinstance(found, EmailMessage)
                self.mails.append((sender.partition("<")[2].partition(">")[0], receivers, found))
            elif word == "QUIT":
                answer = "221 bye"
            writer.write(f"{self.says.get(word, answer)}\r\n".encode())
            await writer.drain()
            if word == "QUIT":
                break
