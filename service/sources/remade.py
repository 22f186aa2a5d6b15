"""Tarballs that somebody asks for and that are not there any more: a path in, the file made again from the published snapshot.

Only what the object's status names is made, and it counts only with the digest that stands there: who has read the status gets that content
or none.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakValueDictionary

from service.kinds.meta import ObjectKey
from service.sources.artifact import LATEST, ArtifactStore, folder_of
from service.sources.openrepo import SnapshotGone
from service.sources.snapshot import Snapshot

log = logging.getLogger(__name__)


class Remade:
    """`read` returns an object from a watch's cache, or None."""

    def __init__(
        self, artifacts: ArtifactStore, published: Mapping[ObjectKey, Snapshot], read: Callable[[ObjectKey], Mapping[str, Any] | None]
    ) -> None:
        self._artifacts = artifacts
        self._published = published
        self._read = read
        self._locks: WeakValueDictionary[ObjectKey, asyncio.Lock] = WeakValueDictionary()
        self._hopeless: dict[ObjectKey, str] = {}

    async def make(self, key: ObjectKey, name: str) -> bool:
        """Make the file of this name among the object's artifacts; returns whether it is there now."""
        snapshot = self._published.get(key)
        if snapshot is None:
            return False
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            artifact = ((self._read(key) or {}).get("status") or {}).get("artifact") or {}
            path, digest = str(artifact.get("path")), str(artifact.get("digest"))
            folder, _, file = path.rpartition("/")
            if folder != folder_of(key) or name not in (file, LATEST):
                return False
            if snapshot.revision != artifact.get("revision") or self._hopeless.get(key) == digest:
                return False
            if self._artifacts.file(path) is None and not await self._made(snapshot, digest):
                self._hopeless[key] = digest
                return False
            self._artifacts.lead(path)
            return True

    async def _made(self, snapshot: Snapshot, digest: str) -> bool:
        try:
            made = await self._artifacts.store(snapshot)
        except (OSError, SnapshotGone) as error:
            log.warning("artifact not made again", extra={"object": str(snapshot.key), "error": str(error)})
            return False
        if made.digest == digest:
            log.info("artifact made again", extra={"object": str(snapshot.key), "revision": snapshot.revision})
            return True
        found = self._artifacts.file(made.path)
        if found is not None:
            found.unlink(missing_ok=True)  # a layer that was stored as it is, for one: its next run stores it
        return False
