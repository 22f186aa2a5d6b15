"""The one table from errors to HTTP status, and the fixed phrases that unverified callers get.

https://fluxcd.io/flux/components/notification/receivers/ for the codes; 429 and 503 say when to try again.
"""

import math
from datetime import timedelta

from aiohttp import web

from service.kinds.schema import Invalid
from service.state.errors import StateError
from service.triggers import refusals

STATUS: tuple[tuple[type[Exception], int, str], ...] = (
    (refusals.UnknownPath, 404, "not found"),
    (refusals.NotReady, 503, "starting, try again"),
    (refusals.Unavailable, 503, "not available"),
    (refusals.KeysUnknown, 503, "not ready, try again"),
    (refusals.BadRequest, 400, "refused"),
    (refusals.NotFromThere, 403, "refused"),
    (refusals.TooMany, 429, "too many, try again later"),
    (refusals.FilterFailed, 500, "a filter of the receiver cannot be evaluated"),
    (refusals.TooLarge, 413, "too large"),
    (refusals.TooSlow, 408, "too slow"),
    (refusals.Overloaded, 503, "busy, try again"),
    (refusals.NotStored, 503, "not stored, try again"),
    (Invalid, 400, "refused"),
    (StateError, 503, "not stored, try again"),
)
KNOWN = tuple(error for error, _, _ in STATUS)
BREAKS_OFF = frozenset({403, 408, 413, 429, 503})  # part of the body may be unread


def answer(error: Exception, delivery: str) -> web.Response:
    """Return the response for an error of the table; it names the delivery, under which the delivery log has the reason."""
    status, phrase = next((status, phrase) for kind, status, phrase in STATUS if isinstance(error, kind))
    if isinstance(error, refusals.NotAllowed):
        phrase = f"{phrase}: {error}"
    response = said(status, phrase, delivery)
    wait: timedelta | None = getattr(error, "retry_after", None)
    if status in (429, 503):
        response.headers["Retry-After"] = str(math.ceil((wait or timedelta(seconds=10)).total_seconds()))
    if status in BREAKS_OFF:
        response.force_close()
    return response


def said(status: int, phrase: str, delivery: str) -> web.Response:
    """Return a plain answer of one line."""
    return web.Response(status=status, text=f"{phrase}; delivery {delivery}\n", headers={"Cache-Control": "no-store"})
