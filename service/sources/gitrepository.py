"""GitRepository: the object in, a snapshot for our own consumers at once, then status.artifact for everyone else.

Order on a push: fetch, `on_revision`, tarball in a worker, one status patch. What the remote says for the object's own ref counts, whatever
a payload said. https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/gitrepositories.md
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pygit2 import GitError

from service import crash
from service.cluster.client import ApiAway, ApiError, Cluster
from service.cluster.discovery import Discovery, NoSuchKind
from service.kinds import meta
from service.kinds.codec import Invalid, decode, refused_fields
from service.kinds.event import Event
from service.kinds.meta import ObjectKey
from service.kinds.source import Artifact, GitRepository
from service.reconcile.outcome import Outcome
from service.reconcile.queue import Trigger
from service.sources import packs
from service.sources.artifact import ArtifactStore
from service.sources.credentials import Credentials, InvalidSecret, masked, read_credentials
from service.sources.depth import PRIVATE
from service.sources.fetcherror import FetchError
from service.sources.gitref import InvalidRef, InvalidUrl, Wanted, checked_url, wanted
from service.sources.gitreports import Reports
from service.sources.gitstatus import Failure
from service.sources.gitstore import GitStore
from service.sources.objects import Objects
from service.sources.openrepo import SnapshotGone, open_store
from service.sources.snapshot import Snapshot, ignore_files, moved_ignore_files
from service.sources.transfer import Fetched, described
from service.workers import Workers

log = logging.getLogger(__name__)

TIDY_LIMIT = timedelta(minutes=2)
WALK_LIMIT = timedelta(minutes=1)
AWAY_RETRY = timedelta(seconds=2)
JITTER = 0.05

Raw = Mapping[str, Any]


async def _at_once() -> None:
    """Nobody is waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What the reconciler works with.

    `read` returns the object from a watch's cache, or None if it is not there; without it each run asks the API. `read_secret` returns the
    decoded data of a Secret, or None. `consumers_done` returns when our own consumers have applied a revision, or soon: packing the tarball
    would take the processor from them. `on_revision` is called as soon as a snapshot is new, also once after a restart; it must not block.
    """

    cluster: Cluster
    discovery: Discovery
    workers: Workers
    gitstore: GitStore
    artifacts: ArtifactStore
    read_secret: Callable[[str, str], Awaitable[Mapping[str, bytes] | None]]
    on_revision: Callable[[Snapshot, tuple[Trigger, ...]], None]
    on_event: Callable[[Event], None]
    read: Callable[[ObjectKey], Raw | None] | None = None
    consumers_done: Callable[[], Awaitable[None]] = _at_once


class _EndedEarly(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class GitRepositoryReconciler:
    """See service.reconcile.worker.Reconciler. `snapshots` is what consumers may build from."""

    kind = "GitRepository"

    def __init__(self, needs: Needs, *, shadow: bool = False) -> None:
        self._needs = needs
        self._shadow = shadow
        self._objects = Objects(needs.cluster, needs.discovery, needs.read)
        self._reports = Reports(self._objects, needs.on_event, shadow=shadow)
        self._uids: dict[ObjectKey, str] = {}
        self._stored: dict[ObjectKey, tuple[str, Artifact]] = {}
        self.snapshots: dict[ObjectKey, Snapshot] = {}

    async def reconcile(self, key: ObjectKey, triggers: tuple[Trigger, ...]) -> Outcome:
        """Bring one GitRepository up to date. Expected failures become the object's status and the Outcome."""
        try:
            raw = await self._objects.get(key)
            if raw is None:
                await self._forget(key)
                return Outcome(result="gone")
            return await self._decided(key, raw, triggers)
        except ApiAway as error:
            log.warning("cluster away, tried again soon", extra={"object": str(key), "error": str(error)})
            return Outcome(result="failed", requeue_after=AWAY_RETRY * random.uniform(0.8, 1.2), message=str(error))  # noqa: S311 - jitter
        except NoSuchKind as error:
            return Outcome(result="failed", backoff=True, message=f"{error}; install the CRDs")
        except ApiError as error:
            if error.not_found:
                return Outcome(result="failed", backoff=True, message="the object went while it was reconciled")
            log.warning("cluster refused", extra={"object": str(key), "error": str(error)})
            return Outcome(result="failed", backoff=True, message=str(error))

    async def _decided(self, key: ObjectKey, raw: Raw, triggers: tuple[Trigger, ...]) -> Outcome:
        try:
            found = decode(GitRepository, raw)
        except Invalid as error:
            return await self._invalid(key, raw, str(error))
        if self._uids.setdefault(key, found.metadata.uid) != found.metadata.uid:
            await self._forget(key)  # deleted and made again while we did not look
            self._uids[key] = found.metadata.uid
        if found.metadata.deletion_timestamp is not None:
            return await self._deleted(key, found, raw)
        if found.spec.suspend:
            await self._restore(found, triggers)
            await self._reports.suspended(found, raw)
            return Outcome(result="suspended")
        if not self._shadow:
            raw = await self._objects.add_finalizer(key, raw)
        try:
            return await self._fetched(found, raw, triggers)
        except _EndedEarly as early:
            await self._restore(found, triggers)
            return await self._reports.failed(found, raw, early.failure)

    async def _fetched(self, found: GitRepository, raw: Raw, triggers: tuple[Trigger, ...]) -> Outcome:
        key = found.key
        url, want = _checked(found, raw)
        credentials = await self._credentials(found)
        begun = time.perf_counter()
        try:
            fetched = await self._needs.gitstore.fetch(
                uid=found.metadata.uid, url=url, credentials=credentials, wanted=want, timeout=found.spec.timeout
            )
        except FetchError as error:
            message = f"failed to checkout and determine revision: {error}"
            raise _EndedEarly(Failure(condition=meta.FETCH_FAILED, reason=error.reason, message=message)) from error
        crash.point("source.fetched")
        snapshot = await self._opened(found, want, fetched)
        published = self._publish(snapshot, triggers)
        if published:
            seconds = round(time.perf_counter() - begun, 4)
            log.info("new revision", extra={"object": str(key), "revision": snapshot.revision, "seconds": seconds})
        wait = found.spec.interval * random.uniform(1 - JITTER, 1 + JITTER) or None  # noqa: S311 - jitter
        if self._shadow:
            return Outcome(result="succeeded", requeue_after=wait, message=f"would store {snapshot.revision}")
        if published:
            await self._needs.consumers_done()
        artifact = await self._artifact(found, snapshot)
        crash.point("source.stored")
        changed = await self._reports.stored(found, raw, snapshot, artifact)
        await self._needs.artifacts.collect(key, artifact.path)
        if not changed:
            await self._tidy(snapshot)
        return Outcome(result="succeeded" if changed else "unchanged", requeue_after=wait, message=snapshot.revision)

    async def _credentials(self, found: GitRepository) -> Credentials:
        name, namespace = found.spec.secret_ref, found.metadata.namespace
        if name is None:
            return Credentials()
        data = await self._needs.read_secret(namespace, name)
        if data is None:
            why = f"failed to get secret '{namespace}/{name}': secrets \"{name}\" not found"
        else:
            try:
                return read_credentials(data)
            except InvalidSecret as error:
                why = f"failed to configure authentication options: secret '{namespace}/{name}': {error}"
        raise _EndedEarly(Failure(condition=meta.FETCH_FAILED, reason=meta.AUTHENTICATION_FAILED, message=why))

    async def _opened(self, found: GitRepository, want: Wanted, fetched: Fetched) -> Snapshot:
        try:
            return await self._snapshot(found, want, fetched)
        except SnapshotGone as error:
            await self._needs.gitstore.discard(fetched.store)
            why = f"the local Git store was damaged and is made anew: {error}"
        except OSError as error:  # also a worker that died or took too long
            why = f"failed to read the tree of {fetched.commit}: {error}"
        raise _EndedEarly(Failure(condition=meta.FETCH_FAILED, reason=meta.GIT_OPERATION_FAILED, message=why))

    async def _snapshot(self, found: GitRepository, want: Wanted, fetched: Fetched) -> Snapshot:
        before = self.snapshots.get(found.key)
        files = None
        if before is not None and before.store_path == fetched.store:
            files = await asyncio.to_thread(moved_ignore_files, fetched.store, before.tree, before.ignore_files, fetched.tree)
        if files is None:
            files = await self._needs.workers.run(ignore_files, fetched.store, fetched.tree, timeout=WALK_LIMIT)
        return Snapshot(
            key=found.key,
            revision=want.revision(fetched.commit),
            store_path=fetched.store,
            commit=fetched.commit,
            tree=fetched.tree,
            ignore=found.spec.ignore,
            ignore_files=files,
            subject=fetched.subject,
            author=fetched.author,
            url=found.spec.url,
        )

    async def _restore(self, found: GitRepository, triggers: tuple[Trigger, ...]) -> None:
        """After a restart without a fetch: the snapshot of what was fetched last, from the store, so that consumers need no remote.

        Not what status.artifact names: that may lag behind what the consumers have applied, and would take them back.
        """
        store = self._needs.gitstore.located(found.metadata.uid)
        if found.key in self.snapshots or store is None:
            return
        try:
            commit, tree, subject, author = await asyncio.to_thread(_last_fetched, store, found.metadata.uid)
            files = await self._needs.workers.run(ignore_files, store, tree, timeout=WALK_LIMIT)
            revision = wanted(found.spec.ref).revision(commit)
        except (SnapshotGone, OSError, InvalidRef) as error:
            log.warning("snapshot not restored", extra={"object": str(found.key), "error": str(error)})
            return
        snapshot = Snapshot(
            key=found.key,
            revision=revision,
            store_path=store,
            commit=commit,
            tree=tree,
            ignore=found.spec.ignore,
            ignore_files=files,
            subject=subject,
            author=author,
            url=found.spec.url,
        )
        self._publish(snapshot, triggers)

    def _publish(self, snapshot: Snapshot, triggers: tuple[Trigger, ...]) -> bool:
        """Tell the consumers if anything differs for them; returns whether it does."""
        if self.snapshots.get(snapshot.key) == snapshot:
            return False
        self.snapshots[snapshot.key] = snapshot
        self._needs.on_revision(snapshot, triggers)
        return True

    async def _artifact(self, found: GitRepository, snapshot: Snapshot) -> Artifact:
        """The stored tarball of the snapshot; made if it is not there, not intact or of another content."""
        store, current = self._needs.artifacts, found.status.artifact
        same = current is not None and current.revision == snapshot.revision and found.status.observed_ignore == found.spec.ignore
        if same and current is not None and current.url == store.url(current.path) and await store.intact(current):
            return current
        content = snapshot.revision + snapshot.ignore_digest
        known, artifact = self._stored.get(found.key, ("", None))
        if artifact is not None and known == content and await store.intact(artifact):
            return artifact  # a patch that failed is tried again
        try:
            artifact = await store.store(snapshot)
        except (OSError, SnapshotGone) as error:  # also a worker that died or took too long
            why = f"unable to archive artifact to storage: {error}"
            failure = Failure(condition=meta.STORAGE_FAILED, reason=meta.ARCHIVE_FAILED, message=why, revision=snapshot.revision)
            raise _EndedEarly(failure) from error
        self._stored[found.key] = (content, artifact)
        return artifact

    async def _tidy(self, snapshot: Snapshot) -> None:
        """At a quiet moment: few packs instead of many. What fails here is tried again at the next interval and harms nobody."""
        store = snapshot.store_path
        try:
            match packs.todo(store):
                case "pack":
                    await self._needs.workers.run(packs.pack, store, timeout=TIDY_LIMIT)
                case "drop":
                    await self._needs.gitstore.alone(store, packs.drop)
        except (OSError, GitError) as error:
            log.warning("git store not tidied", extra={"object": str(snapshot.key), "error": str(error)})

    async def _invalid(self, key: ObjectKey, raw: Raw, why: str) -> Outcome:
        """An object that cannot be read as it is: only its metadata is used, and its URL for better words."""
        found = decode(GitRepository, {**raw, "spec": {"url": "https://invalid", "interval": "0s"}})
        if found.metadata.deletion_timestamp is not None:
            return await self._deleted(key, found, raw)
        try:
            _checked_url(str((raw.get("spec") or {}).get("url")))
        except _EndedEarly as early:
            return await self._reports.failed(found, raw, early.failure)
        return await self._reports.failed(found, raw, Failure(condition="", reason=meta.VALIDATION_FAILED, message=why, stalls=True))

    async def _deleted(self, key: ObjectKey, found: GitRepository, raw: Raw) -> Outcome:
        await self._forget(key)
        await self._needs.gitstore.forget(found.metadata.uid)
        if not self._shadow:
            await self._needs.artifacts.remove(key)
            await self._objects.remove_finalizer(key, raw)
        return Outcome(result="gone")

    async def _forget(self, key: ObjectKey) -> None:
        self.snapshots.pop(key, None)
        self._stored.pop(key, None)
        self._objects.forget(key)
        self._reports.forget(key)
        uid = self._uids.pop(key, None)
        if uid is not None:
            await self._needs.gitstore.forget(uid)
            await self._needs.artifacts.remove(key)


