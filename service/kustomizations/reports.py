"""How a run becomes visible: journal rows, events (durable before the status), status patches, finalizers, what shadow mode found.

An event is raised where something happened: objects changed, a new failure, a recovery, a new revision. What repeats is not told again.
"""

import asyncio
import hashlib
import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from service import crash
from service.cluster.client import ApiError
from service.cluster.inventory import BadEntry, ObjectId, parse
from service.kinds.codec import decode
from service.kinds.event import Event
from service.kinds.kustomize import Kustomization
from service.kinds.meta import (
    ARTIFACT_FAILED,
    EVENT_PREFIX,
    KUSTOMIZE_GROUP,
    PROGRESSING,
    PRUNE_FAILED,
    READY,
    RECONCILIATION_SUCCEEDED,
    Condition,
    ObjectKey,
    find_condition,
    format_time,
)
from service.kustomizations.catalog import Catalog, key_of
from service.kustomizations.records import Record
from service.kustomizations.status import Ended, end_patch, finished_message, invalid_patch, move_patch, progress_patch
from service.kustomizations.writes import Writes
from service.log import trace
from service.sources.snapshot import Snapshot
from service.state.errors import StateError
from service.state.journal import EventRow, Journal
from service.state.journal import Run as JournalRun

log = logging.getLogger(__name__)
CONTROLLER = "kustomize-controller"
REVISION, COMMIT_STATUS = f"{KUSTOMIZE_GROUP}/revision", f"{KUSTOMIZE_GROUP}/commit_status"
COMMIT_URL = f"{KUSTOMIZE_GROUP}/commit_url"
COMMIT_SUBJECT, COMMIT_AUTHOR, TOOK = f"{KUSTOMIZE_GROUP}/commit_subject", f"{KUSTOMIZE_GROUP}/commit_author", f"{KUSTOMIZE_GROUP}/took"
RUNNING, NEXT_TRY = f"{KUSTOMIZE_GROUP}/running", f"{KUSTOMIZE_GROUP}/next_try"

