"""TLS of a port: the certificate is read again when its files change, and connections that stand are left alone.

In: two PEM files. Out: an SSLContext, whose next handshakes use what the files hold by then. Kubernetes exchanges a mounted Secret by a
symlink, so the content is compared, not the time. https://docs.python.org/3/library/ssl.html#ssl.SSLContext.load_cert_chain
"""

import asyncio
import hashlib
import logging
import ssl
from datetime import timedelta
from pathlib import Path

log = logging.getLogger(__name__)

LOOK_EVERY = timedelta(seconds=10)


class BadCertificate(Exception):
    """The files are no certificate and its key; the message says which and why."""


class Certificate:
    """Made at the start. Raises BadCertificate."""

    def __init__(self, cert: Path, key: Path, *, look_every: timedelta = LOOK_EVERY) -> None:
        self.context = _context()
        self._cert, self._key = cert, key
        self._look_every = look_every
        self._digest = self._load()

    async def run(self) -> None:
        """Look at the files now and then until cancelled."""
        loop, refused = asyncio.get_running_loop(), ""
        while True:
            await asyncio.sleep(self._look_every.total_seconds())
            try:
                if await loop.run_in_executor(None, self._look):
                    log.info("certificate changed", extra={"file": str(self._cert)})
                refused = ""
            except BadCertificate as error:
                if str(error) != refused:
                    log.warning("the new certificate cannot be used, the old one stays", extra={"reason": str(error)})
                refused = str(error)

    def _look(self) -> bool:
        if self._now() == self._digest:
            return False
        self._digest = self._load()
        return True

    def _load(self) -> bytes:
        """Try the files on a context of their own: one that fails half-way must not spoil the one in use. Raises BadCertificate."""
        digest = self._now()
        try:
            _context().load_cert_chain(self._cert, self._key)
            self.context.load_cert_chain(self._cert, self._key)
        except (OSError, ssl.SSLError) as error:
            raise BadCertificate(
                f"{self._cert} and {self._key} are no certificate and its key, in PEM and without a password: {error}"
            ) from error
        return digest

    def _now(self) -> bytes:
        try:
            return hashlib.sha256(self._cert.read_bytes() + b"\0" + self._key.read_bytes()).digest()
        except OSError as error:
            raise BadCertificate(f"{error.filename} cannot be read: {error.strerror}") from error


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
