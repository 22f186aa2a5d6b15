"""One run of one Kustomization: build, apply what differs, prune, wait for health, end with status and event.

Two modes. After a whole run of the same object a push sends only the objects whose built form changed ("changed"); everything else, such as
the first run, a changed spec, a retry, the interval or a requested reconcile, compares each object with the cluster ("full").
A row in the journal stands open from before the first write until the event is stored, so that a kill in between loses neither.
"""

import logging
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any, Literal

from service import crash
from service.cluster.apply import Applier, ApplyFailed
from service.cluster.built import Built
from service.cluster.changes import ChangeSet, Owner
from service.cluster.client import ApiAway, ApiError, Cluster
from service.cluster.discovery import Discovery
from service.cluster.health import HealthFailed, HealthTimeout, wait_healthy
from service.cluster.inventory import BadEntry, ObjectId, parse, stale
from service.cluster.prune import Pruner
from service.kinds.kustomize import InventoryEntry, Kustomization, ObjectRef
from service.kinds.meta import (
    ARTIFACT_FAILED,
    BUILD_FAILED,
    HEALTH_CHECK_FAILED,
    PRUNE_FAILED,
    RECONCILIATION_FAILED,
    ObjectKey,
    format_duration,
)
from service.kustomizations.building import BuildOrder, BuildResult, run_build
from service.kustomizations.catalog import Catalog, Settled
from service.kustomizations.options import build_options
from service.kustomizations.records import Basis, Record, Records, due_in
from service.kustomizations.reports import Account, Reports
from service.kustomizations.status import Ended, digest_of
from service.kustomizations.sweep import Sweep
from service.kustomizations.waits import HealthWaits
from service.kustomize.build import BuildError
from service.reconcile.outcome import Failed, Outcome, Waiting
from service.reconcile.queue import CHANGE, RETRY, TIMER, Queue, Trigger
from service.sources.snapshot import Snapshot, SnapshotGone
from service.state.errors import StateError
from service.state.journal import Run as JournalRun
from service.workers import Workers

log = logging.getLogger(__name__)
SOURCE_RETRY = timedelta(seconds=30)
SHOWN = 20


