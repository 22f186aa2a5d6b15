"""The reconciler of Kustomizations: decides whether an object runs, moves, waits or stalls, and reports how it ended.

In: a key from the queue. Out: objects applied and pruned, the status, the event. What a run does lies in `run`, deletion in `deletion`.
Order and semantics: kustomize-controller 1.9, internal/controller/kustomization_controller.go.
"""

import asyncio
import logging
import random
from datetime import UTC, datetime, timedelta

from service.cluster.client import ApiAway, ClusterError
from service.kinds.codec import Invalid, decode, refused_fields
from service.kinds.kustomize import Kustomization
from service.kinds.meta import (
    ACCESS_DENIED,
    ARTIFACT_FAILED,
    FINALIZER,
    RECONCILIATION_FAILED,
    VALIDATION_FAILED,
    ObjectKey,
)
from service.kustomizations.building import read_tokens
from service.kustomizations.catalog import Settled
from service.kustomizations.deletion import bare, finalize
from service.kustomizations.dependencies import check_dependencies
from service.kustomizations.pushes import COMPARE_LIMIT
from service.kustomizations.records import ENGINE, Record, due_in
from service.kustomizations.run import Rooms, Run
from service.kustomizations.status import Ended
from service.reconcile.outcome import Failed, Outcome, ReconcileError, Stalled, Waiting
from service.reconcile.queue import CHANGE, RETRY, Trigger
from service.sources.snapshot import Snapshot, SnapshotGone
from service.state.errors import StateError

log = logging.getLogger(__name__)
SOURCE_RETRY = timedelta(seconds=30)
AWAY_RETRY = timedelta(seconds=2)
STATE_RETRY = timedelta(seconds=10)


