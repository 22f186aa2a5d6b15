"""The keys that Google signs Pub/Sub's tokens with, fetched and kept fresh in the background, so that no delivery waits for them.

In: an address of a JWK set. Out: `current`, () while nothing is known. Nothing is fetched until a Receiver needs it.
https://developers.google.com/identity/openid-connect/openid-connect#discovery
"""

import asyncio
import logging
import re
from datetime import timedelta

import aiohttp

from receivers.contract import BadPayload, RsaKey
from receivers.jwt import keys_of

log = logging.getLogger(__name__)

GOOGLE = "https://www.googleapis.com/oauth2/v3/certs"
FETCH_TIMEOUT = timedelta(seconds=10)
MOST_BYTES = 256 * 1024
SHORTEST, LONGEST, USUAL = timedelta(minutes=5), timedelta(hours=6), timedelta(hours=1)
AGAIN_WHEN_UNKNOWN = timedelta(seconds=60)  # a caller with made-up tokens must not make us ask Google at will
FIRST_RETRY, LAST_RETRY = timedelta(seconds=1), timedelta(seconds=60)
FORGET = timedelta(hours=24)  # without an answer for so long the keys may have been withdrawn

_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=(\d{1,9})")


class KeysAway(Exception):
    """The keys could not be fetched; the message says why."""


class Keys:
    """A room."""

    def __init__(self, url: str = GOOGLE) -> None:
        self._url = url
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
        async with aiohttp.ClientSession(trust_env=True) as session:
            while True:
                self._wake.clear()
                self._asked_at = _now()
                try:
                    wait, retry = await self._fetch(session), FIRST_RETRY
                except KeysAway as error:
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

    async def _fetch(self, session: aiohttp.ClientSession) -> timedelta:
        """Fetch once and return for how long that is good. Raises KeysAway; the old keys stay then."""
        try:
            async with asyncio.timeout(FETCH_TIMEOUT.total_seconds()), session.get(self._url) as answer:
                if answer.status != 200:
                    raise KeysAway(f"the answer is {answer.status}")
                body = await answer.content.read(MOST_BYTES + 1)
                while len(body) <= MOST_BYTES and (more := await answer.content.read(MOST_BYTES)):
                    body += more
                caching = answer.headers.get("Cache-Control", "")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise KeysAway(f"no answer: {error or 'it took too long'}") from error
        if len(body) > MOST_BYTES:
            raise KeysAway(f"the answer is larger than {MOST_BYTES} bytes")
        try:
            keys = keys_of(body)
        except BadPayload as error:
            raise KeysAway(f"the answer is no set of keys: {error}") from error
        if not keys:
            raise KeysAway("the answer holds no RSA key")
        self._keys, self._fetched_at = keys, _now()
        age = _MAX_AGE.search(caching)
        return min(LONGEST, max(SHORTEST, timedelta(seconds=int(age[1])) if age else USUAL))


def _now() -> float:
    return asyncio.get_running_loop().time()
