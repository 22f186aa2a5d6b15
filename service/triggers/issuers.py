"""The keys of the issuers that Receivers of the type generic-oidc name: one room each, as long as some Receiver names it.

In: the issuers of each Receiver. Out: Issuer with the keys as they are now, () while they are being fetched for the first time.
https://openid.net/specs/openid-connect-discovery-1_0.html
"""

import asyncio
from collections.abc import Iterable, Mapping

from receivers.contract import Issuer, RsaKey
from service.kinds.meta import ObjectKey
from service.outbound import Outbound
from service.triggers.keys import Keys, from_issuer

MOST = 200  # issuers in all: each costs a task and requests


class Issuers:
    """A room. Its keys are fetched under the policy for addresses that tenants name."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        self._named: dict[ObjectKey, frozenset[str]] = {}
        self._keys: dict[str, Keys] = {}
        self._tasks: dict[Keys, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()

    def name(self, receiver: ObjectKey, urls: Iterable[str]) -> None:
        """A Receiver names these issuers, and no others from now on; () when it is gone."""
        now = frozenset(urls)
        if now == self._named.get(receiver, frozenset()):
            return
        self._named[receiver] = now
        if not now:
            del self._named[receiver]
        wanted = sorted({url for named in self._named.values() for url in named})[:MOST]
        for url in wanted:
            if url not in self._keys:
                self._keys[url] = Keys(url, from_issuer(url, self._outbound))
                self._keys[url].need()
        for url in set(self._keys) - set(wanted):
            del self._keys[url]
        self._changed.set()

    def current(self, url: str) -> tuple[RsaKey, ...]:
        """The keys of an issuer, () while they are not known."""
        return self._keys[url].current if url in self._keys else ()

    def issuers(self, audiences: Mapping[str, str]) -> tuple[Issuer, ...]:
        """Return the issuers with these audiences, by their address."""
        return tuple(Issuer(url=url, audience=audience, keys=self.current(url)) for url, audience in audiences.items())

    def problem(self, urls: Iterable[str]) -> str:
        """Return why keys of these issuers are not known, "" where they are, or are being fetched."""
        return "; ".join(f"{url}: {self._keys[url].problem}" for url in urls if url in self._keys and self._keys[url].problem)

    def unknown(self, urls: Iterable[str]) -> None:
        """A token of one of these issuers names a key that is not here."""
        for url in urls:
            if url in self._keys:
                self._keys[url].unknown()

    async def run(self) -> None:
        """Keep all keys fresh until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._changed.clear()
                for keys in set(self._tasks) - set(self._keys.values()):
                    self._tasks.pop(keys).cancel()
                for url, keys in self._keys.items():
                    if keys not in self._tasks:
                        self._tasks[keys] = tasks.create_task(keys.run(), name=f"keys {url}")
                await self._changed.wait()