class KustomizationReconciler:
    """See service.reconcile.worker.Reconciler."""

    kind = "Kustomization"

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    async def reconcile(self, key: ObjectKey, triggers: tuple[Trigger, ...]) -> Outcome:
        """Bring one Kustomization up to date. Expected failures become the object's status and the Outcome."""
        try:
            return await self._read(key, triggers)
        except ApiAway as error:
            log.warning("cluster away, tried again soon", extra={"object": str(key), "error": str(error)})
            soon = AWAY_RETRY * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
            for trigger in triggers:
                self._rooms.queue.add(key, trigger=trigger, priority=RETRY, after=soon)
            return Outcome(result="failed", requeue_after=soon, message=str(error))
        except (ClusterError, StateError) as error:  # not even the status can say so
            log.warning("outcome not written", extra={"object": str(key), "error": str(error)})
            return Outcome(result="failed", backoff=True, message=str(error))

    async def _read(self, key: ObjectKey, triggers: tuple[Trigger, ...]) -> Outcome:
        rooms = self._rooms
        await rooms.waits.ended(key)
        await rooms.sweep.written(key)
        raw = rooms.catalog.raw(key)
        if raw is None:
            await self._alone(key)
            await rooms.reports.abandon(key)
            await rooms.records.drop(key)
            rooms.retries.done(key)
            return Outcome(result="gone")
        try:
            refused = refused_fields(raw)
            found = decode(Kustomization, raw)
        except Invalid as error:
            await self._alone(key)
            if "deletionTimestamp" not in raw["metadata"]:
                await rooms.reports.invalid(key, raw, f"{error}")
                return Outcome(result="stalled", message=str(error))
            refused, found = (), decode(Kustomization, bare(raw))
        run = Run(rooms=rooms, key=key, found=found, raw=raw, triggers=triggers, refused=refused)
        try:
            return await self._decided(run)
        except ReconcileError as error:
            return await self._ended_early(run, error)
        except ApiAway:
            raise
        except ClusterError as error:
            return await self._ended_early(run, Failed(RECONCILIATION_FAILED, str(error)))
        except StateError as error:
            return await self._ended_early(
                run, Failed(RECONCILIATION_FAILED, f"{error}; nothing more is applied until it can be recorded", STATE_RETRY)
            )

    async def _alone(self, key: ObjectKey) -> None:
        """From here on nobody else writes the object's status: no health wait, no move."""
        await self._rooms.waits.supersede(key)
        await self._rooms.sweep.drop(key)

    async def _decided(self, run: Run) -> Outcome:
        rooms, found = self._rooms, run.found
        if found.metadata.deletion_timestamp is not None:
            await self._alone(run.key)
            return await finalize(run)
        if found.spec.suspend:
            await self._alone(run.key)
            await rooms.reports.suspended(found, run.raw)
            return Outcome(result="suspended")
        run.rooms = rooms.tenancy.rooms(rooms, found)
        self._check_fields(run)
        snapshot = self._snapshot(run)
        run.snapshot = snapshot
        await check_dependencies(run, snapshot)
        if not rooms.shadow and (outcome := await self._without_run(run, snapshot)) is not None:
            return outcome
        if not rooms.shadow and FINALIZER not in found.metadata.finalizers and not await rooms.reports.add_finalizer(run.raw):
            return Outcome(result="gone")
        await self._alone(run.key)
        async with asyncio.timeout(found.spec.effective_timeout.total_seconds()) as limit:
            try:
                return await run.perform()
            except TimeoutError as error:
                if not limit.expired():
                    raise
                raise Failed(RECONCILIATION_FAILED, f"not done within {found.spec.effective_timeout}; raise spec.timeout") from error

    def _check_fields(self, run: Run) -> None:
        if run.refused:
            names = ", ".join(run.refused)
            raise Stalled(
                VALIDATION_FAILED,
                f"{names}: not carried out by this version of sluice; nothing was applied. Remove it, or leave this object to Flux",
            )
        namespace = run.found.spec.source_ref.namespace
        if self._rooms.no_cross_namespace and namespace not in (None, run.key.namespace):
            raise Stalled(ACCESS_DENIED, f"can't access '{run.found.source_key}', cross-namespace references have been blocked")

    def _snapshot(self, run: Run) -> Snapshot:
        """The source as this process last fetched it. Raises Waiting while there is none."""
        key = run.found.source_key
        snapshot, state = self._rooms.snapshots.get(key), self._rooms.source_state(key)
        if snapshot is not None and state != "absent":
            return snapshot
        if state == "absent":
            message = f'{key.kind}.{key.group} "{key.name}" not found'
            raise Waiting(ARTIFACT_FAILED, message, min(SOURCE_RETRY, run.found.spec.effective_retry_interval))
        run.quiet = state == "pending"
        raise Waiting(ARTIFACT_FAILED, f"Source artifact not found, retrying in {SOURCE_RETRY.seconds}s", SOURCE_RETRY)

    async def _without_run(self, run: Run, snapshot: Snapshot) -> Outcome | None:
        """Leave the object alone, or move it, where nothing that its last run read has changed. Else None; `run.before` is that last run,
        if only what differs from it need be sent."""
        rooms, found = self._rooms, run.found
        asked = found.metadata.requested_at not in ("", found.status.last_handled_reconcile_at or "")
        if asked or any(trigger.reason == "hook" for trigger in run.triggers):
            return None
        pending = rooms.waits.pending(run.key)
        if pending is not None and not rooms.drift.is_due(run.key):
            same = (
                _same_ground(run, snapshot, pending)
                and await self._variables_same(run, snapshot, pending)
                and await self._reads_same(snapshot, pending)
            )
            return Outcome(result="progressing") if same else None  # the end of the wait looks for newer revisions
        record = await rooms.records.load(run.key, found.metadata.uid, applied=found.status.last_applied_revision)
        if record is None or not self._is_whole(run) or not _same_ground(run, snapshot, record):
            return None
        if not await self._variables_same(run, snapshot, record):
            run.before = record
            return None
        wait = due_in(found, record.basis)
        if wait is not None and wait <= timedelta(0):
            return None
        if (drift := await rooms.drift.look(run.key, record)) != "known":
            run.before = record if drift == "due" else None
            return None
        if (record.basis.tree, record.basis.revision, found.status.last_applied_revision) == (
            snapshot.tree,
            snapshot.revision,
            snapshot.revision,
        ):
            self._settle(run, snapshot, record)
            return Outcome(result="unchanged", requeue_after=wait)
        if await self._reads_same(snapshot, record):
            self._move(run, snapshot, record)
            return Outcome(result="unchanged", requeue_after=wait)
        run.before = record
        return None

    async def _variables_same(self, run: Run, snapshot: Snapshot, record: Record) -> bool:
        """Whether the ConfigMaps and Secrets that are substituted from are those of the record."""
        return await self._rooms.variables.token(run.found, revision=snapshot.revision) == record.basis.variables

    def _is_whole(self, run: Run) -> bool:
        """Whether the last run ended well, for the object as it is now."""
        ready = any(c.type == "Ready" and c.status == "True" for c in run.found.status.conditions)
        known = self._rooms.catalog.settled(run.key)
        return ready and known is not None and known.ready and known.generation == run.found.metadata.generation and not run.unfinished

    async def _reads_same(self, snapshot: Snapshot, record: Record) -> bool:
        """Whether everything that the record's build read is the same in the snapshot."""
        if record.basis.tree == snapshot.tree:
            return True
        try:
            now = await self._rooms.workers.run(read_tokens, snapshot, tuple(record.reads), timeout=COMPARE_LIMIT)
        except (SnapshotGone, OSError) as error:  # also a worker that died or took too long: the build will tell
            log.warning("reads not compared", extra={"object": str(snapshot.key), "error": str(error)})
            return False
        return now == dict(record.reads)

    def _settle(self, run: Run, snapshot: Snapshot, record: Record) -> None:
        settled = Settled(generation=record.basis.generation, revision=snapshot.revision, ready=True, tree=snapshot.tree)
        self._rooms.catalog.settle(run.key, settled)

    def _move(self, run: Run, snapshot: Snapshot, record: Record) -> None:
        self._rooms.records.move(run.key, tree=snapshot.tree, revision=snapshot.revision)
        self._settle(run, snapshot, record)
        self._rooms.on_move(run.key, snapshot.revision)
        self._wake_dependents(run.key)

    def _wake_dependents(self, key: ObjectKey) -> None:
        for dependent in self._rooms.catalog.dependents(key):
            self._rooms.queue.add(dependent, trigger=Trigger(reason="dependency"), priority=CHANGE)

    async def _ended_early(self, run: Run, error: ReconcileError) -> Outcome:
        """Put the error where people look: the status, an event, the log. The outcome says when to try again."""
        error.message = run.loaded.masked(error.message)
        waiting, stalled = isinstance(error, Waiting), isinstance(error, Stalled)
        if isinstance(error, Waiting) and (run.quiet or self._soon(run)):
            return Outcome(result="waiting", requeue_after=error.retry_after, message=error.message)  # no word about a moment's wait
        await self._alone(run.key)
        known = self._rooms.catalog.has_failed(run.key)
        self._rooms.catalog.settle(run.key, Settled(generation=run.found.metadata.generation, revision="", ready=False))
        if not waiting or not known:  # else those in a circle would wake each other for ever
            self._wake_dependents(run.key)
        retry = self._retry(run, error)
        await run.report(
            Ended(
                revision=run.snapshot.revision if run.snapshot else "",
                ready=False,
                reason=error.reason,
                message=error.message,
                stalled=stalled,
                waiting=waiting,
                inventory=run.tracked(),
                digest="" if stalled or waiting else run.digest,
                next_attempt=None if retry is None else datetime.now(UTC) + retry,
            )
        )
        result = "stalled" if stalled else "waiting" if waiting else "failed"
        return Outcome(result=result, requeue_after=retry, message=error.message)

    def _retry(self, run: Run, error: ReconcileError) -> timedelta | None:
        """When the next attempt follows, if nothing happens before."""
        if isinstance(error, Stalled):
            return None
        if isinstance(error, Waiting):
            return error.retry_after
        if isinstance(error, Failed) and error.retry_after is not None:
            return error.retry_after
        return run.retry()

    def _soon(self, run: Run) -> bool:
        """Whether a dependency is about to end a run, so that its event will end this wait. One that has just failed is not."""
        rooms = self._rooms
        named = zip(run.found.spec.depends_on, run.found.dependency_keys, strict=True)
        plain = (need for reference, need in named if not reference.ready_expr)  # what an expression waits for may be anything
        needs = [need for need in plain if need != run.key and not rooms.catalog.has_failed(need)]
        return any(rooms.queue.waits(need) or rooms.waits.waiting(need) for need in needs)


def _same_ground(run: Run, snapshot: Snapshot, record: Record) -> bool:
    """Whether a record was made for the object as it is now, by the same rules."""
    basis, ignored = record.basis, snapshot.ignore_digest
    same_object = record.uid == run.found.metadata.uid and basis.generation == run.found.metadata.generation
    return same_object and (basis.engine, basis.ignore_digest, basis.source) == (ENGINE, ignored, snapshot.key)
