"""The webhook port with TLS: real handshakes, a certificate that is exchanged under a connection that stands."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from service.settings import Address
from service.web import port as port_module
from service.web.port import Port
from service.web.tls import BadCertificate, Certificate


def issue(folder: Path, name: str, *, key_of_another: bool = False) -> None:
    """tls.crt and tls.key of a certificate that names itself."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    if key_of_another:
        key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.PKCS8
    (folder / "tls.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "tls.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))


async def _answer(_request: web.Request) -> web.Response:
    return web.Response(text="here")


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Port]:
    app = web.Application()
    app.router.add_get("/", _answer)
    certificate = Certificate(folder / "tls.crt", folder / "tls.key", look_every=timedelta(seconds=0.02))
    port = Port("hooks", app, Address(host="127.0.0.1", port=0), certificate=certificate)
    await port.start()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(port.run())
        yield port
        port.stop()


class Connection:
    """One connection, kept open."""

    @classmethod
    async def to(cls, port: Port) -> "Connection":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        made = cls()
        made.reader, made.writer = await asyncio.open_connection(port.address.host, port.address.port, ssl=context)
        return made

    @property
    def name(self) -> str:
        found = self.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(found).subject.rfc4514_string()

    async def get(self) -> bytes:
        self.writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        head = await self.reader.readuntil(b"\r\n\r\n")
        await self.reader.readexactly(4)
        return head.partition(b"\r\n")[0]

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def test_a_new_certificate_is_taken_and_connections_stay(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    issue(tmp_path, "first")
    async with serving(tmp_path) as port:
        standing = await Connection.to(port)
        assert (standing.name, await standing.get()) == ("CN=first", b"HTTP/1.1 200 OK")
        issue(tmp_path, "broken", key_of_another=True)
        await said(caplog, "the new certificate cannot be used, the old one stays")
        assert await name(port) == "CN=first"
        issue(tmp_path, "second")
        await said(caplog, "certificate changed")
        assert await name(port) == "CN=second"
        assert (standing.name, await standing.get()) == ("CN=first", b"HTTP/1.1 200 OK")
        await standing.close()


async def test_who_does_not_speak_tls_is_cut_and_others_are_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_module, "HANDSHAKE_TIMEOUT", timedelta(seconds=0.2))
    issue(tmp_path, "first")
    async with serving(tmp_path) as port:
        reader, writer = await asyncio.open_connection(port.address.host, port.address.port)
        assert await name(port) == "CN=first"
        async with asyncio.timeout(2):
            assert await reader.read() == b"", "silent for 0.2 s"
        writer.close()


def test_files_that_are_no_certificate_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadCertificate, match=r"tls\.crt cannot be read"):
        Certificate(tmp_path / "tls.crt", tmp_path / "tls.key")
    issue(tmp_path, "x", key_of_another=True)
    with pytest.raises(BadCertificate, match="are no certificate and its key"):
        Certificate(tmp_path / "tls.crt", tmp_path / "tls.key")


async def name(port: Port) -> str:
    made = await Connection.to(port)
    found = made.name
    await made.close()
    return found


async def said(caplog: pytest.LogCaptureFixture, words: str) -> None:
    async with asyncio.timeout(2):
        while words not in caplog.messages:  # noqa: ASYNC110 - the room tells nobody else
            await asyncio.sleep(0.01)
