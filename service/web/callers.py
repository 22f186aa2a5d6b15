"""Where a request comes from: the connection's address, or what trusted proxies say of it.

In: a request. Out: the caller's address as text. `X-Forwarded-For` counts only as far as it was written by proxies that are named: it is
read from its end, and the first address that is no such proxy is the caller's.
https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/X-Forwarded-For#selecting_an_ip_address
"""

from aiohttp import web

from service.networks import Networks, address, lies_in
from service.triggers.refusals import NotFromThere

FORWARDED_FOR = "X-Forwarded-For"
MOST_PROXIES = 32


class Callers:
    """`trusted` are the proxies, `allowed` where any delivery may come from, () for everywhere."""

    def __init__(self, *, trusted: Networks = (), allowed: Networks = ()) -> None:
        self._trusted = trusted
        self._allowed = allowed

    def of(self, request: web.BaseRequest) -> str:
        """Return the caller's address, "" where there is none."""
        found = request.remote or ""
        if not self._trusted or not lies_in(found, self._trusted):
            return found
        told = [each.strip() for value in request.headers.getall(FORWARDED_FOR, ()) for each in value.split(",")]
        for each in reversed(told[-MOST_PROXIES:]):
            if address(each) is None:  # a proxy that we trust would not write that: whoever stands behind it does
                return found
            found = each
            if not lies_in(found, self._trusted):
                return found
        return found

    def check(self, source: str) -> None:
        """Raises NotFromThere."""
        if self._allowed and not lies_in(source, self._allowed):
            raise NotFromThere(f"it comes from {source}, which --allow-from does not name")
