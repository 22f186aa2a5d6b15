"""GitRepository: the object in, a snapshot for our own consumers at once, then the tarball for everyone else.

Order on a push: fetch, publish, tarball in a worker, one status patch. What the remote says for the object's own ref counts, whatever
a payload said. https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/gitrepositories.md
"""

import asyncio
import logging
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from service import crash
from service.kinds import meta
from service.kinds.meta import ObjectKey
from service.kinds.source import GitRepository
from service.reconcile.queue import Trigger
from service.sources.credentials import Credentials, masked
from service.sources.depth import PRIVATE, VERIFIED
from service.sources.failure import EndedEarly
from service.sources.fetcherror import AuthRefused, FetchError
from service.sources.gitlogin import GitLogin
from service.sources.gitref import InvalidRef, InvalidUrl, Wanted, checked_url, wanted
from service.sources.gitsignature import Keys
from service.sources.gitverification import GitVerification
from service.sources.openrepo import SnapshotGone, open_store
from service.sources.reconciler import Needs, Raw
from service.sources.snapshot import Snapshot, ignore_files, moved_ignore_files
from service.sources.sparse import BadSparse, below, folders_of, missing
from service.sources.tarball import Tarball, Tarballs, Words
from service.sources.transfer import Fetched, described

log = logging.getLogger(__name__)

WALK_LIMIT = timedelta(minutes=1)
SUBJECT_LENGTH = 50


class GitOrigin:
    """See service.sources.reconciler.Origin."""

    type = GitRepository
    blank: Raw = {"url": "https://invalid", "interval": "0s"}  # noqa: RUF012 - never written

    def __init__(self, needs: Needs) -> None:
        self._needs = needs
        self._login = GitLogin(needs)
        self._verification = GitVerification(needs.gitstore, needs.read_secret)
        self._tarballs = Tarballs(artifacts=needs.artifacts, gitstore=needs.gitstore, workers=needs.workers)

    def check(self, spec: Raw) -> None:
        """The address, whose form Flux's CRD does not hold."""
        _checked_url(str(spec.get("url")))

    async def fetch(self, found: GitRepository, triggers: tuple[Trigger, ...]) -> Tarball:
        """Fetch what the ref names now, and publish it."""
        url, want = _checked_url(found.spec.url), _checked_ref(found)
        _checked_sparse(found)
        begun, credentials = time.perf_counter(), Credentials()
        want, keys = await self._verification.plan(found, want)
        try:
            credentials = await self._login.of(found)
            fetched = await self._needs.gitstore.fetch(
                uid=found.metadata.uid,
                url=url,
                credentials=credentials,
                wanted=want.hinted(trigger.hint for trigger in triggers),
                timeout=found.spec.timeout,
                age=datetime.now(UTC) - max((trigger.stored_at for trigger in triggers), default=datetime.now(UTC)),
            )
        except FetchError as error:
            why = self._login.refused(found, credentials, error) if isinstance(error, AuthRefused) else str(error)
            raise EndedEarly.fetch(error.reason, f"failed to checkout and determine revision: {why}") from error
        crash.point("source.fetched")
        snapshot = await self._opened(found, want, fetched, keys)
        moved = self._needs.published.publish(snapshot, triggers)
        if moved:
            seconds = round(time.perf_counter() - begun, 4)
            log.info("new revision", extra={"object": str(found.key), "revision": snapshot.revision, "seconds": seconds})
        words = Words(
            ready=f"stored artifact for revision '{snapshot.revision}'",
            news=f"stored artifact for commit '{_shortened(snapshot.subject)}'",
            has_url=False,
            same_rules=(found.status.observed_ignore, found.status.observed_sparse_checkout)
            == (found.spec.ignore, found.spec.sparse_checkout),
            status={
                "observedIgnore": found.spec.ignore,
                "observedSparseCheckout": list(found.spec.sparse_checkout) or None,
                "sourceVerificationMode": self._verification.mode(found),
            },
            conditions=self._verification.conditions(found),
        )
        return self._tarballs.of(found, snapshot, words, moved=moved)

    async def _opened(self, found: GitRepository, want: Wanted, fetched: Fetched, keys: Keys | None) -> Snapshot:
        try:
            await self._verification.check(found, want, fetched, keys)
            return await self._snapshot(found, want, fetched)
        except SnapshotGone as error:
            await self._needs.gitstore.discard(fetched.store)
            why = f"the local Git store was damaged and is made anew: {error}"
        except OSError as error:  # also a worker that died or took too long
            why = f"failed to read the tree of {fetched.commit}: {error}"
        raise EndedEarly.fetch(meta.GIT_OPERATION_FAILED, why)

    async def _snapshot(self, found: GitRepository, want: Wanted, fetched: Fetched) -> Snapshot:
        before = self._needs.published.get(found.key)
        files, only = None, _checked_sparse(found)
        if only:
            gone = await asyncio.to_thread(missing, fetched.store, fetched.tree, only)
            if gone:
                why = f"failed to checkout and determine revision: sparse checkout dir '{gone}' does not exist in repository"
                raise EndedEarly.fetch(meta.GIT_OPERATION_FAILED, why)
        if before is not None and (before.store_path, before.only) == (fetched.store, only):
            files = await asyncio.to_thread(moved_ignore_files, fetched.store, before.tree, before.ignore_files, fetched.tree)
        if files is None:
            files = await self._needs.workers.run(ignore_files, fetched.store, fetched.tree, timeout=WALK_LIMIT)
        return Snapshot(
            key=found.key,
            revision=want.revision(fetched.commit, fetched.label),
            store_path=fetched.store,
            commit=fetched.commit,
            tree=fetched.tree,
            ignore=found.spec.ignore,
            ignore_files=below(files, only),
            only=only,
            subject=fetched.subject,
            author=fetched.author,
            url=found.spec.url,
        )

    async def restore(self, found: GitRepository, triggers: tuple[Trigger, ...]) -> None:
        """After a restart without a fetch: the snapshot of what was fetched last, from the store, so that consumers need no remote.

        Not what status.artifact names: that may lag behind what the consumers have applied, and would take them back. Where signatures
        are asked for, what was good last.
        """
        store = self._needs.gitstore.located(found.metadata.uid)
        if found.key in self._needs.published or store is None:
            return
        try:
            name = PRIVATE + found.metadata.uid + (VERIFIED if found.spec.verify is not None else "")
            want, fetched = wanted(found.spec.ref), await asyncio.to_thread(_commit_at, store, name)
            if want.semver:  # the ref in the store does not tell which tag it was
                fetched = replace(fetched, label=_label_of(found, fetched.commit))
            snapshot = await self._snapshot(found, want, fetched)
        except (SnapshotGone, OSError, InvalidRef, EndedEarly) as error:
            log.warning("snapshot not restored", extra={"object": str(found.key), "error": str(error)})
            return
        self._needs.published.publish(snapshot, triggers)

    async def forget(self, key: ObjectKey, uid: str) -> None:
        """The object is gone."""
        self._tarballs.forget(uid)
        self._verification.forget(uid)
        await self._needs.gitstore.forget(uid)


