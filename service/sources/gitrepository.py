"""GitRepository: the object in, a snapshot for our own consumers at once, then the tarball for everyone else.

Order on a push: fetch, check, put submodules and includes into the tree, publish, tarball in a worker, one status patch. What the remote
says for the object's own ref counts, whatever a payload said. https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/gitrepositories.md
"""

import asyncio
import logging
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from service import crash
from service.kinds import meta
from service.kinds.meta import ObjectKey
from service.kinds.source import GitRepository
from service.reconcile.queue import Trigger
from service.sources.composing import inside
from service.sources.composition import Compositions, is_composed
from service.sources.credentials import Credentials, masked
from service.sources.depth import PRIVATE, VERIFIED
from service.sources.failure import EndedEarly
from service.sources.fetcherror import AuthRefused, FetchError
from service.sources.gitlogin import GitLogin
from service.sources.gitref import InvalidRef, InvalidUrl, Wanted, checked_url, wanted
from service.sources.gitsignature import Keys
from service.sources.gitverification import GitVerification
from service.sources.includes import INCLUDE, Included, Includes
from service.sources.openrepo import SnapshotGone, open_store
from service.sources.reconciler import Needs, Raw
from service.sources.snapshot import Snapshot, ignore_files, moved_ignore_files
from service.sources.sparse import BadSparse, below, folders_of, missing
from service.sources.status import artifact_json
from service.sources.tarball import MISSED, Tarball, Tarballs, Words
from service.sources.transfer import Fetched, described

log = logging.getLogger(__name__)

