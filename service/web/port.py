"""One listening port with its limits: a room that serves one aiohttp application until it is stopped.

In: an application and an address. Out: answered requests; no access log, since hook paths are secrets. Header sizes and times are bounded
here, body sizes and times by each application. https://docs.aiohttp.org/en/stable/web_advanced.html#graceful-shutdown
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from service.settings import Address
from service.web.tls import Certificate

HEADER_BYTES = 256 * 1024
LINE_BYTES = 8190
FIELD_BYTES = 16 * 1024
FIELDS = 64
HEADER_TIMEOUT = timedelta(seconds=10)  # also for how long an idle connection is kept
LINGER = timedelta(seconds=1)  # a refused body is read on for so long, that the sender sees the answer
HANDSHAKE_TIMEOUT = timedelta(seconds=10)
GRACE = timedelta(seconds=10)
BACKLOG = 1024


class _NoNoise(logging.Filter):
    """Drops what any stranger can cause: requests that are not HTTP, with their bytes in the traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


async def _unnamed(_request: web.Request, response: web.StreamResponse) -> None:
    """Which software of which version answers is nobody's business."""
    response.headers.popall("Server", None)


class _Bare(web.Response):
    """An answer to what is not even a request, for which aiohttp asks no application."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall("Server", None)


class _Speaker(web.RequestHandler):
    """A connection whose error answers repeat nothing of what came in."""

    __slots__ = ()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """What aiohttp would say, without its words."""
        super().handle_error(request, status, exc, message)
        answer = _Bare(status=status, text="not understood\n" if status < 500 else "failed\n")
        answer.force_close()
        return answer


class _Site(web.BaseSite):
    """A listening socket whose connections are Speakers."""

    __slots__ = ("_address", "_make")

    def __init__(self, runner: web.AppRunner, address: Address, make: Callable[[], _Speaker], context: ssl.SSLContext | None) -> None:
        super().__init__(runner, ssl_context=context, backlog=BACKLOG)
        self._address = address
        self._make = make

    @property
    def name(self) -> str:
        """Its address."""
        return str(self._address)

    async def start(self) -> None:
        """Bind. Raises OSError."""
        await super().start()
        self._server = await asyncio.get_running_loop().create_server(
            self._make,
            self._address.host,
            self._address.port,
            ssl=self._ssl_context,
            backlog=self._backlog,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT.total_seconds() if self._ssl_context else None,
        )


log = logging.getLogger(__name__)
log.addFilter(_NoNoise())


class Port:
    """Binds on `start`, serves while `run` runs, and answers what is under way before it ends."""

    def __init__(
        self,
        name: str,
        app: web.Application,
        address: Address,
        *,
        header_timeout: timedelta = HEADER_TIMEOUT,
        certificate: Certificate | None = None,
    ) -> None:
        self.name = f"web.{name}"
        self.address = address
        self._certificate = certificate
        app.on_response_prepare.append(_unnamed)
        self._bounds: dict[str, Any] = {
            "access_log": None,
            "logger": log,
            "keepalive_timeout": header_timeout.total_seconds(),
            "lingering_time": LINGER.total_seconds(),
            "max_line_size": LINE_BYTES,
            "max_field_size": FIELD_BYTES,
            "max_headers": FIELDS,
            "auto_decompress": False,
        }
        self._runner = web.AppRunner(app, shutdown_timeout=GRACE.total_seconds(), **self._bounds)
        self._stopping = asyncio.Event()

    async def start(self) -> Address:
        """Bind, and return the address with the real port. Raises OSError where the port is taken."""
        await self._runner.setup()
        server, loop = self._runner.server, asyncio.get_running_loop()
        assert server is not None  # set up
        context = self._certificate.context if self._certificate is not None else None
        site = _Site(self._runner, self.address, lambda: _Speaker(server, loop=loop, **self._bounds), context)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.address = Address(host=host, port=port)
        log.info("listening", extra={"port": self.name, "address": str(self.address), "tls": context is not None})
        return self.address

    async def run(self) -> None:
        """Serve until stopped; binds first if `start` was not called."""
        if not self._runner.addresses:
            await self.start()
        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(self._certificate.run(), name=f"{self.name} certificate") if self._certificate else None
            try:
                await self._stopping.wait()
            finally:
                await self._runner.cleanup()
                if looking is not None:
                    looking.cancel()

    def stop(self) -> None:
        """Take no more connections; `run` ends when the requests under way are answered, after ten seconds at the latest."""
        self._stopping.set()