TOLD = "told:"  # in a journal row: written and told, but not yet in the status

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a run has to tell: how long it took, the change lines, the drift that was undone, the source, and its own
    journal rows."""

    took: timedelta
    changes: Sequence[str] = ()
    drift: Sequence[str] = ()
    snapshot: Snapshot | None = None
    rows: frozenset[int] = frozenset()


class Reports:
    """One for the room; keeps the journal rows that stand open."""

    def __init__(self, *, catalog: Catalog, journal: Journal, writes: Writes, post_event: Callable[[Event], None], shadow: bool) -> None:
        self._catalog = catalog
        self._journal = journal
        self._writes = writes
        self._post_event = post_event
        self._shadow = shadow
        self._open: dict[ObjectKey, list[tuple[int, JournalRun]]] = {}
        self.shadow_reports: dict[ObjectKey, Mapping[str, Any]] = {}

    async def recover(self) -> tuple[ObjectKey, ...]:
        """Take up the rows that an earlier process, or another replica, left open; returns the objects that must run again."""
        found = await self._journal.unfinished()
        self._open.clear()
        for row_id, run in found:
            self._open.setdefault(run.object, []).append((row_id, run))
        return tuple(self._open)

    def is_open(self, key: ObjectKey) -> bool:
        """Whether a run of the object has begun to write and has not ended, or its status has not been written."""
        return key in self._open

    def planned(self, key: ObjectKey, uid: str, *, but: Collection[int] = ()) -> tuple[ObjectId, ...]:
        """What the open runs of an object (but for some) meant to write: it may be there, whatever the inventory says."""
        rows = [run for row_id, run in self._open.get(key, ()) if run.uid == uid and row_id not in but]
        found = (planned_object(text) for run in rows for text in run.planned)
        return tuple(each for each in found if each is not None)

    async def open_run(self, key: ObjectKey, run: JournalRun) -> int:
        """Durable before the run's first write; returns the row."""
        return await asyncio.shield(asyncio.ensure_future(self._opened(key, replace(run, trace=trace.get()))))

    async def _opened(self, key: ObjectKey, row: JournalRun) -> int:
        row_id = await self._journal.open(row)
        self._open.setdefault(key, []).append((row_id, row))
        return row_id

    async def abandon(self, key: ObjectKey) -> None:
        """The object is gone: nothing is left to tell."""
        self.shadow_reports.pop(key, None)
        await self._close(key, ())

    async def ended(self, found: Kustomization, raw: Raw, ended: Ended, account: Account) -> None:
        """Store the event and close the rows in one transaction, then patch the status."""
        key = key_of(raw)
        rows = [row for row in self._open.get(key, ()) if row[1].uid == found.metadata.uid]
        told = _all_changes(rows, account)
        event = _event(found, raw, ended, replace(account, changes=told))
        before = find_condition(found.status.conditions, READY)
        quiet = ended.waiting and ended.reason == ARTIFACT_FAILED  # only logged, as Flux does
        news = _is_news(found, before, ended) and not quiet
        _log(key, ended, account)
        if self._shadow:
            return self.shadowed(key, ended.revision, account.changes, problem="" if ended.ready else f"{ended.reason}: {ended.message}")
        events = [EventRow(key=_event_key(found, ended, told, rows), json=event.to_json())] if told else []
        if news:
            events = [EventRow(key=_event_key(found, ended, (), ()), json=event.to_json()), *events]
        try:
            await self._store(found, ended, events, has_changed=not all(change.endswith(" deleted") for change in account.changes))
        except StateError as error:
            if ended.ready:  # not ready before it is told: the row stays open and the run is repeated
                raise
            log.error("event not stored", extra={"object": str(key), "error": str(error)})
        if not quiet:
            self._post_event(event)
        await self._patch(raw, end_patch(found, raw, replace(ended, took=account.took, handled=found.metadata.requested_at)))
        crash.point("status.patched")
        await self._close(key, ())

    async def _store(self, found: Kustomization, ended: Ended, events: Sequence[EventRow], *, has_changed: bool) -> None:
        """Close the rows, with one event if there is anything to tell. A row with the inventory's new entries stays until the status has
        them: after a kill in between they are still ours, and pruned one day.

        An outcome is told once, by its first key: where that was done before a kill, or before the status could be written, only what this
        run itself has changed is told besides, by the key that has the changes. (What is gone already counts as deleted once more.)
        """
        key, known = found.key, {entry.id for entry in found.status.inventory or ()}
        new = tuple(f"{TOLD}{entry['id']}@{entry['v']}" for entry in ended.inventory or () if entry["id"] not in known)
        told = await self._close(key, events[:1], keep=_row(found, ended.revision, new) if new else None)
        if events[1:] and not told and has_changed:
            await self._journal.close(None, events[1:])

    async def _close(self, key: ObjectKey, events: Sequence[EventRow], *, keep: JournalRun | None = None) -> int:
        """All rows of the object end with the events, whatever becomes of the run that asks; returns how many events were new. `keep` is
        a row to open with it."""
        return await asyncio.shield(asyncio.ensure_future(self._closed(key, events, keep)))

    async def _closed(self, key: ObjectKey, events: Sequence[EventRow], keep: JournalRun | None) -> int:
        rows = list(self._open.get(key, ()))
        last_of = {run.uid: row_id for row_id, run in rows}  # the journal closes all older rows of a uid with one
        *others, newest = last_of.values() or (None,)
        if newest is None and not events and keep is None:
            return 0
        kept = [(await self._journal.open(keep), keep)] if keep is not None else []
        new = await self._journal.close(newest, events)
        for row_id in others:
            await self._journal.close(row_id, ())
        left = [*(row for row in self._open.get(key, ()) if row not in rows), *kept]
        if left:
            self._open[key] = left
        else:
            self._open.pop(key, None)
        if rows or events:
            crash.point("run.closed")
        return new

    async def deleted(self, found: Kustomization, raw: Raw, changes: Sequence[str]) -> None:
        """The object goes, and what it has applied with it: the last that is told of it."""
        key = key_of(raw)
        ended = Ended(revision=found.status.last_applied_revision, ready=True, reason=RECONCILIATION_SUCCEEDED, message="\n".join(changes))
        event = replace(_event(found, raw, ended, Account(took=timedelta(0))), message=ended.message)
        await self._close(key, (EventRow(key=f"{found.metadata.uid}/deleted", json=event.to_json()),))
        self._post_event(event)

    async def orphaned(self, found: Kustomization, raw: Raw, message: str) -> None:
        """The object goes, and what it has applied stays although it should go."""
        ended = Ended(revision=found.status.last_applied_revision, ready=False, reason=PRUNE_FAILED, message=message)
        event = _event(found, raw, ended, Account(took=timedelta(0)))
        await self._close(key_of(raw), (EventRow(key=f"{found.metadata.uid}/orphaned", json=event.to_json()),))
        self._post_event(event)

    async def progress(
        self, found: Kustomization, raw: Raw, message: str, inventory: Sequence[Mapping[str, str]], account: Account
    ) -> None:
        """Applied, and now waiting: the inventory is kept at once. What was changed is told to those who change their messages later."""
        patch = progress_patch(found, message)
        patch["inventory"] = {"entries": list(inventory)}
        if account.changes and account.snapshot is not None:
            ended = Ended(revision=account.snapshot.revision, ready=False, waiting=True, reason=PROGRESSING, message=message)
            event = _event(found, raw, ended, account)
            event = replace(event, metadata={**event.metadata, COMMIT_STATUS: "update"})
            row = EventRow(key=_event_key(found, ended, account.changes, self._open.get(found.key, ())), json=event.to_json())
            try:
                await self._journal.close(None, [row])
            except StateError as error:  # the end of the run is told in any case
                log.warning("progress not stored", extra={"object": str(found.key), "error": str(error)})
        await self._patch(raw, patch)

    async def moved(self, key: ObjectKey, record: Record) -> None:
        """The status of an object that a push does not concern, unless it is another object, or asked for something else, meanwhile."""
        raw = self._catalog.raw(key)
        if raw is None:
            return
        metadata = raw["metadata"]
        same = metadata.get("uid") == record.uid and metadata.get("generation") == record.basis.generation
        if same and "deletionTimestamp" not in metadata:
            await self._patch(raw, move_patch(decode(Kustomization, raw), record.basis.revision))

    async def suspended(self, found: Kustomization, raw: Raw) -> None:
        """A request is acknowledged even while suspended, as Flux does."""
        if found.metadata.requested_at not in ("", found.status.last_handled_reconcile_at or ""):
            await self._patch(raw, {"lastHandledReconcileAt": found.metadata.requested_at})

    async def invalid(self, key: ObjectKey, raw: Raw, message: str) -> None:
        """An object that cannot be read as its kind; without a typed form the status is made from the raw one."""
        log.warning("object not readable", extra={"object": str(key), "error": message})
        patch = invalid_patch(raw, message)
        if patch is not None:
            await self._patch(raw, patch)

    async def add_finalizer(self, raw: Raw) -> bool:
        """Before the first write, so that a deletion can prune. False where the object is gone or going already."""
        written = await self._writes.add_finalizer(raw)
        if written is not None:
            self._catalog.written(written)
        return written is not None

    async def forget_approval(self, raw: Raw) -> None:
        """A prune that a person had allowed is done."""
        self._catalog.written(await self._writes.forget_approval(raw))

    async def remove_finalizer(self, raw: Raw) -> None:
        """Let the object go."""
        await self._writes.remove_finalizer(raw)

    def shadowed(self, key: ObjectKey, revision: str, changes: Sequence[str], *, problem: str = "") -> None:
        """What would have been done, or why nothing would."""
        self.shadow_reports[key] = {"object": str(key), "revision": revision, "changes": list(changes), "problem": problem}
        said = "shadow: would not be ready" if problem else "shadow: would apply" if changes else "shadow: nothing to apply"
        log.info(said, extra={"object": str(key), "revision": revision, "changes": list(changes)} | ({"error": problem} if problem else {}))

    async def _patch(self, raw: Raw, patch: Raw) -> None:
        if self._shadow:
            return
        try:
            self._catalog.written(await self._writes.status(raw, patch))
        except ApiError as error:
            if not error.not_found:
                raise


