"""What a running service remembers of an object, as the keys that `explain` adds: delivery, push, lastRun, alerts, next.

In: the rooms. Out: JSON. Times are UTC in ISO form, durations seconds.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from service.cluster.client import Cluster
from service.compose.house import House
from service.compose.why.evidence import FromCluster, Raw
from service.compose.why.explain import Unknown, explain
from service.kinds.meta import ObjectKey
from service.kinds.table import Kind
from service.kustomizations.trail import LastPush, LastRun
from service.reconcile.queue import Queue
from service.reconcile.worker import Run
from service.state.deliverylog import LogEntry
from service.state.errors import StateError
from service.state.held import HeldMessage
from service.state.outbox import Told

SEARCHED = 500
Facts = dict[str, Any]


@dataclass(slots=True)
class _Look:
    at: datetime
    seconds: float
    result: str
    message: str


class FromHouse:
    """Evidence from inside: the caches for our kinds, the memory for the rest."""

    origin = "sluice"

    def __init__(self, house: House) -> None:
        self._house = house
        self._outside = FromCluster(house.ground.cluster)
        self._looks: dict[ObjectKey, _Look] = {}
        for worker in (house.sources, house.generating, house.kustomizations, house.receivers):
            worker.on_run.append(self._ran)

    @property
    def cluster(self) -> Cluster:
        return self._house.ground.cluster

    def _ran(self, run: Run) -> None:
        if run.outcome.result == "gone":
            self._looks.pop(run.key, None)
        else:
            self._looks[run.key] = _Look(run.began_at, run.seconds, run.outcome.result, run.outcome.message[:2000])

    async def object(self, kind: Kind, namespace: str, name: str) -> Raw | None:
        watch = self._house.watches.by_kind.get(kind.kind)
        if watch is None or not watch.synced.is_set() or self._house.ground.settings.watch_label_selector:
            return await self._outside.object(kind, namespace, name)
        return watch.objects.get((namespace, name))

    async def all(self, kind: Kind) -> Sequence[Raw]:
        watch = self._house.watches.by_kind.get(kind.kind)
        return tuple(watch.objects.values()) if watch is not None and watch.synced.is_set() else await self._outside.all(kind)

    async def facts(self, key: ObjectKey) -> Facts:
        """What is known besides the object; a part whose store does not answer is left out."""
        house, found = self._house, Facts()
        source = house.catalog.source_of(key) if key.kind == "Kustomization" else None
        run, look = house.trail.run_of(key), self._looks.get(key)
        if source is not None:
            found["source"] = self._fetched(source)
            found["push"] = self._push(key, source)
        elif key.kind not in ("Kustomization", "Alert", "Provider", "Receiver"):
            found["source"] = self._fetched(key)
        if look is not None:
            found["lastLook"] = {"at": _time(look.at), "seconds": round(look.seconds, 3), "result": look.result, "message": look.message}
        if run is not None:
            found["lastRun"] = _run_shown(run)
        try:
            found["delivery"] = await self._delivery(key, source, run)
            told = await house.outbox.told_about(key)
            found["alerts"] = [*map(_held_shown, await house.held_back.about(key)), *map(_told_shown, told)]
        except StateError as error:
            found["memory"] = f"the state folder does not answer: {error}"
        found["next"] = self._next(key)
        return {name: value for name, value in found.items() if value}

    def _fetched(self, source: ObjectKey) -> Facts:
        look, snapshot = self._looks.get(source), self._house.published.get(source)
        found: Facts = {}
        if snapshot is not None:
            found |= {"revision": snapshot.revision, "commit": snapshot.subject, "author": snapshot.author}
        if look is not None:
            found |= {"lastFetch": _time(look.at), "fetchResult": look.result}
            found |= {"error": look.message} if look.message else {}
        return found

    def _push(self, key: ObjectKey, source: ObjectKey) -> Facts:
        push, record, run = self._house.trail.push_of(source), self._house.records.get(key), self._house.trail.run_of(key)
        if push is None:
            return {}
        found: Facts = {"revision": push.revision, "at": _time(push.at), "paths": list(push.paths), "pathCount": push.path_count}
        reads = len(record.reads) if record is not None else None
        found |= {"reads": reads} if reads is not None else {}
        changed = push.concerned.get(key)
        return found | {"concerned": changed is not None, "changedReads": list(changed or ()), "said": _said(push, changed, reads, run)}

    async def _delivery(self, key: ObjectKey, source: ObjectKey | None, run: LastRun | None) -> Facts:
        """What triggered the last run; else the newest delivery that named the object or its source; else how it was found."""
        traces = {trigger.trace for trigger in run.triggers if trigger.trace} if run is not None else set()
        entries = await self._house.inbox.log.newest(SEARCHED)
        entry = next((each for each in entries if each.trace in traces), None)
        about = entry or next((each for each in entries if _names(each, key, source)), None)
        if entry is None and run is not None:
            reasons = ", ".join(dict.fromkeys(trigger.reason for trigger in run.triggers)) or "its interval or a retry"
            found: Facts = {"found": f"the last run was not triggered by a delivery: {reasons}"}
            return found | ({"latest": _delivery_shown(about)} if about is not None else {})
        return _delivery_shown(about) if about is not None else {}

    def _next(self, key: ObjectKey) -> Facts:
        queue = self._queue(key)
        wait = queue.next_in(key)
        if wait is None:
            waits = self._house.waits.waiting(key)
            return {"waitsForHealth": True} if waits else {"planned": False}
        now = wait.total_seconds() == 0
        return {"inSeconds": round(wait.total_seconds(), 1), "at": _time(datetime.now(UTC) + wait)} | ({"running": True} if now else {})

    def _queue(self, key: ObjectKey) -> Queue:
        house = self._house
        rooms = {"Kustomization": house.kustomizations, "ArtifactGenerator": house.generating}
        rooms |= dict.fromkeys(("Receiver", "Alert", "Provider"), house.receivers)
        return rooms.get(key.kind, house.sources).queue


def why_of(house: House) -> Callable[[str, str, str], Awaitable[Mapping[str, Any] | None]]:
    """What the admin port asks; None for an object that is not known."""
    evidence = FromHouse(house)

    async def why(kind: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        try:
            return await explain(evidence, kind, namespace, name)
        except Unknown:
            return None

    return why


def _names(entry: LogEntry, key: ObjectKey, source: ObjectKey | None) -> bool:
    return entry.receiver == key or any(target.object in (key, source) for target in entry.targets)


def _said(push: LastPush, changed: Iterable[str] | None, reads: int | None, run: LastRun | None) -> str:
    files = f"the last push changed {push.path_count} file{'s' if push.path_count != 1 else ''}"
    if changed:
        return f"{files}, and of what it reads {len(tuple(changed))} changed: it ran"
    if run is not None and run.revision == push.revision:
        return f"{files}, and it ran, though no recorded read of it changed (it was not ready, or not recorded)"
    return f"{files}, none of its {reads} reads changed: moved without a run" if reads is not None else f"{files}; what it reads is unknown"


def _run_shown(run: LastRun) -> Facts:
    found: Facts = {
        "at": _time(run.began_at), "revision": run.revision, "compared": "everything with the cluster" if run.full else "what changed",
        "triggers": list(dict.fromkeys(trigger.reason for trigger in run.triggers)),
        "steps": [{"step": name, "seconds": seconds} for name, seconds in run.steps],
        "changes": list(run.changes), "changeCount": run.change_count,
    }  # fmt: skip
    if run.ended_at is None:
        return found | {"result": "under way, or waiting for health"}
    seconds = round((run.ended_at - run.began_at).total_seconds(), 3)
    return found | {"seconds": seconds, "result": run.reason, "message": run.message}


def _delivery_shown(entry: LogEntry) -> Facts:
    found = {
        "id": entry.trace, "sender": entry.sender_type, "senderId": entry.delivery_id, "at": _time(entry.at),
        "receiver": str(entry.receiver) if entry.receiver else "", "state": entry.state, "verdict": entry.verdict, "detail": entry.detail,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value}


def _held_shown(held: HeldMessage) -> Facts:
    event = json.loads(held.event)
    return {
        "alert": str(held.alert), "provider": str(held.provider), "state": "held", "attempts": 0, "error": held.why,
        "at": _time(held.until), "reason": event.get("reason"), "severity": event.get("severity"),
    }  # fmt: skip


def _told_shown(told: Told) -> Facts:
    found = {
        "alert": str(told.alert), "provider": str(told.provider), "state": told.state, "attempts": told.attempts, "error": told.error,
        "at": _time(told.at), "reason": told.event.get("reason"), "severity": told.event.get("severity"),
    }  # fmt: skip
    return {name: value for name, value in found.items() if value}


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