SourceState = Literal["absent", "pending", "known"]
"""Whether the object is there, and whether this process has reconciled it yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """What a run works with."""

    catalog: Catalog
    records: Records
    workers: Workers
    queue: Queue
    sweep: Sweep
    waits: HealthWaits
    reports: Reports
    cluster: Cluster
    discovery: Discovery
    applier: Applier
    pruner: Pruner
    snapshots: Mapping[ObjectKey, Snapshot]
    source_state: Callable[[ObjectKey], SourceState]
    on_move: Callable[[ObjectKey, str], None]
    shadow: bool = False
    no_cross_namespace: bool = False


@dataclass(slots=True, kw_only=True)
class Run:
    """The state of one run. `before` is the record of the last whole run where only what changed need be sent."""

    rooms: Rooms
    key: ObjectKey
    found: Kustomization
    raw: Mapping[str, Any]
    triggers: tuple[Trigger, ...]
    refused: tuple[str, ...] = ()
    snapshot: Snapshot | None = None
    before: Record | None = None
    quiet: bool = False
    began: float = field(default_factory=perf_counter)
    changes: list[str] = field(default_factory=list)
    _created: dict[str, ObjectId] = field(default_factory=dict)
    _rows: set[int] = field(default_factory=set)

    @property
    def owner(self) -> Owner:
        return Owner(name=self.key.name, namespace=self.key.namespace)

    @property
    def unfinished(self) -> bool:
        """Whether an earlier run of this object ended without its event."""
        return self.rooms.reports.is_open(self.key)

    @property
    def old_inventory(self) -> tuple[ObjectId, ...]:
        """What is in the cluster by our hand. An entry that cannot be read is passed over: nothing may be deleted by guess."""
        return tuple(_readable(self.found.status.inventory or ()))

    def tracked(self) -> list[dict[str, str]] | None:
        """The inventory after a run that ended early: what was there and what this run has created. None: as it was."""
        if not self._created:
            return None
        entries = {entry.id: entry for entry in self.old_inventory} | self._created
        return [{"id": entry.id, "v": entry.version} for entry in entries.values()]

    async def perform(self) -> Outcome:
        """Raises Failed, Stalled, ApiAway, ApiError, TimeoutError."""
        assert self.snapshot is not None
        built = await self._build()
        log.info("built", extra={"object": str(self.key), "objects": len(built.objects), "seconds": round(perf_counter() - self.began, 4)})
        wanted = {each.object.id: each.object for each in built.objects}
        digests = {each.object.id: each.digest for each in built.objects}
        await self._apply([each for each in built.objects if self.before is None or self.before.digests.get(each.object.id) != each.digest])
        gone = stale(self.old_inventory, tuple(wanted.values())) if self.found.spec.prune else ()
        if gone:
            await self._prune(gone)
        if self.changes and not self.rooms.shadow:
            log.info("applied", extra={"object": str(self.key), "changes": self.changes[:SHOWN], "count": len(self.changes)})
        if self.rooms.shadow:
            self.rooms.reports.shadowed(self.key, self.snapshot.revision, self.changes)
            return Outcome(result="succeeded", requeue_after=self.found.spec.interval or None)
        basis = Basis(
            generation=self.found.metadata.generation,
            source=self.snapshot.key,
            tree=self.snapshot.tree,
            ignore_digest=self.snapshot.ignore_digest,
            revision=self.snapshot.revision,
            reconciled_at=self.before.basis.reconciled_at if self.before else datetime.now(UTC),
        )
        record = Record(uid=self.found.metadata.uid, basis=basis, reads=built.reads, digests=digests)
        inventory = [{"id": entry.id, "v": entry.version} for entry in wanted.values()]
        checks = self._health_ids(tuple(wanted.values()))
        if checks:
            limit = format_duration(self.found.spec.effective_timeout)
            message = f"Running health checks for revision {self.snapshot.revision} with a timeout of {limit}"
            await self.rooms.reports.progress(self.found, self.raw, message, inventory)
            self.rooms.waits.start(self.key, self._wait_then_end(checks, record, inventory))
            return Outcome(result="progressing")
        await self._succeed(record, inventory)
        return Outcome(result="succeeded", requeue_after=due_in(self.found, basis))

    async def _build(self) -> BuildResult:
        snapshot, spec = self.snapshot, self.found.spec
        assert snapshot is not None
        order = BuildOrder(
            snapshot=snapshot,
            path=posixpath.normpath("/" + spec.path).lstrip("/"),
            owner_name=self.key.name,
            owner_namespace=self.key.namespace,
            options=build_options(spec),
        )
        try:
            return await self.rooms.workers.run(run_build, order, timeout=spec.effective_timeout)
        except NotADirectoryError as error:
            raise Failed(ARTIFACT_FAILED, f"kustomization path not found: stat {error}: no such file or directory") from error
        except SnapshotGone as error:
            raise Waiting(ARTIFACT_FAILED, f"{error}; it is fetched again", SOURCE_RETRY) from error
        except BuildError as error:
            raise Failed(BUILD_FAILED, f"kustomize build failed: {error}") from error
        except (TimeoutError, ChildProcessError) as error:
            raise Failed(BUILD_FAILED, f"kustomize build failed: {error}; raise spec.timeout or the memory, or split the path") from error

    async def _apply(self, objects: Sequence[Built]) -> None:
        if not objects:
            return
        try:
            result = await self.rooms.applier.apply(
                objects,
                mode="full" if self.before is None else "changed",
                owner=self.owner,
                force=self.found.spec.force,
                timeout=self.found.spec.effective_timeout,
                dry_run=self.rooms.shadow,
                before_write=self._opened,
            )
        except ApplyFailed as error:
            self._note(error.changes)
            if error.away:
                raise ApiAway(str(error)) from error
            raise Failed(RECONCILIATION_FAILED, str(error)) from error
        self._note(result)
        crash.point("apply.done")

    async def _prune(self, gone: Sequence[ObjectId]) -> None:
        if not self.rooms.shadow:
            await self._opened([str(entry) for entry in gone])
        result = await self.rooms.pruner.prune(gone, owner=self.owner, timeout=self.found.spec.effective_timeout, dry_run=self.rooms.shadow)
        self._note(result.changes)
        if result.away:
            raise ApiAway("; ".join(result.failed))
        if result.failed:
            raise Failed(PRUNE_FAILED, "\n".join(result.failed))

    def _note(self, result: ChangeSet) -> None:
        self.changes.extend(str(change) for change in result.changed)
        self._created |= {change.id: change.object for change in result.changed if change.action == "created"}

    async def _opened(self, subjects: Sequence[str]) -> None:
        """Before the first write: the journal knows what is about to change."""
        assert self.snapshot is not None
        row = await self.rooms.reports.open_run(
            self.key,
            JournalRun(
                object=self.key,
                uid=self.found.metadata.uid,
                generation=self.found.metadata.generation,
                revision=self.snapshot.revision,
                planned=tuple(subjects),
            ),
        )
        self._rows.add(row)
        crash.point("run.opened")

    def _health_ids(self, applied: Sequence[ObjectId]) -> tuple[ObjectId, ...]:
        if self.found.spec.wait:
            return tuple(applied)
        return tuple(_referred(check, self.key.namespace) for check in self.found.spec.health_checks)

    async def _wait_then_end(self, checks: Sequence[ObjectId], record: Record, inventory: Sequence[Mapping[str, str]]) -> None:
        """Runs as a task of its own; a newer run cancels it. Ends the run and sets the next one."""
        limit, queue = self.found.spec.effective_timeout, self.rooms.queue
        try:
            await wait_healthy(self.rooms.cluster, self.rooms.discovery, checks, timeout=limit)
        except (HealthTimeout, HealthFailed) as error:
            self.rooms.catalog.settle(self.key, Settled(generation=record.basis.generation, revision="", ready=False))
            await self._end_after_wait(
                Ended(
                    revision=record.basis.revision,
                    ready=False,
                    reason=HEALTH_CHECK_FAILED,
                    message=str(error),
                    healthy=False,
                    inventory=inventory,
                )
            )
            queue.add(self.key, priority=RETRY, after=self.found.spec.effective_retry_interval)
            return
        except (ApiAway, ApiError) as error:
            log.warning("health not known, tried again", extra={"object": str(self.key), "error": str(error)})
            queue.add(self.key, priority=RETRY, after=timedelta(seconds=5))
            return
        try:
            await self._succeed(record, inventory, healthy=True)
        except (ApiAway, ApiError, StateError) as error:
            log.warning("status not written, tried again", extra={"object": str(self.key), "error": str(error)})
            queue.add(self.key, priority=RETRY, after=timedelta(seconds=5))
            return
        if (wait := due_in(self.found, record.basis)) is not None:
            queue.add(self.key, priority=TIMER, after=wait)

    async def _end_after_wait(self, ended: Ended) -> None:
        try:
            await self.report(ended)
        except (ApiAway, ApiError) as error:
            log.warning("status not written", extra={"object": str(self.key), "error": str(error)})

    async def _succeed(self, record: Record, inventory: Sequence[Mapping[str, str]], *, healthy: bool | None = None) -> None:
        """Settle in memory and wake the dependents first; then event, record and status."""
        self.rooms.catalog.settle(self.key, Settled(generation=record.basis.generation, revision=record.basis.revision, ready=True))
        for dependent in self.rooms.catalog.dependents(self.key):
            self.rooms.queue.add(dependent, trigger=Trigger(reason="dependency"), priority=CHANGE)
        ended = Ended(
            revision=record.basis.revision,
            ready=True,
            reason="ReconciliationSucceeded",
            message=f"Applied revision: {record.basis.revision}",
            healthy=healthy,
            inventory=inventory,
            digest=digest_of(record.digests),
        )
        await self.report(ended, record=record)

    async def report(self, ended: Ended, *, record: Record | None = None) -> None:
        """The event first (durable), then what a restart can derive: the record and the status."""
        took = timedelta(seconds=perf_counter() - self.began)
        account = Account(took=took, changes=self.changes, snapshot=self.snapshot, rows=frozenset(self._rows))
        await self.rooms.reports.ended(self.found, self.raw, ended, account)
        if record is not None:
            await self.rooms.records.put(self.key, record)


def _readable(entries: Iterable[InventoryEntry]) -> Iterator[ObjectId]:
    for entry in entries:
        try:
            yield parse(entry.id, entry.v)
        except BadEntry as error:
            log.warning("inventory entry passed over", extra={"error": str(error)})


def _referred(check: ObjectRef, namespace: str) -> ObjectId:
    group, _, version = check.api_version.rpartition("/")
    return ObjectId(check.namespace or namespace, check.name, group, check.kind, version)
