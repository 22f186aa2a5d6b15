"""ExternalArtifact: the tarball that somebody else serves in, its files as a tree for our own consumers out.

Its maker writes the status; this only reads: a tarball counts when it has the digest that the status says. What goes wrong is an event on
the object, for there is no condition of ours. https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/externalartifacts.md
"""

import asyncio
import hashlib
import logging
import tempfile
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp

from service.kinds import meta
from service.kinds.codec import Invalid, decode
from service.kinds.external import ExternalArtifact
from service.kinds.meta import ObjectKey
from service.kinds.source import Artifact
from service.outbound import OutboundRefused, check_url
from service.reconcile.outcome import Outcome
from service.reconcile.queue import Trigger
from service.sources.fetcherror import FetchError
from service.sources.news import News
from service.sources.openrepo import SnapshotGone
from service.sources.reconciler import Needs
from service.sources.reports import CONTROLLER
from service.sources.snapshot import Snapshot
from service.sources.treestore import BadArchive, import_tarball, last_import

log = logging.getLogger(__name__)

MOST_BYTES = 512 * 2**20
CHUNK = 2**18
LIMIT = timedelta(minutes=5)
HASHES = {"sha256", "sha384", "sha512"}


class NotUsable(Exception):
    """The artifact cannot be used; the message says why."""


class ExternalArtifactReconciler:
    """See service.reconcile.worker.Reconciler."""

    kind = "ExternalArtifact"

    def __init__(self, needs: Needs, *, made_here: Callable[[Mapping[str, Any]], bool] = lambda _raw: False, shadow: bool = False) -> None:
        """`made_here`: whether an object is of a generator that runs in this process, which then publishes its content itself."""
        assert needs.read is not None
        self._made_here = made_here
        self._needs = needs
        self._read = needs.read
        self._uids: dict[ObjectKey, str] = {}
        self._own: set[ObjectKey] = set()
        self._news = News(needs.on_event, controller=CONTROLLER, shadow=shadow)

    async def reconcile(self, key: ObjectKey, triggers: tuple[Trigger, ...]) -> Outcome:
        """Publish what the status names, if it is not published yet."""
        raw = self._read(key)
        if raw is None:
            await self._forget(key)
            return Outcome(result="gone")
        try:
            found = decode(ExternalArtifact, raw)
        except Invalid as error:
            return Outcome(result="stalled", message=str(error))
        if self._uids.setdefault(key, found.metadata.uid) != found.metadata.uid:
            await self._forget(key)
            self._uids[key] = found.metadata.uid
        if self._made_here(raw):
            first = key not in self._own
            self._own.add(key)
            told = first and self._needs.published.announce(key, triggers)
            return Outcome(result="unchanged", message="announced" if told else "made here")
        artifact = found.status.artifact
        if artifact is None:
            return Outcome(result="unchanged", message="its maker has stored nothing yet")
        try:
            snapshot = await self._snapshot(found, artifact)
        except (NotUsable, BadArchive, OutboundRefused, FetchError) as error:
            return self._failed(found, artifact, str(error))
        except (aiohttp.ClientError, OSError) as error:  # also a worker that died or took too long
            return self._failed(found, artifact, f"{type(error).__name__}")
        self._news.forget(key)
        if self._needs.published.publish(snapshot, triggers):
            log.info("new revision", extra={"object": str(key), "revision": snapshot.revision})
            return Outcome(result="succeeded", message=snapshot.revision)
        return Outcome(result="unchanged", message=snapshot.revision)

    async def _snapshot(self, found: ExternalArtifact, artifact: Artifact) -> Snapshot:
        uid = found.metadata.uid
        store = await self._needs.gitstore.prepared(uid)
        note = f"{artifact.revision}\n{artifact.digest}"
        try:
            known, tree = await asyncio.to_thread(last_import, store, uid)
        except SnapshotGone:
            known, tree = "", ""
        if known != note:
            with tempfile.TemporaryDirectory(prefix="artifact-", dir=store) as draft:
                file = Path(draft, "artifact")
                await self._download(artifact, file)
                try:
                    tree = (await self._needs.workers.run(import_tarball, store, uid, file, note, timeout=LIMIT)).tree
                except SnapshotGone as error:
                    await self._needs.gitstore.discard(store)
                    raise NotUsable(f"the local store was damaged and is made anew: {error}") from error
        return Snapshot(
            key=found.key,
            revision=artifact.revision,
            store_path=store,
            commit=artifact.digest.partition(":")[2],
            tree=tree,
            ignore=None,
            ignore_files=(),
            whole=True,
        )

    async def _download(self, artifact: Artifact, target: Path) -> None:
        kind, _, digest = artifact.digest.partition(":")
        if kind not in HASHES:
            raise NotUsable(f"the digest '{artifact.digest}' is of a kind that is not carried out; sha256, sha384 and sha512 are")
        check_url(artifact.url)
        hashed, size = hashlib.new(kind), 0
        timeout = aiohttp.ClientTimeout(total=LIMIT.total_seconds(), sock_connect=10, sock_read=30)
        async with (
            self._needs.outbound.session(tls=True, timeout=timeout) as session,
            session.get(artifact.url, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise NotUsable(f"its server answered {answer.status}")
            with target.open("wb") as file:
                async for chunk in answer.content.iter_chunked(CHUNK):
                    size += len(chunk)
                    if size > MOST_BYTES:
                        raise NotUsable(f"it is larger than {MOST_BYTES:,} bytes")
                    hashed.update(chunk)
                    file.write(chunk)
        if hashed.hexdigest() != digest:
            raise NotUsable("its content has another digest than its status says")

    def _failed(self, found: ExternalArtifact, artifact: Artifact, why: str) -> Outcome:
        message = f"failed to fetch artifact '{artifact.revision}': {why}"
        log.warning("reconcile failed", extra={"object": str(found.key), "reason": meta.ARTIFACT_FAILED, "error": message})
        revision = {f"{meta.SOURCE_GROUP}/revision": artifact.revision}
        self._news.tell(found, "error", meta.ARTIFACT_FAILED, message, metadata=revision)
        return Outcome(result="failed", backoff=True, message=message)

    async def _forget(self, key: ObjectKey) -> None:
        self._own.discard(key)
        self._needs.published.forget(key)
        self._news.forget(key)
        uid = self._uids.pop(key, None)
        if uid is not None:
            await self._needs.gitstore.forget(uid)
