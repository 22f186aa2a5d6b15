"""How a source's HTTP remote is reached: Secrets of its namespace in, a session out, under the one outbound policy."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import aiohttp

from service.kinds import meta
from service.outbound import Outbound
from service.sources.failure import EndedEarly
from service.transport import BadTransport, proxy_of, tls_of

ReadSecret = Callable[[str, str], Awaitable[Mapping[str, bytes] | None]]
CONNECT = timedelta(seconds=10)
SILENCE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """An open session, and the URL of the proxy that it takes, "" without."""

    session: aiohttp.ClientSession
    proxy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """What an object says of the way: the names of Secrets in its namespace. `insecure`: certificates are not verified without a CA."""

    namespace: str
    certificates: str | None = None
    proxy: str | None = None
    insecure: bool = False

    @asynccontextmanager
    async def open(self, outbound: Outbound, read_secret: ReadSecret) -> AsyncIterator[Way]:
        """Raises EndedEarly where a Secret is missing or cannot be used, ApiError, ApiAway."""
        try:
            tls = None
            if self.certificates:
                where = f"secret '{self.namespace}/{self.certificates}'"
                tls = await tls_of(await held(read_secret, self.namespace, self.certificates), where, system=True)
                if tls is None:
                    raise BadTransport(f"{where} has neither ca.crt nor tls.crt and tls.key: add them")
            proxy = ""
            if self.proxy:
                proxy = proxy_of(await held(read_secret, self.namespace, self.proxy), f"secret '{self.namespace}/{self.proxy}'")
        except BadTransport as error:
            raise EndedEarly.fetch(meta.AUTHENTICATION_FAILED, str(error)) from error
        timeouts = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT.total_seconds(), sock_read=SILENCE.total_seconds())
        verified = tls if tls is not None else not self.insecure
        async with outbound.session(tls=verified, proxy=proxy, timeout=timeouts) as session:
            yield Way(session=session, proxy=proxy)


async def held(read_secret: ReadSecret, namespace: str, name: str) -> Mapping[str, bytes]:
    """The data of a Secret that must be there. Raises EndedEarly, ApiError, ApiAway."""
    found = await read_secret(namespace, name)
    if found is None:
        raise EndedEarly.fetch(meta.AUTHENTICATION_FAILED, f"failed to get secret '{namespace}/{name}': secrets \"{name}\" not found")
    return found
