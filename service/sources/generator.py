"""ArtifactGenerator: parts of published sources in, ExternalArtifacts out, for our own consumers at once, then for everyone else.

A new revision of a source runs it at once; an artifact whose content did not change keeps its revision, is not written and runs nobody.
https://github.com/fluxcd/source-watcher/blob/main/docs/spec/v1beta1/artifactgenerators.md
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Container, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pygit2

from service.cluster.client import ApiError
from service.kinds import meta
from service.kinds.codec import Invalid, decode, refused_fields
from service.kinds.duration import parse_duration
from service.kinds.generator import ArtifactGenerator, InventoryEntry
from service.kinds.meta import ObjectKey, Revision
from service.reconcile.outcome import Failed, Outcome, ReconcileError, Stalled, Waiting
from service.reconcile.queue import Trigger
from service.sources.depth import PRIVATE
from service.sources.failure import NotYet
from service.sources.fetcherror import FetchError
from service.sources.generated import Generated, Wanted, is_made_by
from service.sources.generating import BadGenerator, BuildFailed, Made, Output, make
from service.sources.generatorinputs import RETRY, Inputs
from service.sources.generatorstatus import GeneratorReports
from service.sources.objects import Objects
from service.sources.openrepo import SnapshotGone, open_store
from service.sources.reconciler import Needs, guarded
from service.sources.snapshot import Snapshot
from service.sources.tarball import MISSED
from service.sources.treestore import BadArchive

log = logging.getLogger(__name__)

EVERY = timedelta(hours=1)
MAKE_LIMIT = timedelta(minutes=5)
WRITES = 8
Raw = Mapping[str, Any]


class ArtifactGeneratorReconciler:
    """See service.reconcile.worker.Reconciler."""

    kind = "ArtifactGenerator"

    def __init__(self, needs: Needs, *, no_cross_namespace: bool, shard: str = "", shadow: bool = False) -> None:
        """`shard` is the selector of the objects that this process sees: what it makes must be among them."""
        self._needs = needs
        self._shard = shard
        self._no_cross_namespace = no_cross_namespace
        self._shadow = shadow
        self._objects = Objects(
            needs.cluster, needs.discovery, needs.read, finalizer=meta.GENERATOR_FINALIZER, manager=meta.GENERATOR_MANAGER
        )
        self._reports = GeneratorReports(self._objects, needs.on_event, shadow=shadow)
        self._inputs = Inputs(needs)
        self._generated = Generated(needs)
        self._made: dict[ObjectKey, tuple[str, Made]] = {}
        self._uids: dict[ObjectKey, str] = {}

    async def reconcile(self, key: ObjectKey, triggers: tuple[Trigger, ...]) -> Outcome:
        """Bring the artifacts up to date. Expected failures become the object's status and the Outcome."""
        return await guarded(key, self._decided(key, triggers))

    async def _decided(self, key: ObjectKey, triggers: tuple[Trigger, ...]) -> Outcome:
        raw = await self._objects.get(key)
        if raw is None:
            await self._forget(key)
            return Outcome(result="gone")
        try:
            found = decode(ArtifactGenerator, raw)
        except Invalid as error:
            log.warning("reconcile failed", extra={"object": str(key), "reason": meta.VALIDATION_FAILED, "error": str(error)})
            return Outcome(result="stalled", message=str(error))
        if self._uids.setdefault(key, found.metadata.uid) != found.metadata.uid:
            await self._forget(key)  # deleted and made again while we did not look
            self._uids[key] = found.metadata.uid
        if found.metadata.deletion_timestamp is not None:
            return await self._deleted(found, raw)
        await self._restore(found, triggers)
        if found.metadata.annotations.get(meta.GENERATOR_RECONCILE, "").lower() == "disabled":
            return await self._reports.disabled(found, raw)
        if not self._shadow:
            raw = await self._objects.add_finalizer(key, raw)
        try:
            return await self._generate(found, raw, triggers)
        except NotYet as early:
            return Outcome(result="waiting", requeue_after=RETRY, message=str(early))
        except ReconcileError as error:
            return await self._reports.failed(found, raw, error)

    async def _generate(self, found: ArtifactGenerator, raw: Raw, triggers: tuple[Trigger, ...]) -> Outcome:
        self._check(found, raw)
        begun = time.perf_counter()
        sources = self._inputs.of(found)
        if any(trigger.reason == MISSED for trigger in triggers):
            await self._needs.gitstore.discard(await self._needs.gitstore.prepared(found.metadata.uid))
        made = await self._make(found, sources)
        wanted = [self._wanted(found, each) for each in made.outputs]
        for each in wanted:
            self._generated.check_owner(found, each.snapshot.key)
        if self._shadow:
            return Outcome(result="succeeded", requeue_after=_every(found), message=f"would generate {len(wanted)} artifact(s)")
        moved = [each for each in wanted if self._needs.published.publish(each.snapshot, triggers)]
        self._made[found.key] = (_recipe(found), made)
        if moved:
            seconds = round(time.perf_counter() - begun, 4)
            log.info("new revisions", extra={"object": str(found.key), "artifacts": len(moved), "of": len(wanted), "seconds": seconds})
            await self._needs.consumers_done(found.key)
        inventory = await self._written(found, wanted)
        changed = await self._reports.generated(found, raw, inventory, self._inputs.digest(found))
        return Outcome(result="succeeded" if changed else "unchanged", requeue_after=_every(found), message=f"{len(moved)} new revisions")

    def _check(self, found: ArtifactGenerator, raw: Raw) -> None:
        """Raises Stalled for a spec that cannot be carried out as it stands."""
        spec, own = found.spec, found.metadata.namespace
        refused = refused_fields(raw)
        if refused:
            advice = "nothing was generated. Remove it, or leave this object to Flux"
            raise Stalled(meta.VALIDATION_FAILED, f"{', '.join(refused)}: not carried out by this version of sluice; {advice}")
        aliases = [each.alias for each in spec.sources]
        names = [each.name for each in spec.output_artifacts]
        for what, texts in (("source alias", aliases), ("artifact name", names)):
            if twice := next((text for text in texts if texts.count(text) > 1), ""):
                raise Stalled(meta.VALIDATION_FAILED, f"duplicate {what} '{twice}' found")
        for source in spec.sources:
            if self._no_cross_namespace and source.namespace not in ("", own):
                why = f"cross-namespace reference to source {source.kind}/{source.namespace}/{source.name} is not allowed"
                raise Stalled(meta.ACCESS_DENIED, why)
        for each in spec.output_artifacts:
            for word, alias in (("revision", each.revision), ("originRevision", each.origin_revision)):
                if alias and alias.removeprefix("@") not in aliases:
                    raise Stalled(meta.VALIDATION_FAILED, f"artifact {each.name} {word} source alias '{alias.removeprefix('@')}' not found")

    async def _make(self, found: ArtifactGenerator, sources: Mapping[str, Snapshot | Path]) -> Made:
        recipe, before = self._made.get(found.key, ("", None))
        known = before if recipe == _recipe(found) else None
        try:
            store = await self._needs.gitstore.prepared(found.metadata.uid)
            return await self._needs.workers.run(make, store, found.metadata.uid, found.spec, sources, known, timeout=MAKE_LIMIT)
        except BadGenerator as error:
            raise Stalled(meta.VALIDATION_FAILED, str(error)) from error
        except (BuildFailed, BadArchive) as error:
            raise Failed(meta.BUILD_FAILED, str(error)) from error
        except SnapshotGone as error:
            raise Waiting(meta.SOURCE_FETCH_FAILED, f"fetch sources failed: {error}", RETRY) from error
        except (FetchError, OSError) as error:  # also a worker that died or took too long
            raise Failed(meta.BUILD_FAILED, f"the artifacts could not be stored: {error}") from error

    def _wanted(self, found: ArtifactGenerator, output: Output) -> Wanted:
        common = found.spec.common_metadata
        alias, origin = output.wanted.revision.removeprefix("@"), output.wanted.origin_revision.removeprefix("@")
        revision = Revision(self._inputs.revision(found, alias)) if alias else _content_revision(output)
        store = self._needs.gitstore.located(found.metadata.uid) or Path()
        snapshot = Snapshot.of_tree(_named(found.key, output.wanted.name), revision, store, output.tree)
        return Wanted(
            snapshot=snapshot,
            labels={**self._shard_labels(found), **output.labels, **(common.labels if common else {})},
            annotations=common.annotations if common else {},
            origin=self._inputs.origin(found, origin) if origin else "",
        )

    def _shard_labels(self, found: ArtifactGenerator) -> dict[str, str]:
        return {name: value for name, value in found.metadata.labels.items() if name in self._shard}

    async def _written(self, found: ArtifactGenerator, wanted: list[Wanted]) -> tuple[InventoryEntry, ...]:
        """Write what differs, some at a time, and remove what is not wanted any more. Raises Failed."""
        turns = asyncio.Semaphore(WRITES)

        async def one(each: Wanted) -> InventoryEntry:
            async with turns:
                return await self._generated.write(found, each)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(each), name=f"artifact {each.snapshot.key}") for each in wanted]
            await self._remove(found, but={each.snapshot.key for each in wanted})
        except ExceptionGroup as errors:
            raise _failed_write(errors.exceptions[0]) from errors
        except (OSError, ApiError) as error:
            raise _failed_write(error) from error
        return tuple(task.result() for task in tasks)

    async def _remove(self, found: ArtifactGenerator, *, but: Container[ObjectKey]) -> None:
        for entry in found.status.inventory:
            key = _named(found.key, entry.name)
            if entry.kind != "Namespace" and key not in but:
                await self._generated.remove(found.key, key)

    async def _restore(self, found: ArtifactGenerator, triggers: tuple[Trigger, ...]) -> None:
        """After a start: publish what was made last, so that consumers need not wait for the sources."""
        store = self._needs.gitstore.located(found.metadata.uid)
        if found.key in self._made or self._shadow or store is None:
            return
        for entry in found.status.inventory:
            key = _named(found.key, entry.name)
            artifact = self._generated.artifact_of(key)
            if key in self._needs.published or artifact is None:
                continue
            tree = await asyncio.to_thread(_held, store, found.metadata.uid, entry.name)
            if tree and artifact.path.endswith(f"/{tree}.tar.gz"):
                self._needs.published.publish(Snapshot.of_tree(key, artifact.revision, store, tree), triggers)

    async def _deleted(self, found: ArtifactGenerator, raw: Raw) -> Outcome:
        if not self._shadow:
            await self._remove(found, but=())
            await self._objects.remove_finalizer(found.key, raw)
        await self._forget(found.key)
        return Outcome(result="gone")

    async def _forget(self, key: ObjectKey) -> None:
        made = self._made.pop(key, None)
        for each in made[1].outputs if made else ():
            self._needs.published.forget(_named(key, each.wanted.name))
        self._objects.forget(key)
        self._reports.forget(key)
        uid = self._uids.pop(key, None)
        if uid is not None:
            await self._needs.gitstore.forget(uid)


