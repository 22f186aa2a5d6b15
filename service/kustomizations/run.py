"""One run of one Kustomization: build, apply what differs, prune, wait for health, end with status and event.

Two modes. After a whole run of the same object a push sends only the objects whose built form changed ("changed"); everything else, such as
the first run, a changed spec, a retry, the interval or a requested reconcile, compares each object with the cluster ("full").
A row in the journal stands open from before the first write until the event is stored, so that a kill in between loses neither.
"""

import logging
import posixpath
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any, Literal

from service import crash
from service.cel import Evaluator
from service.cluster.apply import Applier, ApplyFailed
from service.cluster.attempt import leaves_none
from service.cluster.built import Built
from service.cluster.changes import ChangeSet, Owner
from service.cluster.client import ApiAway, Cluster, ClusterError
from service.cluster.discovery import Discovery
from service.cluster.health import HealthError
from service.cluster.inventory import BadEntry, ObjectId, parse, stale
from service.cluster.prune import Pruner
from service.cluster.stages import in_order
from service.kinds.kustomize import InventoryEntry, Kustomization
from service.kinds.meta import (
    ARTIFACT_FAILED,
    BUILD_FAILED,
    HEALTH_CHECK_FAILED,
    RECONCILIATION_FAILED,
    ObjectKey,
    format_duration,
)
from service.kustomizations.building import BuildOrder, BuildResult, run_build
from service.kustomizations.catalog import Catalog, Settled
from service.kustomizations.drift import Drift, may_hold_secrets
from service.kustomizations.guard import PruneGuard
from service.kustomizations.healthchecks import checks_of, healthy
from service.kustomizations.options import build_options, ignore_rules
from service.kustomizations.pruning import differences, prune_stale
from service.kustomizations.records import Basis, Record, Records, due_in
from service.kustomizations.reports import Account, Reports, planned_text
from service.kustomizations.retries import Retries
from service.kustomizations.status import Ended, digest_of
from service.kustomizations.sweep import Sweep
from service.kustomizations.tenancy import Tenancy
from service.kustomizations.trail import Trail, timed
from service.kustomizations.variables import Loaded, Variables
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
END_RETRY = timedelta(seconds=5)
BUSY_RETRY = timedelta(seconds=10)  # the server, or a webhook of it, answers that it cannot right now
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
    retries: Retries
    trail: Trail
    drift: Drift
    cluster: Cluster
    discovery: Discovery
    applier: Applier
    pruner: Pruner
    guard: PruneGuard
    variables: Variables
    tenancy: Tenancy
    evaluator: Evaluator
    snapshots: Mapping[ObjectKey, Snapshot]
    source_state: Callable[[ObjectKey], SourceState]
    on_move: Callable[[ObjectKey, str], None]
    fetch_again: Callable[[ObjectKey], None]
    digest_key: bytes = field(repr=False)
    shadow: bool = False
    no_cross_namespace: bool = False
    remote_bases: bool = False


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
    _waits_since: float = 0
    changes: list[str] = field(default_factory=list)
    drift: list[str] = field(default_factory=list)  # what others had changed and is undone
    applied: Mapping[str, ObjectId] = field(default_factory=dict)  # all that was built, once all of it is applied
    _rows: set[int] = field(default_factory=set)
    _unsure: dict[str, ObjectId] = field(default_factory=dict)  # about to be written; whether they were is not known yet
    _created: dict[str, ObjectId] = field(default_factory=dict)
    _skipped: set[ObjectId] = field(default_factory=set)
    pruned: set[str] = field(default_factory=set)
    loaded: Loaded = field(default_factory=Loaded)
    digest: str = ""  # of all that was built
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def owner(self) -> Owner:
        return Owner(name=self.key.name, namespace=self.key.namespace)

    @property
    def unfinished(self) -> bool:
        """Whether an earlier run of this object ended without its event."""
        return self.rooms.reports.is_open(self.key)

    @property
    def old_inventory(self) -> tuple[ObjectId, ...]:
        """What is, or after a kill may be, in the cluster by our hand. An entry that cannot be read is passed over: nothing may be deleted
        by guess."""
        planned = self.rooms.reports.planned(self.key, self.found.metadata.uid)
        return tuple(dict.fromkeys([*_readable(self.found.status.inventory or ()), *planned]))

    def tracked(self) -> list[dict[str, str]] | None:
        """The inventory after a run that ended early: what was there, less what is pruned, all that was built if all of it is applied, and
        what this run and those that never ended have or may have created. None: as it was."""
        listed = {entry.id: entry for entry in _readable(self.found.status.inventory or ())}
        earlier = {entry.id: entry for entry in self.rooms.reports.planned(self.key, self.found.metadata.uid, but=self._rows)}
        known = {**self.applied, **listed, **earlier, **self._unsure, **self._created}
        entries = {id: entry for id, entry in known.items() if id not in self.pruned}
        if entries.keys() == listed.keys():
            return None
        return [{"id": entry.id, "v": entry.version} for entry in entries.values()]

    async def perform(self) -> Outcome:
        """Raises Failed, Stalled, ApiAway, ApiError, TimeoutError."""
        assert self.snapshot is not None
        self.rooms.trail.began(self.key, revision=self.snapshot.revision, full=self.before is None, triggers=self.triggers)
        built = await self._build()
        log.info("built", extra={"object": str(self.key), "objects": len(built.objects), "seconds": round(perf_counter() - self.began, 4)})
        wanted = {each.object.id: each.object for each in in_order(built.objects)}
        gone = stale(self.old_inventory, tuple(wanted.values())) if self.found.spec.prune else ()
        digests = self.digests = {each.object.id: each.digest for each in built.objects}
        self.digest = digest_of(digests)
        before, drifted = self.before.digests if self.before is not None else {}, self.rooms.drift.due(self.key)
        await self._apply([each for each in built.objects if before.get(each.object.id) != each.digest or each.object.id in drifted])
        self.applied = wanted
        if gone:
            await prune_stale(self, gone)
        if self.changes and not self.rooms.shadow:
            log.info("applied", extra={"object": str(self.key), "changes": self.changes[:SHOWN], "count": len(self.changes)})
        if self.rooms.shadow:
            return self._shadowed(self.snapshot)
        basis = Basis(
            generation=self.found.metadata.generation,
            source=self.snapshot.key,
            tree=self.snapshot.tree,
            ignore_digest=self.snapshot.ignore_digest,
            revision=self.snapshot.revision,
            variables=self.loaded.token,
            reconciled_at=self.before.basis.reconciled_at if self.before else datetime.now(UTC),
        )
        record = Record(uid=self.found.metadata.uid, basis=basis, reads=built.reads, digests=digests)
        inventory = [{"id": entry.id, "v": entry.version} for entry in wanted.values()]
        checks = checks_of(self.found, built.objects, skipped=self._skipped)
        if checks.ids:
            self._waits_since = perf_counter()
            limit = format_duration(self.found.spec.effective_timeout)
            message = f"Running health checks for revision {self.snapshot.revision} with a timeout of {limit}"
            took = timedelta(seconds=perf_counter() - self.began)
            account = Account(took=took, changes=self.changes, drift=self.drift, snapshot=self.snapshot)
            await self.rooms.reports.progress(self.found, self.raw, message, inventory, account)
            waiting = healthy(self.rooms.cluster, self.rooms.discovery, checks, timeout=self.found.spec.effective_timeout)
            self.rooms.waits.start(self.key, record, wait=waiting, end=lambda problem: self._end_wait(problem, record, inventory))
            return Outcome(result="progressing")
        await self._succeed(record, inventory)
        return Outcome(result="succeeded", requeue_after=due_in(self.found, basis))

    def _shadowed(self, snapshot: Snapshot) -> Outcome:
        """In shadow the objects count as applied, so that dependents are looked at too."""
        self.rooms.reports.shadowed(self.key, snapshot.revision, differences(self))
        self._settle(self.found.metadata.generation, snapshot.revision, tree=snapshot.tree)
        return Outcome(result="succeeded", requeue_after=self.found.spec.interval or None)

    @timed("build")
    async def _build(self) -> BuildResult:
        snapshot, spec = self.snapshot, self.found.spec
        assert snapshot is not None
        self.loaded = await self.rooms.variables.load(self.found)
        order = BuildOrder(
            snapshot=snapshot,
            path=posixpath.normpath("/" + spec.path).lstrip("/"),
            owner_name=self.key.name,
            owner_namespace=self.key.namespace,
            options=build_options(spec),
            remote_bases=self.rooms.remote_bases,
            substitution=self.loaded.substitution,
            digest_key=self.rooms.digest_key,
            confidential=may_hold_secrets(self.found),
        )
        try:
            return await self.rooms.workers.run(run_build, order, timeout=spec.effective_timeout)
        except NotADirectoryError as error:
            raise Failed(ARTIFACT_FAILED, f"kustomization path not found: stat {error}: no such file or directory") from error
        except SnapshotGone as error:
            self.rooms.fetch_again(snapshot.key)
            raise Waiting(ARTIFACT_FAILED, f"{error}; it is fetched again", SOURCE_RETRY) from error
        except BuildError as error:
            raise Failed(BUILD_FAILED, f"kustomize build failed: {error}") from error
        except (TimeoutError, ChildProcessError) as error:
            raise Failed(BUILD_FAILED, f"kustomize build failed: {error}; raise spec.timeout or the memory, or split the path") from error

    @timed("apply")
    async def _apply(self, objects: Sequence[Built]) -> None:
        if not objects:
            return
        named: dict[str, list[ObjectId]] = defaultdict(list)
        for each in objects:
            named[str(each.object)].append(each.object)
        try:
            result = await self.rooms.applier.apply(
                objects,
                mode="full" if self.before is None else "changed",
                owner=self.owner,
                force=self.found.spec.force,
                timeout=self.found.spec.effective_timeout,
                dry_run=self.rooms.shadow,
                before_write=lambda subjects: self.opened([one for subject in subjects for one in named[subject]]),
                leaves=leaves_none if self.rooms.shadow else self.rooms.drift.leaves(self.key),
                ignore=ignore_rules(self.found.spec),
            )
        except ApplyFailed as error:
            self.note(error.changes)
            if isinstance(error.error, ApiAway):
                raise ApiAway(str(error)) from error
            if error.error is not None and not error.away:
                self._unsure.clear()  # each was answered
            soon = min(self.found.spec.effective_retry_interval, BUSY_RETRY) if error.away else None
            raise Failed(RECONCILIATION_FAILED, str(error), soon) from error
        self.note(result)
        self._unsure.clear()
        crash.point("apply.done")

    def note(self, result: ChangeSet) -> None:
        """What was done, for the event and the inventory."""
        self.changes.extend(str(change) for change in result.changed)
        self._created |= {change.id: change.object for change in result.changed if change.action == "created"}
        self._skipped |= {change.object for change in result.entries if change.action == "skipped"}
        self.drift += self.rooms.drift.note(self, result, self.digests)

    async def opened(self, objects: Sequence[ObjectId]) -> None:
        """Before the first write: the journal knows what is about to change, and the last run's record is no longer true."""
        assert self.snapshot is not None
        await self.rooms.records.drop(self.key, self.found.metadata.uid)
        row = await self.rooms.reports.open_run(
            self.key,
            JournalRun(
                object=self.key,
                uid=self.found.metadata.uid,
                generation=self.found.metadata.generation,
                revision=self.snapshot.revision,
                planned=tuple(map(planned_text, objects)),
            ),
        )
        self._rows.add(row)
        self._unsure |= {each.id: each for each in objects}
        crash.point("run.opened")

    async def _end_wait(self, problem: ClusterError | None, record: Record, inventory: Sequence[Mapping[str, str]]) -> None:
        """Ends the run and sets the next one."""
        self.rooms.trail.step(self.key, "health", perf_counter() - self._waits_since)
        queue = self.rooms.queue
        try:
            if problem is None:
                await self._succeed(record, inventory, health=f"Health check passed in {self._waited()}")
                wait, priority = due_in(self.found, record.basis), TIMER
                current = self.rooms.snapshots.get(record.basis.source)
                if current is not None and current.revision != record.basis.revision:
                    wait = timedelta(0)  # a push that did not concern it came meanwhile
            elif isinstance(problem, HealthError):
                wait, priority = self.retry(), RETRY
                await self._unhealthy(problem, record, inventory, wait)
            else:
                raise problem
        except (ClusterError, StateError) as error:
            log.warning("run not ended, tried again", extra={"object": str(self.key), "error": str(error)})
            wait, priority = END_RETRY, RETRY
        if wait is not None:
            queue.add(self.key, priority=priority, after=wait)

    def retry(self) -> timedelta | None:
        """After how long to try again what has failed."""
        occasion = f"{self.found.metadata.generation}/{self.snapshot.revision if self.snapshot else ''}"
        return self.rooms.retries.failed(self.key, occasion=occasion, most=self.found.spec.effective_retry_interval)

    def _waited(self) -> str:
        return format_duration(timedelta(milliseconds=round((perf_counter() - self._waits_since) * 1000)))

    async def _unhealthy(
        self, problem: HealthError, record: Record, inventory: Sequence[Mapping[str, str]], wait: timedelta | None
    ) -> None:
        self._settle(record.basis.generation, "", ready=False)
        message = f"health check failed after {self._waited()}: {problem}"
        await self.report(
            Ended(
                revision=record.basis.revision,
                ready=False,
                reason=HEALTH_CHECK_FAILED,
                message=message,
                healthy=False,
                health=str(problem),
                inventory=inventory,
                digest=self.digest,
                next_attempt=None if wait is None else datetime.now(UTC) + wait,
            )
        )

    def _settle(self, generation: int, revision: str, *, tree: str = "", ready: bool = True) -> None:
        """In memory, and wake the dependents."""
        self.rooms.catalog.settle(self.key, Settled(generation=generation, revision=revision, ready=ready, tree=tree))
        if ready:
            self.rooms.retries.done(self.key)
        for dependent in self.rooms.catalog.dependents(self.key):
            self.rooms.queue.add(dependent, trigger=Trigger(reason="dependency"), priority=CHANGE)

    async def _succeed(self, record: Record, inventory: Sequence[Mapping[str, str]], *, health: str = "") -> None:
        """Settle in memory and wake the dependents first; then event, record and status."""
        self._settle(record.basis.generation, record.basis.revision, tree=record.basis.tree)
        ended = Ended(
            revision=record.basis.revision,
            ready=True,
            reason="ReconciliationSucceeded",
            message=f"Applied revision: {record.basis.revision}",
            healthy=True if health else None,
            health=health,
            inventory=inventory,
            digest=self.digest,
            drift=self.rooms.drift.left(self.key),
        )
        await self.report(ended, record=record)

    async def report(self, ended: Ended, *, record: Record | None = None) -> None:
        """The event first (durable), then what a restart can derive: the record and the status."""
        took = timedelta(seconds=perf_counter() - self.began)
        account = Account(took=took, changes=self.changes, drift=self.drift, snapshot=self.snapshot, rows=frozenset(self._rows))
        ended = replace(ended, message=self.loaded.masked(ended.message))
        reason, message = ended.reason, ended.message
        self.rooms.trail.ended(self.key, ready=ended.ready, reason=reason, message=message, changes=self.changes)
        await self.rooms.reports.ended(self.found, self.raw, ended, account)
        if record is not None:
            await self.rooms.records.put(self.key, record)
            await self.rooms.drift.save(self.key, record.uid)


def _readable(entries: Iterable[InventoryEntry]) -> Iterator[ObjectId]:
    for entry in entries:
        try:
            yield parse(entry.id, entry.v)
        except BadEntry as error:
            log.warning("inventory entry passed over", extra={"error": str(error)})
