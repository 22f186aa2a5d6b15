"""One attempt: a provider's requests over the one session, their answers judged by it.

In: an event and the route to its target. Out: nothing, or Rejected or Busy with words that hold neither the address nor credentials.
"""

import asyncio
import logging
import traceback
from datetime import timedelta

import aiohttp
from yarl import URL

from providers.contract import Busy, Dialogue, Event, Provider, Rejected, Request, Response
from service.alerts.route import Route

log = logging.getLogger(__name__)

ANSWER_BYTES = 1024 * 1024
AT_ONCE, AT_ONCE_PER_HOST = 32, 4
_NO_URL = "the address is not a usable URL: correct it in the Provider or its Secret"


def open_session() -> aiohttp.ClientSession:
    """The session for all providers, to be closed by whoever opened it; needs a running loop."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=AT_ONCE, limit_per_host=AT_ONCE_PER_HOST),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),  # `send` bounds the whole
        headers={"User-Agent": "sluice", "Accept-Encoding": "identity"},
    )


async def send(session: aiohttp.ClientSession, provider: Provider, event: Event, *, route: Route, timeout: timedelta) -> None:
    """Try once and return if the target has it. Raises Rejected, Busy."""
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            if provider.publish is not None:
                await provider.publish(event, route.target, route.tls)
                return
            dialogue = provider.dialogue(event, route.target)
            request = _following(dialogue, None)
            while request is not None:
                request = _following(dialogue, await _answer(session, request, route))
    except TimeoutError as error:
        raise Busy(f"no answer within {timeout.total_seconds():g} s") from error


def _following(dialogue: Dialogue, response: Response | None) -> Request | None:
    """The next request, None at the end. One event of which no request can be made must not stop all others. Raises Rejected, Busy."""
    try:
        return next(dialogue) if response is None else dialogue.send(response)
    except StopIteration:
        return None
    except (ValueError, TypeError, LookupError, RecursionError, OverflowError) as error:
        place = traceback.extract_tb(error.__traceback__)[-1]  # not the error's words: they may hold what it stumbled over
        log.error("no request can be made of an event", extra={"error": type(error).__name__, "place": f"{place.filename}:{place.lineno}"})
        raise Rejected("no request can be made of this event and Provider: see the log, and report it") from None


async def _answer(session: aiohttp.ClientSession, request: Request, route: Route) -> Response:
    try:
        return await _exchange(session, request, route)
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
        raise Rejected(_NO_URL) from None  # the cause would show it
    except aiohttp.ClientError as error:  # before ValueError: a certificate that does not verify is one too
        raise Busy(_words(error)) from None
    except ValueError:
        raise Rejected(_NO_URL) from None
    except TimeoutError:
        raise
    except OSError as error:
        raise Busy(f"the connection failed: {error.strerror or type(error).__name__}") from None


async def _exchange(session: aiohttp.ClientSession, request: Request, route: Route) -> Response:
    url, proxy = URL(request.url.reveal(), encoded=True), route.proxy.reveal() or None
    async with session.request(
        request.method,
        url,
        headers=request.headers,
        data=request.body or None,
        allow_redirects=False,
        ssl=route.tls or True,
        proxy=proxy,
    ) as answer:
        body = b""
        while len(body) < ANSWER_BYTES and (chunk := await answer.content.read(ANSWER_BYTES)):
            body += chunk
        return Response(status=answer.status, headers={name.lower(): value for name, value in answer.headers.items()}, body=body)


def _words(error: aiohttp.ClientError) -> str:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "the host name of the address is not known"
        case aiohttp.ClientHttpProxyError():
            return f"the proxy answered {error.status}"
        case aiohttp.ClientProxyConnectionError():
            return "no connection to the proxy"
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return "the TLS connection failed: check the certificate of the address"
        case aiohttp.ClientConnectorError():
            return f"no connection: {error.os_error.strerror or 'refused'}"
        case aiohttp.ServerDisconnectedError():
            return "the connection was closed without an answer"
        case _:
            return f"the connection failed: {type(error).__name__}"
