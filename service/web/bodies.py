"""Request bodies under limits: so large, so long, and so much of all of them in memory at once.

In: a request. Out: its body in pieces, or Refused. By default the limits are GitHub's own 25 MB, and 64 MiB for everything in flight.
"""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

from service.settings import BodyLimits
from service.triggers.refusals import BadRequest, Overloaded, TooLarge, TooSlow
from service.web.port import HEADER_BYTES


class InFlight:
    """Counts the bytes that are held for all requests."""

    def __init__(self, limits: BodyLimits) -> None:
        self.limits = limits
        self.held = 0

    def share(self) -> "Share":
        """What one request holds; a context manager that gives it back."""
        return Share(self)


class Share:
    """The bytes of one request."""

    def __init__(self, whole: InFlight) -> None:
        self._whole = whole
        self._bytes = 0

    @property
    def limits(self) -> BodyLimits:
        """What it may take."""
        return self._whole.limits

    def __enter__(self) -> "Share":
        return self

    def __exit__(self, *_: object) -> None:
        self._whole.held -= self._bytes

    def take(self, count: int) -> None:
        """Hold so many bytes more. Raises TooLarge, Overloaded."""
        limits = self._whole.limits
        if self._bytes + count > limits.body_bytes:
            raise TooLarge(f"the body is larger than {limits.body_bytes} bytes")
        if self._whole.held + count > limits.in_flight_bytes:
            raise Overloaded(f"{self._whole.held} bytes of other requests are in flight, no more than {limits.in_flight_bytes} are held")
        self._bytes += count
        self._whole.held += count


def check_headers(request: web.Request) -> None:
    """Raises BadRequest where the headers together are too large."""
    if sum(len(name) + len(value) for name, value in request.raw_headers) > HEADER_BYTES:
        raise BadRequest(f"the headers are larger than {HEADER_BYTES} bytes")


async def pieces(request: web.Request, share: Share) -> AsyncIterator[bytes]:
    """Yield the body as it arrives, held in `share`. Raises TooLarge, TooSlow, Overloaded."""
    limits = share.limits
    if (request.content_length or 0) > limits.body_bytes:
        raise TooLarge(f"the body has {request.content_length} bytes, {limits.body_bytes} are read at most")
    ends = asyncio.get_running_loop().time() + limits.body_timeout.total_seconds()
    while True:
        try:
            async with asyncio.timeout_at(ends):  # around the read alone: a timeout must not span a yield
                chunk = await request.content.readany()
        except TimeoutError as error:
            raise TooSlow(f"the body did not arrive within {limits.body_timeout.total_seconds():g} s") from error
        except (aiohttp.ClientError, web.RequestPayloadError, ConnectionError) as error:
            raise TooSlow("the connection broke off inside the body") from error
        if not chunk:
            return
        share.take(len(chunk))
        yield chunk