def _log(key: ObjectKey, ended: Ended, account: Account) -> None:
    fields: dict[str, object] = {"object": str(key), "reason": ended.reason, "revision": ended.revision, "changes": len(account.changes)}
    fields["seconds"] = round(account.took.total_seconds(), 3)
    if ended.ready:
        log.info("reconciled", extra=fields)
    else:
        log.warning("not ready", extra=fields | {"error": ended.message})


def _row(found: Kustomization, revision: str, planned: tuple[str, ...]) -> JournalRun:
    uid, generation = found.metadata.uid, found.metadata.generation
    return JournalRun(object=found.key, uid=uid, generation=generation, revision=revision, planned=planned, trace=trace.get())


def planned_text(found: ObjectId) -> str:
    """How an object stands in a journal row."""
    return f"{found.id}@{found.version}"


def planned_object(text: str) -> ObjectId | None:
    """The object of a journal row, None where another version wrote it otherwise."""
    id, _, version = text.removeprefix(TOLD).partition("@")
    try:
        return parse(id, version)
    except BadEntry:
        return None


def _all_changes(rows: Sequence[tuple[int, JournalRun]], account: Account) -> list[str]:
    """What this run changed, and what an interrupted or superseded one had planned and may have done."""
    seen = {change.rpartition(" ")[0] for change in account.changes}
    planned = [
        str(planned_object(text) or text)
        for row_id, run in rows
        if row_id not in account.rows
        for text in run.planned
        if not text.startswith(TOLD)
    ]
    return list(dict.fromkeys([*account.changes, *(f"{subject} configured" for subject in planned if subject not in seen)]))


