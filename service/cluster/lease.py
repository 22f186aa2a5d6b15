"""One writer: a Lease that is waited for, held and given back, with client-go's leader election semantics.

https://kubernetes.io/docs/concepts/architecture/leases/, https://github.com/kubernetes/client-go/blob/master/tools/leaderelection
A holder's time is judged by our own clock from when we saw its record change, never by the times in the record.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from service.cluster.client import ApiError, Cluster, ClusterError

log = logging.getLogger(__name__)

RELEASE_WITHIN = timedelta(seconds=5)
_dice = random.SystemRandom()


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How long a lease lasts, until when a renewal must have succeeded, and how often one is tried: Flux's 35/30/5 s."""

    duration: timedelta = timedelta(seconds=35)
    renew_deadline: timedelta = timedelta(seconds=30)
    retry: timedelta = timedelta(seconds=5)


class Lease:
    """Leadership over one name.

    `identity` says who holds it; a process that starts again with the same identity goes on at once, so give it one that belongs to
    whatever may exist only once (a locked state folder, a Pod).
    """

    def __init__(self, cluster: Cluster, *, namespace: str, name: str, identity: str, terms: Terms | None = None) -> None:
        self.name = name
        self._cluster = cluster
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{quote(namespace, safe='')}/leases"
        self._path = f"{self._collection}/{quote(name, safe='')}"
        self._identity = identity
        self._terms = terms or Terms()
        self._record: dict[str, Any] | None = None
        self._seen = 0.0  # when the record was last seen to change, by the loop's clock
        self._renewed: float | None = None
        self._problem = ""

    @property
    def is_held(self) -> bool:
        """True while we may write; turns False by itself when the renew deadline passes, whatever the tasks do."""
        return self._renewed is not None and self._now() - self._renewed < self._terms.renew_deadline.total_seconds()

    @property
    def holder(self) -> str:
        """Who holds it as far as we know; "" when nobody does or nothing is known."""
        return str(self._spec().get("holderIdentity") or "")

    async def run(self, on_held: Callable[[], None], on_lost: Callable[[], None]) -> None:
        """Hold the lease whenever it is free, until cancelled; then give it back. Calls `on_held` and `on_lost` in turn."""
        while True:
            await self._acquire()
            on_held()
            try:
                await self._keep()
            finally:
                mine, self._renewed = self.is_held, None
                on_lost()
                if mine:
                    await self._release()

    async def _acquire(self) -> None:
        told = ""
        while not await self._try():
            if self.holder and self.holder not in (told, self._identity):
                told = self.holder
                log.info("waiting for a lease", extra={"lease": self.name, "holder": told})
            await asyncio.sleep(self._terms.retry.total_seconds() * _dice.uniform(1.0, 1.2))

    async def _keep(self) -> None:
        """Renew until the deadline passes without a success, or another is the holder."""
        while self.is_held:
            try:
                async with asyncio.timeout_at((self._renewed or 0) + self._terms.renew_deadline.total_seconds()):
                    await asyncio.sleep(self._terms.retry.total_seconds())
                    held = await self._try()
            except TimeoutError:
                return
            if not held and self.holder not in ("", self._identity):
                self._renewed = None
                log.warning("the lease was taken", extra={"lease": self.name, "holder": self.holder})
                return

    async def _try(self) -> bool:
        """Take or renew the lease; True if we hold it now."""
        began = self._now()
        try:
            held = await self._take()
        except ClusterError as error:
            if str(error) != self._problem:
                self._problem = str(error)
                log.warning("the lease cannot be read or written", extra={"lease": self.name, "error": self._problem})
            return False
        self._problem = ""
        if held:
            self._renewed = began  # the server's count starts not before that
        return held

    async def _take(self) -> bool:
        limit = timedelta(seconds=max(self._terms.retry.total_seconds(), 1))
        try:
            live = (await self._cluster.request("GET", self._path, timeout=limit)).body
        except ApiError as error:
            if not error.not_found:
                raise
            self._observe((await self._cluster.request("POST", self._collection, body=self._fresh(), timeout=limit)).body)
            return True
        self._observe(live)
        spec = live.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if holder not in ("", self._identity) and self._now() - self._seen < float(spec.get("leaseDurationSeconds") or 0):
            return False
        now = _timestamp()
        ours = holder == self._identity
        transitions = int(spec.get("leaseTransitions") or 0)
        live["spec"] = {
            **spec,
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(self._terms.duration.total_seconds()) or 1,
            "acquireTime": spec.get("acquireTime") or now if ours else now,
            "renewTime": now,
            "leaseTransitions": transitions if ours else transitions + 1,
        }
        try:
            self._observe((await self._cluster.request("PUT", self._path, body=live, timeout=limit)).body)
        except ApiError as error:
            if error.status == 409:  # another was quicker
                return False
            raise
        return True

    def _fresh(self) -> dict[str, Any]:
        now = _timestamp()
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self.name},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": int(self._terms.duration.total_seconds()) or 1,
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": 0,
            },
        }

    def _observe(self, record: dict[str, Any]) -> None:
        if self._record is None or self._spec() != (record.get("spec") or {}):
            self._seen = self._now()
        self._record = record

    async def _release(self) -> None:
        """Say that nobody holds it. Only while the record is ours: the server refuses an older resourceVersion."""
        record = dict(self._record or {})
        record["spec"] = {**self._spec(), "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _timestamp()}
        try:
            self._observe((await self._cluster.request("PUT", self._path, body=record, timeout=RELEASE_WITHIN)).body)
        except ClusterError as error:
            log.warning("the lease could not be given back, it ends by itself", extra={"lease": self.name, "error": str(error)})

    def _spec(self) -> dict[str, Any]:
        return (self._record or {}).get("spec") or {}

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _timestamp() -> str:
    """A MicroTime."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
