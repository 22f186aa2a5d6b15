"""What clouds have given to ServiceAccounts, kept until shortly before its end.

In: whose identity, a cloud, and a dialogue that leads from a token of the cluster to credentials. Out: the credentials. The account is
read each time, so that what was given ends with it and with its annotations; the exchange is made again only when it must be. Credentials
are kept for each account, purpose and proxy by themselves: no tenant gets another's.
"""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import aiohttp
from yarl import URL

from providers.contract import Busy, Exchange, Grant, Identity, Rejected, Request, Response
from service.identities.accounts import Account, Accounts, BadAccount, Cloud
from service.outbound import Outbound, OutboundRefused, refusal_in

T = TypeVar("T")

LIMIT = timedelta(seconds=20)
LONGEST = timedelta(hours=1)
SPARE = 0.2
"""The share of their time for which credentials are not used any more: a fetch that begins with them should also end with them."""
MOST_KEPT = 1024
MOST_BYTES = 256 * 1024


class NotGranted(Exception):
    """There are no credentials; the message says why and what to do, and holds none. `lasting`: until a person corrects something."""

    def __init__(self, message: str, *, lasting: bool = False) -> None:
        super().__init__(message)
        self.lasting = lasting


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Whose credentials, and for what: `purpose` says all that the dialogue is about, such as a scope, a region or a registry.

    `proxy`: the URL of the proxy to go through, "" without one.
    """

    namespace: str
    account: str
    cloud: Cloud
    purpose: str
    proxy: str = ""


class Grants:
    """The credentials of a process. Belongs to one event loop. `tls`: what is trusted, the system's authorities by default."""

    def __init__(self, accounts: Accounts, outbound: Outbound, *, tls: Any = True) -> None:
        self._accounts = accounts
        self._outbound = outbound
        self._tls = tls
        self._kept: dict[str, tuple[Any, float]] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def get(self, wanted: Wanted, exchange: Callable[[Identity], Exchange[T]]) -> T:
        """Return the credentials, kept ones or new ones. Raises NotGranted, ApiError, ApiAway."""
        try:
            account = await self._accounts.find(wanted.namespace, wanted.account)
            key = _key(wanted, account)
            lock = self._locks.setdefault(key, asyncio.Lock())  # goes with the last who waits
            async with lock:
                now = asyncio.get_running_loop().time()
                value, end = self._kept.get(key, (None, 0.0))
                if end <= now:
                    grant = await self._asked(wanted, exchange(await self._accounts.sign(account, wanted.cloud)))
                    value = grant.value
                    self._keep(key, value, now + min(grant.valid, LONGEST).total_seconds() * (1 - SPARE))
                found: T = value
                return found
        except (BadAccount, Rejected, Busy) as error:
            raise NotGranted(str(error), lasting=not isinstance(error, Busy)) from None

    def doubt(self, wanted: Wanted) -> None:
        """Credentials of this account were refused: they may have been revoked, so others are asked for the next time."""
        for key in [key for key in self._kept if key.startswith(_prefix(wanted))]:
            del self._kept[key]

    def _keep(self, key: str, value: object, end: float) -> None:
        self._kept.pop(key, None)
        while len(self._kept) >= MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = value, end

    async def _asked(self, wanted: Wanted, dialogue: Exchange[T]) -> Grant[T]:
        timeout = aiohttp.ClientTimeout(total=LIMIT.total_seconds())
        try:
            async with self._outbound.session(tls=self._tls, proxy=wanted.proxy, timeout=timeout) as session:
                request = next(dialogue)
                while True:
                    answer = await _answer(session, request)
                    try:
                        request = dialogue.send(answer)
                    except StopIteration as end:
                        grant: Grant[T] = end.value
                        return grant
        except (aiohttp.ClientError, OutboundRefused, OSError, ValueError) as error:  # OSError: TimeoutError too
            refusal = refusal_in(error)
            why = f"not allowed: {refusal}" if refusal else f"no usable answer: {type(error).__name__}"
            raise NotGranted(f"the credentials of ServiceAccount/{wanted.namespace}/{wanted.account} at {wanted.cloud}: {why}") from error


async def _answer(session: aiohttp.ClientSession, request: Request) -> Response:
    """A redirect is an answer like any other: the token goes to one host only."""
    url = URL(request.url.reveal(), encoded=True)
    sent = session.request(request.method, url, headers=request.headers, data=request.body or None, allow_redirects=False)
    async with sent as answer:
        body = b""
        while len(body) < MOST_BYTES and (chunk := await answer.content.read(MOST_BYTES)):
            body += chunk
        return Response(status=answer.status, headers={name.lower(): value for name, value in answer.headers.items()}, body=body)


def _key(wanted: Wanted, account: Account) -> str:
    parts = (account.uid, wanted.cloud, wanted.purpose, wanted.proxy, *map(repr, sorted(account.annotations.items())))
    return _prefix(wanted) + hashlib.sha256(repr(parts).encode()).hexdigest()


def _prefix(wanted: Wanted) -> str:
    return f"{wanted.namespace}/{wanted.account}/"