def _is_news(found: Kustomization, before: Condition | None, ended: Ended) -> bool:
    """A failure that is new, a recovery, or a revision that had not been reached."""
    if before is None or (before.status == "True") != ended.ready:
        return True
    if ended.ready:
        return ended.revision != found.status.last_applied_revision
    return (before.reason, _lasting(before.message)) != (ended.reason, _lasting(ended.message)) or (
        not ended.waiting and ended.reason != ARTIFACT_FAILED and ended.revision != (found.status.last_attempted_revision or "")
    )


def _event(found: Kustomization, raw: Raw, ended: Ended, account: Account) -> Event:
    lines = [*account.changes, *account.drift, finished_message(account.took, found.spec.interval) if ended.ready else ended.message]
    previous, snapshot = find_condition(found.status.conditions, READY), account.snapshot
    recovery = previous is not None and previous.status == "False"
    metadata = {key: value for key, value in found.metadata.annotations.items() if key.startswith(EVENT_PREFIX)}
    metadata |= {REVISION: ended.revision} if ended.revision else {}
    metadata |= {COMMIT_STATUS: "update"} if ended.ready and not account.changes and not recovery else {}
    if snapshot is not None and snapshot.revision == ended.revision:
        metadata |= {COMMIT_SUBJECT: snapshot.subject, COMMIT_AUTHOR: snapshot.author, COMMIT_URL: snapshot.commit_url}
    if not ended.ready and not ended.waiting:
        metadata |= {RUNNING: applied} if (applied := found.status.last_applied_revision) else {}
        metadata |= {NEXT_TRY: format_time(ended.next_attempt)} if ended.next_attempt is not None else {}
    metadata[TOOK] = f"{account.took.total_seconds() * 1000:.0f}ms"
    return Event(
        involved=key_of(raw),
        involved_api_version=str(raw.get("apiVersion", "")),
        involved_uid=found.metadata.uid,
        involved_resource_version=found.metadata.resource_version,
        severity="info" if ended.ready or ended.waiting else "error",
        reason=ended.reason,
        message="\n".join(lines),
        metadata=metadata,
        reporting_controller=CONTROLLER,
        trace=trace.get(),
    )


def _event_key(found: Kustomization, ended: Ended, changes: Sequence[str], rows: Sequence[tuple[int, JournalRun]]) -> str:
    """The same for a run and its repetition after a kill, another for the next thing that happens: counted from the last success."""
    last = found.status.history[0] if found.status.history else None
    since = f"{last.last_reconciled}#{last.total_reconciliations}" if last is not None else ""
    told = "\n".join([*sorted(changes), "" if ended.ready else _lasting(ended.message)])
    digest = hashlib.sha256(told.encode()).hexdigest()[:16]
    occasion = str(rows[0][0]) if rows else since
    return "/".join((found.metadata.uid, str(found.metadata.generation), ended.revision, ended.reason, digest, occasion))


def _lasting(message: str) -> str:
    """A failure's message without the time it took and the Pods' words, which differ each time."""
    found = re.match(r"(health check failed after )\S+(.*)", message)
    return f"{found[1]}{found[2]}" if found else message
