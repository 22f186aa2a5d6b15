"""One listening port with its limits: a room that serves one aiohttp application until it is stopped.

In: an application and an address. Out: answered requests; no access log, since hook paths are secrets. Header sizes and times are bounded
here, body sizes and times by each application. https://docs.aiohttp.org/en/stable/web_advanced.html#graceful-shutdown
"""

import asyncio
import logging
from datetime import timedelta

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from service.settings import Address

HEADER_BYTES = 256 * 1024
LINE_BYTES = 8190
FIELD_BYTES = 16 * 1024
FIELDS = 64
HEADER_TIMEOUT = timedelta(seconds=10)  # also for how long an idle connection is kept
LINGER = timedelta(seconds=1)  # a refused body is read on for so long, that the sender sees the answer
GRACE = timedelta(seconds=10)


class _NoNoise(logging.Filter):
    """Drops what any stranger can cause: requests that are not HTTP, with their bytes in the traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


async def _unnamed(_request: web.Request, response: web.StreamResponse) -> None:
    """Which software of which version answers is nobody's business."""
    response.headers.popall("Server", None)


log = logging.getLogger(__name__)
log.addFilter(_NoNoise())


class Port:
    """Binds on `start`, serves while `run` runs, and answers what is under way before it ends."""

    def __init__(self, name: str, app: web.Application, address: Address, *, header_timeout: timedelta = HEADER_TIMEOUT) -> None:
        self.name = f"web.{name}"
        self.address = address
        app.on_response_prepare.append(_unnamed)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=log,
            keepalive_timeout=header_timeout.total_seconds(),
            lingering_time=LINGER.total_seconds(),
            max_line_size=LINE_BYTES,
            max_field_size=FIELD_BYTES,
            max_headers=FIELDS,
            auto_decompress=False,
            shutdown_timeout=GRACE.total_seconds(),
        )
        self._stopping = asyncio.Event()

    async def start(self) -> Address:
        """Bind, and return the address with the real port. Raises OSError where the port is taken."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.address.host, self.address.port, backlog=1024)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.address = Address(host=host, port=port)
        log.info("listening", extra={"port": self.name, "address": str(self.address)})
        return self.address

    async def run(self) -> None:
        """Serve until stopped; binds first if `start` was not called."""
        if not self._runner.addresses:
            await self.start()
        try:
            await self._stopping.wait()
        finally:
            await self._runner.cleanup()

    def stop(self) -> None:
        """Take no more connections; `run` ends when the requests under way are answered, after ten seconds at the latest."""
        self._stopping.set()
