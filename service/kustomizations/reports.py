"""How a run becomes visible: journal rows, events (durable before the status), status patches, finalizers, what shadow mode found.

An event is raised where something happened: objects changed, a new failure, a recovery, a new revision. What repeats is not told again.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from service import crash
from service.cluster.client import ApiError
from service.kinds.codec import decode
from service.kinds.event import Event
from service.kinds.kustomize import Kustomization
from service.kinds.meta import EVENT_PREFIX, KUSTOMIZE_GROUP, READY, Condition, ObjectKey, find_condition
from service.kustomizations.catalog import Catalog, key_of
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

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a run has to tell: how long it took, the change lines, the source, and the journal rows that it opened itself."""

    took: timedelta
    changes: Sequence[str] = ()
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
        """Take up the rows that an earlier process left open; returns the objects that must run again."""
        for row_id, run in await self._journal.unfinished():
            self._open.setdefault(run.object, []).append((row_id, run))
        return tuple(self._open)

    def is_open(self, key: ObjectKey) -> bool:
        return key in self._open

    async def open_run(self, key: ObjectKey, run: JournalRun) -> int:
        """Durable before the run's first write; returns the row."""
        row = replace(run, trace=trace.get())
        row_id = await self._journal.open(row)
        self._open.setdefault(key, []).append((row_id, row))
        return row_id

    async def abandon(self, key: ObjectKey) -> None:
        """The object is gone: nothing is left to tell."""
        rows = self._open.pop(key, [])
        if rows:
            await self._journal.close(rows[-1][0], ())

    async def ended(self, found: Kustomization, raw: Raw, ended: Ended, account: Account) -> None:
        """Store the event and close the rows in one transaction, then patch the status."""
        key = key_of(raw)
        rows = self._open.get(key, [])
        told = _all_changes(rows, account)
        event = _event(found, raw, ended, replace(account, changes=told))
        before = find_condition(found.status.conditions, READY)
        news = bool(told) or _is_news(found, before, ended)
        _log(key, ended, account)
        if self._shadow:
            return
        if news or rows:
            events = [EventRow(key=_event_key(found, ended, told, rows, before), json=event.to_json())] if news else []
            try:
                await self._close(key, rows, events)
            except StateError as error:
                if ended.ready:  # not ready before it is told: the row stays open and the run is repeated
                    raise
                log.error("event not stored", extra={"object": str(key), "error": str(error)})
        self._post_event(event)
        await self._patch(raw, end_patch(found, raw, replace(ended, took=account.took, handled=found.metadata.requested_at)))
        crash.point("status.patched")

    async def _close(self, key: ObjectKey, rows: Sequence[tuple[int, JournalRun]], events: Sequence[EventRow]) -> None:
        """The newest row ends with the events; older ones of the object end with it."""
        await self._journal.close(rows[-1][0] if rows else None, events)
        self._open.pop(key, None)
        crash.point("run.closed")

    async def progress(self, found: Kustomization, raw: Raw, message: str, inventory: Sequence[Mapping[str, str]]) -> None:
        """Applied, and now waiting: the inventory is kept at once."""
        patch = progress_patch(found, message)
        patch["inventory"] = {"entries": list(inventory)}
        await self._patch(raw, patch)

    async def moved(self, key: ObjectKey, revision: str) -> None:
        """The status of an object that a push does not concern."""
        raw = self._catalog.raw(key)
        if raw is not None:
            await self._patch(raw, move_patch(decode(Kustomization, raw), revision))

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

    async def add_finalizer(self, raw: Raw) -> None:
        """Before the first write, so that a deletion can prune."""
        written = await self._writes.add_finalizer(raw)
        if written is not None:
            self._catalog.written(written)

    async def remove_finalizer(self, raw: Raw) -> None:
        """Let the object go."""
        await self._writes.remove_finalizer(raw)

    def shadowed(self, key: ObjectKey, revision: str, changes: Sequence[str]) -> None:
        """What would have been done."""
        self.shadow_reports[key] = {"object": str(key), "revision": revision, "changes": list(changes)}
        said = "shadow: would apply" if changes else "shadow: nothing to apply"
        log.info(said, extra={"object": str(key), "revision": revision, "changes": list(changes)})

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


def _all_changes(rows: Sequence[tuple[int, JournalRun]], account: Account) -> list[str]:
    """What this run changed, and what an interrupted or superseded one had planned and may have done."""
    seen = {change.rpartition(" ")[0] for change in account.changes}
    planned = [subject for row_id, run in rows if row_id not in account.rows for subject in run.planned]
    return list(dict.fromkeys([*account.changes, *(f"{subject} configured" for subject in planned if subject not in seen)]))


def _is_news(found: Kustomization, before: Condition | None, ended: Ended) -> bool:
    """A failure that is new, a recovery, or a revision that had not been reached."""
    if before is None or (before.status == "True") != ended.ready:
        return True
    if ended.ready:
        return ended.revision != found.status.last_applied_revision
    return (before.reason, before.message) != (ended.reason, ended.message) or ended.revision != (
        found.status.last_attempted_revision or ""
    )


def _event(found: Kustomization, raw: Raw, ended: Ended, account: Account) -> Event:
    lines = [*account.changes, finished_message(account.took, found.spec.interval) if ended.ready else ended.message]
    previous, snapshot = find_condition(found.status.conditions, READY), account.snapshot
    recovery = previous is not None and previous.status == "False"
    metadata = {key: value for key, value in found.metadata.annotations.items() if key.startswith(EVENT_PREFIX)}
    metadata |= {REVISION: ended.revision} if ended.revision else {}
    metadata |= {COMMIT_STATUS: "update"} if ended.ready and not account.changes and not recovery else {}
    if snapshot is not None and snapshot.revision == ended.revision:
        metadata |= {COMMIT_SUBJECT: snapshot.subject, COMMIT_AUTHOR: snapshot.author, COMMIT_URL: snapshot.commit_url}
    metadata[TOOK] = f"{account.took.total_seconds() * 1000:.0f}ms"
    return Event(
        involved=key_of(raw),
        involved_api_version=str(raw.get("apiVersion", "")),
        involved_uid=found.metadata.uid,
        involved_resource_version=found.metadata.resource_version,
        severity="info" if ended.ready else "error",
        reason=ended.reason,
        message="\n".join(lines),
        metadata=metadata,
        reporting_controller=CONTROLLER,
        trace=trace.get(),
    )


def _event_key(
    found: Kustomization, ended: Ended, changes: Sequence[str], rows: Sequence[tuple[int, JournalRun]], before: Condition | None
) -> str:
    """The same for a run and its repetition after a kill, another for the next thing that happens."""
    since = before.last_transition_time.isoformat() if before is not None and before.last_transition_time else ""
    occasion = str(rows[0][0]) if rows else since
    told = "\n".join(sorted(changes)) or ended.message
    digest = hashlib.sha256(told.encode()).hexdigest()[:16]
    return "/".join((found.metadata.uid, str(found.metadata.generation), ended.revision, ended.reason, digest, occasion))
