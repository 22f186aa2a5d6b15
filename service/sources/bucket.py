"""Bucket: the objects of a bucket in, their content as a tree for our own consumers at once, then the tarball for everyone else.

A listing says what there is, by ETag; only objects whose ETag is not known yet are fetched, some at a time. Flux fetches all of them anew.
https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/buckets.md
"""

import asyncio
import hashlib
import logging
import tempfile
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from service import crash
from service.kinds import meta
from service.kinds.bucket import Bucket
from service.kinds.meta import ObjectKey, Revision
from service.outbound import OutboundRefused
from service.reconcile.queue import Trigger
from service.sources.bucketaccess import opened
from service.sources.bucketclient import BucketClient, BucketError, Listed
from service.sources.failure import EndedEarly, Failure
from service.sources.ignore import IGNORE_FILE, Ignore, own_rules
from service.sources.openrepo import SnapshotGone
from service.sources.reconciler import Needs, Raw
from service.sources.snapshot import Snapshot
from service.sources.tarball import Tarball, Tarballs, Words
from service.sources.treestore import MOST_BYTES, MOST_FILES, BadArchive, clean_path, import_objects, last_import, last_objects

log = logging.getLogger(__name__)

AT_ONCE = 16
MOST_RULES_BYTES = 2**20
IMPORT_LIMIT = timedelta(minutes=5)
OPERATION_FAILED = "BucketOperationFailed"
IGNORE_FAILED = "SourceIgnoreError"


