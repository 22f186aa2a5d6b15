"""Watches: committed events in, lines of JSON out. Events are serialised once for all watchers; a slow watcher is cut off.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from typing import Any

from service.apiserver.refusal import Refused
from service.apiserver.resources import Resource
from service.apiserver.store import Event, Store, Stored, watch_line

BACKLOG = 50_000  # events that a watcher may lag behind
BOOKMARK_EVERY = timedelta(seconds=30)

Matches = Callable[[Stored], bool]
Render = Callable[[bytes], bytes]


class Watcher:
    """One open watch: what it asked for and the events that it has not been sent."""

    __slots__ = ("backlog", "ended", "matches", "namespace", "news", "start")

    def __init__(self, namespace: str | None, matches: Matches | None, start: int) -> None:
        self.namespace, self.matches, self.start = namespace, matches, start
        self.backlog: deque[Event] = deque()
        self.news = asyncio.Event()
        self.ended = False

    def push(self, event: Event) -> None:
        """Queue an event if this watcher asked for it."""
        if event.version <= self.start or (self.namespace is not None and event.new.namespace != self.namespace):
            return
        if len(self.backlog) >= BACKLOG:
            self.end()
            return
        self.backlog.append(event)
        self.news.set()

    def end(self) -> None:
        """Close the watch after what is queued."""
        self.ended = True
        self.news.set()

    def line(self, event: Event, render: Render | None) -> bytes:
        """Return the event's line as this watcher sees it; empty when its selector matches neither before nor after."""
        kind = event.type
        if self.matches is not None:
            now, before = self.matches(event.new), event.old is not None and self.matches(event.old)
            if kind == "DELETED":
                now = before
            elif not now and before:
                kind = "DELETED"
            elif now and not before:
                kind = "ADDED"
            if not now and not before:
                return b""
        if render is None and kind == event.type:
            return event.line
        return watch_line(kind, render(event.new.body) if render else event.new.body)


class Watches:
    """All open watches by resource key."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: dict[str, set[Watcher]] = defaultdict(set)
        store.listen(self._publish)

    def _publish(self, event: Event) -> None:
        for watcher in self._open.get(event.new.resource, ()):
            watcher.push(event)

    def end(self, key: str | None = None) -> None:
        """End the watches of one resource, or all."""
        for resource, watchers in list(self._open.items()):
            if key is None or resource == key:
                for watcher in watchers:
                    watcher.end()

    def count(self) -> int:
        """Return how many watches are open."""
        return sum(len(watchers) for watchers in self._open.values())

    async def follow(
        self, resource: Resource, watcher: Watcher, *, limit: timedelta, bookmarks: bool, render: Render | None
    ) -> AsyncIterator[bytes]:
        """Yield chunks of lines until the time limit: what happened after `watcher.start`, then what happens. Ends with a bookmark."""
        loop = asyncio.get_running_loop()
        try:
            past = self._store.since(resource.key, watcher.start)
        except Refused as refused:
            yield watch_line("ERROR", json.dumps(refused.body()).encode())
            return
        for event in past:
            watcher.push(event)
        self._open[resource.key].add(watcher)
        deadline, at = loop.time() + limit.total_seconds(), watcher.start
        try:
            while True:
                seen = self._committed(watcher, at)
                lines = [watcher.line(watcher.backlog.popleft(), render) for _ in range(min(len(watcher.backlog), 500))]
                at = seen if not watcher.backlog else at
                if chunk := b"".join(lines):
                    yield chunk
                left = deadline - loop.time()
                if watcher.backlog:
                    continue
                if watcher.ended or left <= 0:
                    break
                watcher.news.clear()
                try:
                    async with asyncio.timeout(min(left, BOOKMARK_EVERY.total_seconds())):
                        await watcher.news.wait()
                except TimeoutError:
                    if bookmarks:
                        yield bookmark(resource, at)
            if bookmarks:
                yield bookmark(resource, at)
        finally:
            self._open[resource.key].discard(watcher)

    def _committed(self, watcher: Watcher, at: int) -> int:
        """Return the newest version that this watcher has everything up to once its backlog is sent."""
        return max(at, self._store.committed, watcher.backlog[-1].version if watcher.backlog else 0)


def bookmark(resource: Resource, version: int, annotations: Mapping[str, str] | None = None) -> bytes:
    """Return a BOOKMARK line."""
    meta: dict[str, Any] = {"resourceVersion": str(version), "creationTimestamp": None}
    if annotations:
        meta["annotations"] = dict(annotations)
    body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta}
    return watch_line("BOOKMARK", json.dumps(body, separators=(",", ":")).encode())
