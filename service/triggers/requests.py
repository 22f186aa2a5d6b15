"""Asking other controllers for a reconcile: objects of kinds that this process does not run get `reconcile.fluxcd.io/requestedAt`.

In: keys. Out: one merge patch for each, and its outcome as if the object had been run here. Equal requests that wait become one patch.
https://fluxcd.io/flux/components/notification/receivers/#reconciling-objects
"""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from service.cluster.client import ApiAway, ApiError, Cluster
from service.cluster.discovery import Discovery, NoSuchKind
from service.cluster.status import patch_annotations
from service.kinds.meta import REQUESTED_AT, ObjectKey
from service.reconcile.gate import Gate

log = logging.getLogger(__name__)

AT_ONCE = 8
FIRST_RETRY, LAST_RETRY = timedelta(milliseconds=500), timedelta(seconds=30)

OnOutcome = Callable[[ObjectKey, datetime, str, str], None]


class Requests:
    """A room. `gate` shuts while another process holds the controller's Lease; with `shadow` a request is logged and not made."""

    def __init__(self, cluster: Cluster, discovery: Discovery, *, gate: Gate, shadow: bool = False) -> None:
        self.on_outcome: OnOutcome = _nobody
        self._cluster = cluster
        self._discovery = discovery
        self._gate = gate
        self._shadow = shadow
        self._waiting: dict[ObjectKey, None] = {}
        self._failures: dict[ObjectKey, int] = {}
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()

    def ask(self, key: ObjectKey) -> None:
        """Request a reconcile of the object."""
        self._waiting[key] = None
        self._wake.set()

    async def run(self) -> None:
        """Make the requests until stopped; what waits then is asked for again after the next start, since its deliveries are not done."""
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(self._ask_all(), name="requests")
            await self._stopping.wait()
            asking.cancel()

    def stop(self) -> None:
        """End `run`."""
        self._stopping.set()

    async def _ask_all(self) -> None:
        limit = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    await self._gate.wait_open()
                    await limit.acquire()
                    key = next(iter(self._waiting))
                    del self._waiting[key]
                    tasks.create_task(self._one(key, limit), name=f"request {key}")

    async def _one(self, key: ObjectKey, limit: asyncio.Semaphore) -> None:
        began_at = datetime.now(UTC)
        try:
            result, detail = await self._patch(key)
        except ApiAway as error:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            wait = min(LAST_RETRY, FIRST_RETRY * 2 ** min(failures - 1, 10))
            log.warning("a reconcile cannot be requested yet", extra={"object": str(key), "reason": str(error)})
            asyncio.get_running_loop().call_later(wait.total_seconds(), self.ask, key)
            return
        finally:
            limit.release()
        self._failures.pop(key, None)
        self.on_outcome(key, began_at, result, detail)

    async def _patch(self, key: ObjectKey) -> tuple[str, str]:
        if self._shadow:
            log.info("shadow: would request a reconcile", extra={"object": str(key)})
            return "shadow", "a reconcile would be requested"
        try:
            resource = await self._discovery.preferred(key.group, key.kind)
            await patch_annotations(self._cluster, resource, key.namespace, key.name, {REQUESTED_AT: _nanoseconds()})
        except NoSuchKind as error:
            return "gone", str(error)
        except ApiError as error:
            return ("gone", "it is not there") if error.not_found else ("failed", str(error))
        return "requested", ""


def _nanoseconds() -> str:
    """The present as Go's RFC3339Nano writes it."""
    whole, rest = divmod(time.time_ns(), 10**9)
    digits = f".{rest:09d}".rstrip("0").rstrip(".")
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S") + digits + "Z"


def _nobody(_key: ObjectKey, _began_at: datetime, _result: str, _detail: str) -> None:
    """Nobody waits for outcomes yet."""