class BucketOrigin:
    """See service.sources.reconciler.Origin."""

    type = Bucket
    blank: Raw = {"bucketName": "invalid", "endpoint": "invalid", "interval": "0s"}  # noqa: RUF012 - never written

    def __init__(self, needs: Needs) -> None:
        self._needs = needs
        self._tarballs = Tarballs(artifacts=needs.artifacts, gitstore=needs.gitstore, workers=needs.workers)

    def check(self, spec: Raw) -> None:
        """Nothing has better words than the schema."""

    async def fetch(self, found: Bucket, triggers: tuple[Trigger, ...]) -> Tarball:
        """List, fetch what is new, and publish it."""
        begun, where = time.perf_counter(), f"bucket '{found.spec.bucket_name}'"
        try:
            async with asyncio.timeout(found.spec.timeout.total_seconds()), opened(found, self._needs) as client:
                snapshot, fetched = await self._newest(found, client, triggers)
        except BucketError as error:
            raise EndedEarly.fetch(meta.AUTHENTICATION_FAILED if error.unauthorized else OPERATION_FAILED, str(error)) from error
        except (BadArchive, OutboundRefused) as error:
            raise EndedEarly.fetch(OPERATION_FAILED, f"{where}: {error}") from error
        except TimeoutError as error:
            seconds = found.spec.timeout.total_seconds()
            raise EndedEarly.fetch(OPERATION_FAILED, f"{where}: not finished within {seconds:g} s; is spec.timeout too short?") from error
        except SnapshotGone as error:
            await self._needs.gitstore.discard(await self._needs.gitstore.prepared(found.metadata.uid))
            raise EndedEarly.damaged(error) from error
        except OSError as error:  # also a worker that died or took too long
            why = f"failed to store the content of {where}: {error.strerror or error}"
            raise EndedEarly(Failure(condition=meta.STORAGE_FAILED, reason=meta.ARCHIVE_FAILED, message=why)) from error
        crash.point("source.fetched")
        moved = self._needs.published.publish(snapshot, triggers)
        if moved:
            seconds = round(time.perf_counter() - begun, 4)
            extra = {"object": str(found.key), "revision": snapshot.revision, "fetched": fetched, "seconds": seconds}
            log.info("new revision", extra=extra)
        words = Words(
            ready=f"stored artifact: revision '{snapshot.revision}'",
            news=f"stored artifact with {fetched} fetched files from '{found.spec.bucket_name}' bucket",
            same_rules=found.status.observed_ignore == found.spec.ignore,
            status={"observedIgnore": found.spec.ignore},
        )
        return self._tarballs.of(found, snapshot, words, moved=moved)

    async def _newest(self, found: Bucket, client: BucketClient, triggers: tuple[Trigger, ...]) -> tuple[Snapshot, int]:
        """The snapshot of what the bucket holds now, and how many objects were fetched for it."""
        uid = found.metadata.uid
        before = await self._tarballs.still(self._needs.published.get(found.key), triggers)
        store = await self._needs.gitstore.prepared(uid)
        listed = await self._listed(found, client)
        digest = _digest(listed, hexed=found.spec.provider == "azure")
        revision = Revision(f"sha256:{digest}")
        if before is not None and before.revision == revision:
            return before, 0
        known = await asyncio.to_thread(last_objects, store, uid)
        new = {key: each for key, each in listed.items() if known.get(key, ("", ""))[0] != each.etag}
        with tempfile.TemporaryDirectory(prefix="objects-", dir=store) as draft:
            files = {key: Path(draft, str(number)) for number, key in enumerate(new)}
            await _fetched(client, files, listed)
            parts = {key: (each.etag, str(files.get(key) or ""), known.get(key, ("", ""))[1]) for key, each in listed.items()}
            made = await self._needs.workers.run(import_objects, store, uid, parts, revision, timeout=IMPORT_LIMIT)
        return self._snapshot(found, store, made.tree, revision), len(new)

    async def _listed(self, found: Bucket, client: BucketClient) -> dict[str, Listed]:
        everything: dict[str, Listed] = {}
        async for chunk in client.list(found.spec.prefix):
            everything.update({each.key: each for each in chunk})
            if len(everything) > MOST_FILES:
                raise BucketError(f"more than {MOST_FILES:,} objects; narrow it with spec.prefix")
        rules = await self._rules(found, client, everything)
        kept = {key: each for key, each in everything.items() if clean_path(key) == key and not rules.ignored(key, False)}
        total = sum(each.size for each in kept.values())
        if total > MOST_BYTES:
            raise BucketError(f"its objects have {total:,} bytes in all; {MOST_BYTES:,} is the most")
        return kept

    async def _rules(self, found: Bucket, client: BucketClient, listed: Mapping[str, Listed]) -> Ignore:
        """The root's .sourceignore, then spec.ignore; nothing is left out by itself."""
        text = ""
        if IGNORE_FILE in listed:
            if listed[IGNORE_FILE].size > MOST_RULES_BYTES:
                raise BucketError(f"{IGNORE_FILE} is larger than {MOST_RULES_BYTES:,} bytes")
            with tempfile.TemporaryFile() as file:
                await client.read(listed[IGNORE_FILE], file)
                file.seek(0)
                text = file.read().decode(errors="surrogateescape")
        return own_rules(text, found.spec.ignore)

    def _snapshot(self, found: Bucket, store: Path, tree: str, revision: Revision) -> Snapshot:
        return Snapshot(
            key=found.key,
            revision=revision,
            store_path=store,
            commit=revision.partition(":")[2],
            tree=tree,
            ignore=None,
            ignore_files=(),
            whole=True,
        )

    async def restore(self, found: Bucket, triggers: tuple[Trigger, ...]) -> None:
        """After a restart without a listing: what was fetched last."""
        uid = found.metadata.uid
        store = self._needs.gitstore.located(uid)
        if found.key in self._needs.published or store is None:
            return
        try:
            revision, tree = await asyncio.to_thread(last_import, store, uid)
        except SnapshotGone:
            return  # nothing was fetched yet
        except OSError as error:
            log.warning("snapshot not restored", extra={"object": str(found.key), "error": str(error)})
            return
        self._needs.published.publish(self._snapshot(found, store, tree, Revision(revision)), triggers)

    async def forget(self, key: ObjectKey, uid: str) -> None:
        """The object is gone."""
        self._tarballs.forget(uid)
        await self._needs.gitstore.forget(uid)


async def _fetched(client: BucketClient, files: Mapping[str, Path], listed: Mapping[str, Listed]) -> None:
    """Fetch the objects into their files, some at a time."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(key: str, target: Path) -> None:
        async with free:
            with target.open("wb") as file:
                await client.read(listed[key], file)

    try:
        async with asyncio.TaskGroup() as tasks:
            for key, target in files.items():
                tasks.create_task(one(key, target), name=f"bucket.get {key}")
    except* (BucketError, OSError) as errors:
        raise errors.exceptions[0] from None


def _digest(listed: Mapping[str, Listed], *, hexed: bool) -> str:
    """Flux's digest of an index: the sorted keys, each with its ETag, those of Azure as Flux writes them."""
    tags = {key: each.etag.encode().hex() if hexed else each.etag for key, each in listed.items()}
    lines = "".join(f"{key} {tags[key]}\n" for key in sorted(listed))
    return hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()
