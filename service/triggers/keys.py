"""The keys that others sign their tokens with, fetched and kept fresh in the background, so that no delivery waits for them.

In: where a JWK set is: Google's, or that of an issuer that an object names, which its discovery document says. Out: `current`, () while
nothing is known. Nothing is fetched until a Receiver needs it. https://openid.net/specs/openid-connect-discovery-1_0.html
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import aiohttp

from receivers.contract import BadPayload, RsaKey
from receivers.jwt import keys_of
from receivers.payload import parse, text
from service.outbound import Fetched, Outbound, OutboundFailed, OutboundRefused

log = logging.getLogger(__name__)

GOOGLE = "https://www.googleapis.com/oauth2/v3/certs"
FETCH_TIMEOUT = timedelta(seconds=10)
MOST_BYTES = 256 * 1024
SHORTEST, LONGEST, USUAL = timedelta(minutes=5), timedelta(hours=6), timedelta(hours=1)
AGAIN_WHEN_UNKNOWN = timedelta(seconds=60)  # a caller with made-up tokens must not make us ask an issuer at will
FIRST_RETRY, LAST_RETRY = timedelta(seconds=1), timedelta(seconds=60)
FORGET = timedelta(hours=24)  # without an answer for so long the keys may have been withdrawn

_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=(\d{1,9})")


class KeysAway(Exception):
    """The keys could not be fetched; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySet:
    """A JWK set as it came, and the answer's Cache-Control."""

    body: bytes
    caching: str = ""


Fetch = Callable[[], Awaitable[KeySet]]


def from_address(url: str) -> Fetch:
    """Return what fetches a JWK set from a well-known address. It raises KeysAway."""

    async def fetch() -> KeySet:
        try:
            async with (
                asyncio.timeout(FETCH_TIMEOUT.total_seconds()),
                aiohttp.ClientSession(trust_env=True) as session,
                session.get(url) as answer,
            ):
                if answer.status != 200:
                    raise KeysAway(f"the answer is {answer.status}")
                body = b""
                while len(body) <= MOST_BYTES and (more := await answer.content.read(MOST_BYTES)):
                    body += more
                caching = answer.headers.get("Cache-Control", "")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise KeysAway(f"no answer: {error or 'it took too long'}") from error
        if len(body) > MOST_BYTES:
            raise KeysAway(f"the answer is larger than {MOST_BYTES} bytes")
        return KeySet(body=body, caching=caching)

    return fetch


def from_issuer(url: str, outbound: Outbound) -> Fetch:
    """Return what fetches the JWK set that an issuer's discovery document names. It raises KeysAway."""

    async def got(address: str) -> Fetched:
        try:
            found = await outbound.get(address, timeout=FETCH_TIMEOUT, most_bytes=MOST_BYTES)
        except (OutboundRefused, OutboundFailed) as error:
            raise KeysAway(str(error)) from error
        if found.status != 200:
            raise KeysAway(f"the answer is {found.status}")
        return found

    async def fetch() -> KeySet:
        document = await got(f"{url.rstrip('/')}/.well-known/openid-configuration")
        try:
            said = parse(document.body)
            if text(said, "issuer") != url:
                raise KeysAway("the discovery document is of another issuer")
            address = text(said, "jwks_uri")
        except BadPayload as error:
            raise KeysAway(f"the discovery document cannot be read: {error}") from error
        found = await got(address)
        return KeySet(body=found.body, caching=found.headers.get("cache-control", ""))

    return fetch


class Keys:
    """A room."""

    def __init__(self, url: str = GOOGLE, fetch: Fetch | None = None) -> None:
        self.problem = ""
        self._url = url
        self._fetch = fetch or from_address(url)
        self._keys: tuple[RsaKey, ...] = ()
        self._fetched_at = self._asked_at = float("-inf")
        self._needed, self._wake = asyncio.Event(), asyncio.Event()

    @property
    def current(self) -> tuple[RsaKey, ...]:
        """The keys as they were fetched last, () where that is too long ago."""
        return self._keys if _now() - self._fetched_at < FORGET.total_seconds() else ()

    def need(self) -> None:
        """Some Receiver needs them: fetch them now, and keep them fresh from now on."""
        self._needed.set()

    def unknown(self) -> None:
        """A token names a key that is not here: ask again soon, at most once a minute."""
        if _now() - self._asked_at > AGAIN_WHEN_UNKNOWN.total_seconds():
            self._wake.set()

    async def run(self) -> None:
        """Fetch until cancelled."""
        await self._needed.wait()
        retry = FIRST_RETRY
        while True:
            self._wake.clear()
            self._asked_at = _now()
            try:
                wait, retry = await self._fetched(), FIRST_RETRY
                self.problem = ""
            except KeysAway as error:
                self.problem = str(error)
                log.warning("the keys of a sender cannot be fetched", extra={"address": self._url, "reason": str(error)})
                wait, retry = retry, min(LAST_RETRY, retry * 2)
            await self._slept(wait)

    async def _slept(self, wait: timedelta) -> None:
        """Return after a while, or as soon as a key is missed."""
        try:
            async with asyncio.timeout(wait.total_seconds()):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _fetched(self) -> timedelta:
        """Fetch once and return for how long that is good. Raises KeysAway; the old keys stay then."""
        found = await self._fetch()
        try:
            keys = keys_of(found.body)
        except BadPayload as error:
            raise KeysAway(f"the answer is no set of keys: {error}") from error
        if not keys:
            raise KeysAway("the answer holds no RSA key")
        self._keys, self._fetched_at = keys, _now()
        age = _MAX_AGE.search(found.caching)
        return min(LONGEST, max(SHORTEST, timedelta(seconds=int(age[1])) if age else USUAL))


def _now() -> float:
    return asyncio.get_running_loop().time()
