"""core/v1 Events about objects, as client-go's recorder writes them: repeats raise the count of one Event. Never in anybody's way.

`post` only puts into a bounded queue; one task writes. What cannot be written is dropped and logged: events are news, not records.
https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/, https://github.com/kubernetes/client-go/blob/master/tools/record
"""

import asyncio
import logging
import socket
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from service.cluster.client import MERGE_PATCH, ApiError, Cluster, ClusterError

log = logging.getLogger(__name__)

QUEUE = 1000
REMEMBERED = 4096
AGGREGATED_FOR = timedelta(minutes=10)
LONGEST_MESSAGE = 1024
_ONE = timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """One thing to tell. `annotations` are the event's (Flux puts its metadata there)."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str = ""
    type: Literal["Normal", "Warning"] = "Normal"
    reason: str
    message: str
    annotations: Mapping[str, str] = field(default_factory=dict)
    component: str = "kustomize-controller"


@dataclass(slots=True)
class _Known:
    """An Event that exists and counts."""

    name: str
    count: int
    last: float


class Recorder:
    """Writes Events in the background. `post` from anywhere in the loop; `run` is the task."""

    def __init__(self, cluster: Cluster, *, instance: str = "") -> None:
        self._cluster = cluster
        self._instance = instance or socket.gethostname()
        self._queue: asyncio.Queue[News] = asyncio.Queue(QUEUE)
        self._known: OrderedDict[tuple[str, ...], _Known] = OrderedDict()
        self._last_name = 0
        self.dropped = 0

    def post(self, news: News) -> None:
        """Tell it soon; at once dropped when a thousand wait already."""
        try:
            self._queue.put_nowait(news)
        except asyncio.QueueFull:
            self.dropped += 1

    async def run(self) -> None:
        """Write what is posted, until cancelled."""
        while True:
            news = await self._queue.get()
            try:
                await self._write(news)
            except ClusterError as error:
                self.dropped += 1
                log.info("an event was not written", extra={"object": f"{news.kind}/{news.namespace}/{news.name}", "error": str(error)})
            finally:
                self._queue.task_done()

    async def drain(self, timeout: timedelta) -> None:
        """Wait until all is written that was posted before, not longer than `timeout`."""
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                await self._queue.join()
        except TimeoutError:
            log.info("events were left behind", extra={"count": self._queue.qsize()})

    async def _write(self, news: News) -> None:
        key = (news.component, news.kind, news.namespace, news.name, news.uid, news.type, news.reason, news.message)
        path = f"/api/v1/namespaces/{news.namespace or 'default'}/events"
        known = self._known.get(key)
        now = time.monotonic()
        if known is not None and now - known.last < AGGREGATED_FOR.total_seconds():
            known.count, known.last = known.count + 1, now
            self._known.move_to_end(key)
            try:
                body = {"count": known.count, "lastTimestamp": _timestamp()}
                await self._cluster.request("PATCH", f"{path}/{known.name}", body=body, content_type=MERGE_PATCH, timeout=_ONE)
                return
            except ApiError as error:
                if not error.not_found:  # the server forgets Events after an hour
                    raise
        event = self._event(news)
        await self._cluster.request("POST", path, body=event, timeout=_ONE)
        self._known[key] = _Known(name=event["metadata"]["name"], count=1, last=now)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def _event(self, news: News) -> dict[str, Any]:
        now = _timestamp()
        self._last_name = max(time.time_ns(), self._last_name + 1)
        involved = {"apiVersion": news.api_version, "kind": news.kind, "namespace": news.namespace, "name": news.name, "uid": news.uid}
        if news.resource_version:
            involved["resourceVersion"] = news.resource_version
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{news.name}.{self._last_name:x}",
                "namespace": news.namespace or "default",
                "annotations": dict(news.annotations),
            },
            "involvedObject": {key: value for key, value in involved.items() if value},
            "type": news.type,
            "reason": news.reason,
            "message": news.message if len(news.message) <= LONGEST_MESSAGE else news.message[: LONGEST_MESSAGE - 4] + " ...",
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": news.component},
            "reportingComponent": news.component,
            "reportingInstance": self._instance,
        }


def _timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
