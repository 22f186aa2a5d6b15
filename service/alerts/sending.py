"""One attempt: a request over the one session, the answer judged by its provider.

In: a rendered request. Out: nothing, or Rejected or Busy with words that hold neither the address nor credentials.
"""

import asyncio
from datetime import timedelta

import aiohttp
from yarl import URL

from providers.contract import Busy, Provider, Rejected, Request, Response, Target

ANSWER_BYTES = 64 * 1024
AT_ONCE, AT_ONCE_PER_HOST = 32, 4


def open_session() -> aiohttp.ClientSession:
    """The session for all providers, to be closed by whoever opened it; needs a running loop."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=AT_ONCE, limit_per_host=AT_ONCE_PER_HOST),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),  # `send` bounds the whole
        headers={"User-Agent": "sluice", "Accept-Encoding": "identity"},
    )


async def send(session: aiohttp.ClientSession, provider: Provider, request: Request, *, timeout: timedelta) -> None:
    """Send once and return if the target has it. Raises Rejected, Busy."""
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            response = await _answer(session, request)
    except TimeoutError as error:
        raise Busy(f"no answer within {timeout.total_seconds():g} s") from error
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, ValueError):
        raise Rejected("the address is not a usable URL: correct it in the Provider or its Secret") from None  # the cause would show it
    except aiohttp.ClientError as error:
        raise Busy(_words(error)) from None
    except OSError as error:
        raise Busy(f"the connection failed: {error.strerror or type(error).__name__}") from None
    provider.settle(response)


async def _answer(session: aiohttp.ClientSession, request: Request) -> Response:
    url = URL(request.url.reveal(), encoded=True)
    async with session.request(request.method, url, headers=request.headers, data=request.body, allow_redirects=False) as answer:
        body = b""
        while len(body) < ANSWER_BYTES and (chunk := await answer.content.read(ANSWER_BYTES)):
            body += chunk
        return Response(status=answer.status, headers={name.lower(): value for name, value in answer.headers.items()}, body=body)


def _words(error: aiohttp.ClientError) -> str:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "the host name of the address is not known"
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return "the TLS connection failed: check the certificate of the address"
        case aiohttp.ClientConnectorError():
            return f"no connection: {error.os_error.strerror or 'refused'}"
        case aiohttp.ServerDisconnectedError():
            return "the connection was closed without an answer"
        case _:
            return f"the connection failed: {type(error).__name__}"


def masked(text: str, target: Target) -> str:
    """The text without the target's address and token, in case an answer repeats them."""
    for secret in (target.address, target.token):
        if secret:
            text = text.replace(secret.reveal(), "***")
    return text