WALK_LIMIT = timedelta(minutes=1)
SUBJECT_LENGTH = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run is to bring: a commit, the keys that must have signed it, and what is put into its tree."""

    want: Wanted
    keys: Keys | None
    included: tuple[Included, ...]


class GitOrigin:
    """See service.sources.reconciler.Origin."""

    type = GitRepository
    blank: Raw = {"url": "https://invalid", "interval": "0s"}  # noqa: RUF012 - never written

    def __init__(self, needs: Needs) -> None:
        self._needs = needs
        self._login = GitLogin(needs)
        self._verification = GitVerification(needs.gitstore, needs.read_secret)
        self._includes, self._compositions = Includes(needs), Compositions(needs)
        self._tarballs = Tarballs(artifacts=needs.artifacts, gitstore=needs.gitstore, workers=needs.workers)
        self._asked: dict[str, tuple[int, float, Fetched]] = {}

    def check(self, spec: Raw) -> None:
        """The address, whose form Flux's CRD does not hold."""
        _checked_url(str(spec.get("url")))

    async def fetch(self, found: GitRepository, triggers: tuple[Trigger, ...]) -> Tarball:
        """Fetch what the ref names now, and publish it."""
        _checked_url(found.spec.url)
        _checked_sparse(found)
        begun = time.perf_counter()
        if any(trigger.reason == MISSED for trigger in triggers):
            await self._tarballs.still(self._needs.published.get(found.key), triggers)
        want, keys = await self._verification.plan(found, _checked_ref(found))
        plan = Plan(want=want, keys=keys, included=await self._includes.of(found))
        fetched, credentials = await self._fetched(found, want, triggers)
        crash.point("source.fetched")
        snapshot = await self._opened(found, plan, fetched, credentials)
        moved = self._needs.published.publish(snapshot, triggers)
        if moved:
            seconds = round(time.perf_counter() - begun, 4)
            log.info("new revision", extra={"object": str(found.key), "revision": snapshot.revision, "seconds": seconds})
        tarball = self._tarballs.of(found, snapshot, self._words(found, snapshot), moved=moved)
        return replace(tarball, complete=partial(self._complete, found, plan.included))

    async def _fetched(self, found: GitRepository, want: Wanted, triggers: tuple[Trigger, ...]) -> tuple[Fetched, Credentials]:
        """The newest commit of the remote, and what was sent to get it. Raises EndedEarly."""
        credentials = Credentials()
        try:
            credentials = await self._login.of(found)
            just = self._just_fetched(found, triggers)
            if just is not None:
                return just, credentials
            fetched = await self._needs.gitstore.fetch(
                uid=found.metadata.uid,
                url=found.spec.url,
                credentials=credentials,
                wanted=want.hinted(trigger.hint for trigger in triggers),
                timeout=found.spec.timeout,
                age=datetime.now(UTC) - max((trigger.stored_at for trigger in triggers), default=datetime.now(UTC)),
            )
        except FetchError as error:
            raise self._refused(found, credentials, error) from error
        self._asked[found.metadata.uid] = (found.metadata.generation, asyncio.get_running_loop().time(), fetched)
        return fetched, credentials

    def _just_fetched(self, found: GitRepository, triggers: tuple[Trigger, ...]) -> Fetched | None:
        """What the remote had a moment ago, if all that has happened since is that an included source moved."""
        if not triggers or any(trigger.reason != INCLUDE for trigger in triggers):
            return None
        generation, at, fetched = self._asked.get(found.metadata.uid, (0, 0.0, None))
        age = asyncio.get_running_loop().time() - at
        return fetched if generation == found.metadata.generation and age < found.spec.interval.total_seconds() / 2 else None

    def _refused(self, found: GitRepository, credentials: Credentials, error: FetchError) -> EndedEarly:
        why = self._login.refused(found, credentials, error) if isinstance(error, AuthRefused) else str(error)
        return EndedEarly.fetch(error.reason, f"failed to checkout and determine revision: {why}")

    async def _opened(self, found: GitRepository, plan: Plan, fetched: Fetched, credentials: Credentials) -> Snapshot:
        whole = fetched
        try:
            await self._verification.check(found, plan.want, fetched, plan.keys)
            whole = await self._compositions.whole(found, fetched, credentials, plan.included, _chosen(found))
            return await self._snapshot(found, plan.want, whole)
        except FetchError as error:  # of a submodule
            raise self._refused(found, credentials, error) from error
        except SnapshotGone as error:
            await self._needs.gitstore.discard(whole.store)
            why = f"the local Git store was damaged and is made anew: {error}"
        except OSError as error:  # also a worker that died or took too long
            why = f"failed to read the tree of {fetched.commit}: {error}"
        self._asked.pop(found.metadata.uid, None)
        raise EndedEarly.fetch(meta.GIT_OPERATION_FAILED, why)

    async def _complete(self, found: GitRepository, included: tuple[Included, ...], words: Words) -> Words:
        """The artifacts of what is included, as they are once all is stored; the other objects' own runs find theirs made."""
        artifacts = [await self._tarballs.make(each.found, each.snapshot, self._words(each.found, each.snapshot)) for each in included]
        before = [(each.revision, each.digest) for each in found.status.included_artifacts]
        return replace(
            words,
            same_rules=_has_same_rules(found) and before == [(each.revision, each.digest) for each in artifacts],
            status={**words.status, "includedArtifacts": [artifact_json(each) for each in artifacts] or None},
        )

    def _words(self, found: GitRepository, snapshot: Snapshot) -> Words:
        spec = found.spec
        include = [{"repository": {"name": each.repository}, "fromPath": each.from_path, "toPath": each.to_path} for each in spec.include]
        return Words(
            ready=f"stored artifact for revision '{snapshot.revision}'",
            news=f"stored artifact for commit '{_shortened(snapshot.subject)}'",
            has_url=False,
            same_rules=_has_same_rules(found) and not is_composed(found),
            status={
                "observedIgnore": spec.ignore,
                "observedSparseCheckout": list(spec.sparse_checkout) or None,
                "observedRecurseSubmodules": spec.recurse_submodules or None,
                "observedInclude": [{name: value for name, value in each.items() if value} for each in include] or None,
                "sourceVerificationMode": self._verification.mode(found),
            },
            conditions=self._verification.conditions(found),
        )

    async def _snapshot(self, found: GitRepository, want: Wanted, fetched: Fetched) -> Snapshot:
        before = self._needs.published.get(found.key)
        files, only, sparse = None, _chosen(found), _checked_sparse(found)
        if sparse:
            gone = await asyncio.to_thread(missing, fetched.store, fetched.tree, sparse)
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
            if is_composed(found):
                whole = await asyncio.to_thread(self._compositions.last, found.metadata.uid)
                if found.spec.verify is not None and whole.commit != fetched.commit:
                    raise SnapshotGone("what was put together last is not what was verified last")
                fetched = whole
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
        self._compositions.forget(uid)
        self._asked.pop(uid, None)
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


def _chosen(found: GitRepository) -> tuple[str, ...]:
    """The directories outside of which nothing is in: those of spec.sparseCheckout and those that are included; () for all."""
    sparse = _checked_sparse(found)
    places = {inside(each.to_path or each.repository) for each in found.spec.include}
    return tuple(sorted({*sparse, *places})) if sparse else ()


def _has_same_rules(found: GitRepository) -> bool:
    spec, status = found.spec, found.status
    return (status.observed_ignore, status.observed_sparse_checkout, status.observed_recurse_submodules, status.observed_include) == (
        spec.ignore,
        spec.sparse_checkout,
        spec.recurse_submodules,
        spec.include,
    )


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