def _checked_ref(found: GitRepository) -> Wanted:
    try:
        return wanted(found.spec.ref)
    except InvalidRef as error:
        raise EndedEarly.fetch(meta.GIT_OPERATION_FAILED, str(error), stalls=True) from error


def _checked_sparse(found: GitRepository) -> tuple[str, ...]:
    try:
        return folders_of(found.spec.sparse_checkout)
    except BadSparse as error:
        raise EndedEarly.fetch(meta.GIT_OPERATION_FAILED, str(error), stalls=True) from error


def _checked_url(url: str) -> str:
    try:
        return checked_url(url)
    except InvalidUrl as error:
        raise EndedEarly.fetch(meta.URL_INVALID, f"failed to parse url '{masked(url)}': {error}", stalls=True) from error


def _shortened(subject: str) -> str:
    return subject if len(subject) <= SUBJECT_LENGTH else subject[:SUBJECT_LENGTH] + "..."


def _label_of(found: GitRepository, commit: str) -> str:
    """The name by which the stored artifact reached the commit, "" where it is another one."""
    label, _, digest = (found.status.artifact.revision if found.status.artifact else "").rpartition("@")
    return label if digest == f"sha1:{commit}" else ""


def _commit_at(store: Path, name: str) -> Fetched:
    """What a private ref of the object names."""
    try:
        repo = open_store(store)
        commit = str(repo.references[name].target)
        tree, subject, author = described(repo, commit)
        return Fetched(store=store, commit=commit, before=commit, tree=tree, subject=subject, author=author)
    except (KeyError, ValueError) as error:
        raise SnapshotGone("what was fetched last is not in the store") from error
