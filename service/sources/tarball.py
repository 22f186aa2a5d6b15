"""A snapshot in, status.artifact out: the tarball is made where it is not there, not intact or of another content."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from pygit2 import GitError

from service.kinds import meta
from service.kinds.meta import Condition
from service.kinds.source import Artifact
from service.reconcile.queue import Trigger
from service.sources import packs
from service.sources.artifact import ArtifactStore
from service.sources.failure import EndedEarly, Failure, Stored
from service.sources.gitstore import GitStore
from service.sources.openrepo import SnapshotGone, borrowed
from service.sources.snapshot import Snapshot, is_there
from service.sources.status import Source
from service.workers import Workers

log = logging.getLogger(__name__)
MISSED = "store"
"""The reason of a run that a consumer asks for, which has found objects of the snapshot missing."""
TIDY_LIMIT = timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a kind says of a snapshot that is stored, and its own part of the status.

    `same_rules`: what the object's status holds was made by the rules of today's spec. `as_it_is`: the file is there already, see
    ArtifactStore.keep. `has_url`: the kind's status tells where the newest is.
    """

    ready: str
    news: str
    same_rules: bool
    status: Mapping[str, Any]
    conditions: tuple[Condition, ...] = ()
    metadata: Mapping[str, str] | None = None
    as_it_is: bool = False
    has_url: bool = True


class Tarballs:
    """The tarballs of the objects of one kind."""

    def __init__(self, *, artifacts: ArtifactStore, gitstore: GitStore, workers: Workers) -> None:
        self._artifacts = artifacts
        self._gitstore = gitstore
        self._workers = workers
        self._made: dict[str, tuple[str, Artifact]] = {}  # by uid: of what content, for a patch that is tried again
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def of(self, found: Source, snapshot: Snapshot, words: Words, *, moved: bool) -> "Tarball":
        """The tarball of a snapshot, not made yet."""
        return Tarball(tarballs=self, found=found, snapshot=snapshot, words=words, moved=moved)

    def forget(self, uid: str) -> None:
        """The object is gone."""
        self._made.pop(uid, None)
        self._locks.pop(uid, None)

    async def make(self, found: Source, snapshot: Snapshot, words: Words) -> Artifact:
        """The stored tarball of the snapshot, made once for whoever asks: the object's own run, and those that include it.

        Raises EndedEarly.
        """
        async with self._locks[found.metadata.uid]:
            return await self._make(found, snapshot, words)

    async def _make(self, found: Source, snapshot: Snapshot, words: Words) -> Artifact:
        store, current, uid = self._artifacts, found.status.artifact, found.metadata.uid
        same = words.same_rules and current is not None and current.revision == snapshot.revision
        if same and current is not None and current.url == store.url(current.path) and await store.intact(current):
            return current
        content = snapshot.revision + snapshot.tree + snapshot.ignore_digest
        known, artifact = self._made.get(uid, ("", None))
        if artifact is not None and known == content and await store.intact(artifact):
            return artifact
        try:
            artifact = await (store.kept(snapshot) if words.as_it_is else store.store(snapshot))
        except SnapshotGone as error:
            await self._gitstore.discard(snapshot.store_path)
            raise EndedEarly.damaged(error, snapshot.revision) from error
        except OSError as error:  # also a worker that died or took too long
            why = f"unable to archive artifact to storage: {error}"
            failure = Failure(condition=meta.STORAGE_FAILED, reason=meta.ARCHIVE_FAILED, message=why, revision=snapshot.revision)
            raise EndedEarly(failure) from error
        if current is not None and replace(artifact, last_update_time=current.last_update_time) == current:
            artifact = current  # made again, and the same
        self._made[uid] = (content, artifact)
        return artifact

    async def still(self, snapshot: Snapshot | None, triggers: Iterable[Trigger]) -> Snapshot | None:
        """The snapshot, if its tree is in its store and no consumer missed anything; else the store is removed, to be made anew."""
        missed = any(trigger.reason == MISSED for trigger in triggers)
        if snapshot is None or (not missed and await asyncio.to_thread(is_there, snapshot)):
            return snapshot
        log.warning("git store damaged, made anew", extra={"object": str(snapshot.key), "store": str(snapshot.store_path)})
        await self._gitstore.discard(snapshot.store_path)
        return None

    def lead(self, artifact: Artifact) -> str:
        """See ArtifactStore.lead."""
        return self._artifacts.lead(artifact.path)

    async def tidy(self, snapshot: Snapshot) -> None:
        """Few packs instead of many. What fails here is tried again at the next interval and harms nobody."""
        for store in (snapshot.store_path, *borrowed(snapshot.store_path)):
            try:
                match packs.todo(store):
                    case "pack":
                        await self._workers.run(packs.pack, store, timeout=TIDY_LIMIT)
                    case "drop":
                        await self._gitstore.alone(store, packs.drop)
            except (OSError, GitError) as error:
                log.warning("git store not tidied", extra={"object": str(snapshot.key), "error": str(error)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tarball:
    """See service.sources.reconciler.Fetch. `complete` adds to the words what is only known once others have their tarballs."""

    tarballs: Tarballs
    found: Source
    snapshot: Snapshot
    words: Words
    moved: bool
    complete: Callable[[Words], Awaitable[Words]] | None = None

    @property
    def revision(self) -> str:
        return self.snapshot.revision

    async def store(self) -> Stored:
        words = self.words if self.complete is None else await self.complete(self.words)
        artifact = await self.tarballs.make(self.found, self.snapshot, words)
        if words.metadata is not None:
            artifact = replace(artifact, metadata=words.metadata)
        link = self.tarballs.lead(artifact)
        return Stored(
            artifact=artifact,
            ready=words.ready,
            news=words.news,
            status={**words.status, "url": link} if words.has_url else words.status,
            conditions=words.conditions,
        )

    async def tidy(self) -> None:
        await self.tarballs.tidy(self.snapshot)