def generator_of(raw: Raw) -> ObjectKey | None:
    """The generator that an ExternalArtifact says it is of."""
    made_from = (raw.get("spec") or {}).get("sourceRef") or {}
    namespace = str((raw.get("metadata") or {}).get("namespace", ""))
    key = ObjectKey(group=meta.EXTENSIONS_GROUP, kind="ArtifactGenerator", namespace=namespace, name=str(made_from.get("name", "")))
    return key if is_made_by(raw, key) else None


def _named(generator: ObjectKey, name: str) -> ObjectKey:
    return ObjectKey(group=meta.SOURCE_GROUP, kind="ExternalArtifact", namespace=generator.namespace, name=name)


def _failed_write(error: Exception) -> Exception:
    """An API server that is away stays what it is."""
    if isinstance(error, (ApiError, OSError, SnapshotGone)):
        return Failed(meta.RECONCILIATION_FAILED, f"the ExternalArtifacts could not be written: {error}")
    return error


def _content_revision(output: Output) -> Revision:
    """Equal files, equal revision."""
    return Revision(f"latest@sha256:{hashlib.sha256(output.tree.encode()).hexdigest()}")


def _recipe(found: ArtifactGenerator) -> str:
    return f"{found.metadata.uid} {found.metadata.generation}"


def _every(found: ArtifactGenerator) -> timedelta:
    """The hour of Flux, or what the annotation says."""
    try:
        said = parse_duration(found.metadata.annotations.get(meta.GENERATOR_EVERY, ""))
    except ValueError:
        return EVERY
    return said if said > timedelta(0) else EVERY


def _held(store: Path, uid: str, name: str) -> str:
    """The tree of an artifact that was made last, "" where it is not there."""
    try:
        tree = open_store(store).references[PRIVATE + uid].peel(pygit2.Commit).tree
        return str(tree[name].id)
    except (KeyError, ValueError, SnapshotGone, pygit2.GitError):
        return ""
