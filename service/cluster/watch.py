"""A cache of one kind's objects that follows the cluster: list once, then watch; changes go to a callback. Never polls.

Resumes from the last resourceVersion after each break, lists again (and reports what changed meanwhile, deletions too) when the server has
forgotten that version. https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal

from service.cluster.client import Answer, ApiAway, ApiError, Cluster, ClusterError
from service.cluster.discovery import Resource, collection_path

log = logging.getLogger(__name__)

PAGE = 100
PAGE_BYTES = 256 * 1024  # what is parsed in about 2 ms: pages of larger objects have fewer of them
PAGE_TIMEOUT = timedelta(seconds=60)
FIRST_WAIT = timedelta(milliseconds=250)
LONGEST_WAIT = timedelta(seconds=5)
ABSENT_FIRST_WAIT = timedelta(milliseconds=500)
SHORT_WATCH = timedelta(seconds=1)
_AT_ONCE = 20  # events between two looks of the loop at its other work

_dice = random.SystemRandom()

Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What happened to an object: its new state (the last one, for DELETED), and the state before if there was one."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    object: dict[str, Any]
    old: dict[str, Any] | None


def ignore(_change: Change) -> None:
    """For those who only want the cache."""


class Watch:
    """One kind, in one namespace or all, kept in `objects` (namespace "" for cluster-scoped kinds; without managedFields).

    `synced` is set once `objects` is complete, or it is certain that the kind is not installed (`installed` is False then; it is picked up
    when it appears). `away_since` is when the server stopped answering as it should, None while it does; `problem` is what was wrong last.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        resource: Resource,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        on_change: Callable[[Change], None] = ignore,
    ) -> None:
        self.on_change = on_change
        self.synced = asyncio.Event()
        self.away_since: datetime | None = None
        self.problem = ""
        self.installed = False
        self.resource = resource
        self._cluster = cluster
        self._path = collection_path(resource, namespace)
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        self._selectors = {name: value for name, value in selectors.items() if value}
        self._objects: dict[Key, dict[str, Any]] = {}
        self._version: str | None = None
        self._failures = 0

    @property
    def objects(self) -> Mapping[Key, dict[str, Any]]:
        """The live objects by (namespace, name). Not to be changed by the reader."""
        return MappingProxyType(self._objects)

    async def run(self) -> None:
        """Follow the cluster until cancelled."""
        while True:
            try:
                if self._version is None:
                    await self._list()
                await self._follow()
            except _Forgotten:
                self._version = None
                await self._pause(FIRST_WAIT)
            except ApiError as error:
                await self._refused(error)
            except ApiAway as error:
                self._lost(error.message)
                await self._pause(FIRST_WAIT)

    async def _list(self) -> None:
        """Read all pages, then report the difference to what is known."""
        seen: dict[Key, dict[str, Any]] = {}
        query, limit = dict(self._selectors), PAGE
        while True:
            try:
                answer = await self._page({**query, "limit": str(limit)}, PAGE_TIMEOUT)
            except ApiError as error:
                if error.status == 410:  # the list took longer than the server keeps its snapshot
                    raise _Forgotten from error
                raise
            for item in answer.body.get("items") or ():
                seen[_key(item)] = self._slim(item)
            metadata = answer.body.get("metadata") or {}
            if not metadata.get("continue"):
                break
            query["continue"] = metadata["continue"]
            limit = max(1, min(PAGE, limit * PAGE_BYTES // max(answer.size_bytes, 1)))
        self._answered()
        for number, change in enumerate(self._difference(seen)):
            self._report(change)
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
        self._version = metadata.get("resourceVersion") or "0"
        self.synced.set()

    async def _page(self, query: Mapping[str, str], timeout: timedelta) -> Answer:
        return await self._cluster.request("GET", self._path, query=query, timeout=timeout)

    def _events(self, query: Mapping[str, str], idle: timedelta) -> AsyncGenerator[dict[str, Any], None]:
        return self._cluster.stream(self._path, query=query, idle=idle)

    def _difference(self, seen: Mapping[Key, dict[str, Any]]) -> Iterator[Change]:
        for key in [key for key in self._objects if key not in seen]:
            yield Change(type="DELETED", object=self._objects[key], old=self._objects[key])
        for key, item in seen.items():
            yield from self._stored(key, item)

    def _stored(self, key: Key, item: dict[str, Any]) -> Iterator[Change]:
        """The changes that lead from the known state of an object to `item`."""
        old = self._objects.get(key)
        if old is not None and _meta(old, "uid") != _meta(item, "uid"):
            yield Change(type="DELETED", object=old, old=old)
            old = None
        if old is None:
            yield Change(type="ADDED", object=item, old=None)
        elif _meta(old, "resourceVersion") != _meta(item, "resourceVersion"):
            yield Change(type="MODIFIED", object=item, old=old)

    async def _follow(self) -> None:
        """One watch request, from its start to its end by the server."""
        loop = asyncio.get_running_loop()
        lasts = _dice.randint(300, 600)  # as client-go, so that not all watches end at once
        query = {
            **self._selectors,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version or "0",
            "timeoutSeconds": str(lasts),
        }
        began, count = loop.time(), 0
        events = self._events(query, timedelta(seconds=lasts + 15))
        try:
            async for event in events:
                self._answered()
                self._take(event)
                count += 1
                if count % _AT_ONCE == 0:
                    await asyncio.sleep(0)
        finally:
            await events.aclose()
        self._answered()
        if loop.time() - began < SHORT_WATCH.total_seconds():
            self._failures += 1
            await self._pause(FIRST_WAIT)

    def _take(self, event: Mapping[str, Any]) -> None:
        item = event.get("object") or {}
        match event.get("type"):
            case "ERROR":
                if item.get("code") == 410 or item.get("reason") in ("Expired", "Gone"):
                    raise _Forgotten
                raise ApiError(int(item.get("code") or 500), str(item.get("reason", "")), str(item.get("message", "the watch failed")))
            case "DELETED":
                old = self._objects.get(_key(item))
                if old is not None:
                    self._report(Change(type="DELETED", object=self._slim(item), old=old))
            case "ADDED" | "MODIFIED":
                for change in self._stored(_key(item), self._slim(item)):
                    self._report(change)
        self._version = _meta(item, "resourceVersion") or self._version

    def _report(self, change: Change) -> None:
        key = _key(change.object)
        if change.type == "DELETED":
            self._objects.pop(key, None)
        else:
            self._objects[key] = change.object
        try:
            self.on_change(change)
        except Exception:  # whoever listens must not end the watch for all others
            log.exception("a watch's listener failed", extra={"object": f"{self.resource.kind}/{key[0]}/{key[1]}", "change": change.type})

    def _slim(self, item: dict[str, Any]) -> dict[str, Any]:
        item["metadata"].pop("managedFields", None)
        item.setdefault("apiVersion", self.resource.api_version)  # the items of a list come without
        item.setdefault("kind", self.resource.kind)
        return item

    def _answered(self) -> None:
        if self.away_since is not None:
            log.info("the API server answers again", extra={"resource": self.resource.plural, "away_since": self.away_since.isoformat()})
        self.away_since, self.installed, self._failures = None, True, 0

    def _lost(self, message: str) -> None:
        self.problem = message
        if self.away_since is None:
            self.away_since = datetime.now(UTC)
            log.warning("the watch is interrupted", extra={"resource": self.resource.plural, "error": message})

    async def _refused(self, error: ApiError) -> None:
        if error.status == 410:
            self._version = None
            await self._pause(FIRST_WAIT)
            return
        if not error.not_found:
            self._version = None if error.status in (400, 403) else self._version
            self._lost(error.message)
            await self._pause(FIRST_WAIT)
            return
        if self.installed or not self.synced.is_set():
            log.info("the kind is not installed", extra={"resource": self.resource.plural, "group": self.resource.group})
        self.away_since, self.installed, self._version = None, False, None
        for change in list(self._difference({})):
            self._report(change)
        self.synced.set()
        await self._pause(ABSENT_FIRST_WAIT)

    async def _pause(self, first: timedelta) -> None:
        longest = min(LONGEST_WAIT.total_seconds(), first.total_seconds() * 2**self._failures)
        self._failures = min(self._failures + 1, 10)
        await asyncio.sleep(longest * _dice.uniform(0.5, 1.0))


class _Forgotten(ClusterError):
    """The server no longer knows the version that we stand at."""


def _meta(item: Mapping[str, Any], field: str) -> str:
    return str((item.get("metadata") or {}).get(field) or "")


def _key(item: Mapping[str, Any]) -> Key:
    return _meta(item, "namespace"), _meta(item, "name")