def _checked(found: GitRepository, raw: Raw) -> tuple[str, Wanted]:
    """The URL and ref to fetch, or the stall that says what is wrong with the object."""
    url = _checked_url(found.spec.url)
    refused = refused_fields(raw)
    if refused:
        advice = "nothing was fetched. Remove it, or leave this object to Flux"
        why = f"{', '.join(refused)}: not carried out by this version of sluice; {advice}"
        raise _EndedEarly(Failure(condition="", reason=meta.VALIDATION_FAILED, message=why, stalls=True))
    try:
        return url, wanted(found.spec.ref)
    except InvalidRef as error:
        failure = Failure(condition=meta.FETCH_FAILED, reason=meta.GIT_OPERATION_FAILED, message=str(error), stalls=True)
        raise _EndedEarly(failure) from error


def _checked_url(url: str) -> str:
    try:
        return checked_url(url)
    except InvalidUrl as error:
        why = f"failed to parse url '{masked(url)}': {error}"
        raise _EndedEarly(Failure(condition=meta.FETCH_FAILED, reason=meta.URL_INVALID, message=why, stalls=True)) from error


def _last_fetched(store: Path, uid: str) -> tuple[str, str, str, str]:
    """(commit, tree, subject, author) that the object's private ref names."""
    try:
        repo = open_store(store)
        commit = str(repo.references[PRIVATE + uid].target)
        return commit, *described(repo, commit)
    except (KeyError, ValueError) as error:
        raise SnapshotGone("what was fetched last is not in the store") from error
