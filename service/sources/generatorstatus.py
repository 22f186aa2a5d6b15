"""How a run of an ArtifactGenerator becomes visible: events, then the one status patch. In shadow mode only the log says anything.

Conditions, reasons and messages: https://github.com/fluxcd/source-watcher/blob/main/docs/spec/v1beta1/artifactgenerators.md#conditions
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from service.kinds import meta
from service.kinds.event import Event
from service.kinds.generator import ArtifactGenerator, InventoryEntry
from service.kinds.meta import Condition, ObjectKey
from service.reconcile.conditions import condition, merged
from service.reconcile.outcome import Outcome, ReconcileError, Stalled, Waiting
from service.sources.news import News
from service.sources.objects import Objects

log = logging.getLogger(__name__)

CONTROLLER = "source-watcher"
Raw = Mapping[str, Any]


class GeneratorReports:
    """Events go out before the status says the same."""

    def __init__(self, objects: Objects, on_event: Callable[[Event], None], *, shadow: bool) -> None:
        self._objects = objects
        self._news = News(on_event, controller=CONTROLLER, shadow=shadow)
        self._shadow = shadow

    async def generated(self, found: ArtifactGenerator, raw: Raw, inventory: Sequence[InventoryEntry], digest: str) -> bool:
        """Tell of a success; returns whether the artifacts or the conditions changed. Raises ApiError, ApiAway."""
        message, generation = f"reconciliation succeeded, generated {len(inventory)} artifact(s)", found.metadata.generation
        ready = condition(meta.READY, "True", meta.SUCCEEDED, message, generation)
        now = [ready, *_gone(generation)]
        changed = tuple(inventory) != found.status.inventory
        before = meta.find_condition(found.status.conditions, meta.READY)
        if changed or before is None or before.status != "True":
            self._news.tell(found, "info", meta.SUCCEEDED, message)
        made = [_entry(each) for each in inventory]
        await self._patch(found, raw, now, {"inventory": made, "observedSourcesDigest": digest})
        self._news.forget(found.key)
        return changed or before != ready

    async def failed(self, found: ArtifactGenerator, raw: Raw, error: ReconcileError) -> Outcome:
        """Tell of a failure, once while it stays the same. Raises ApiError, ApiAway."""
        message, generation = str(error), found.metadata.generation
        log.warning("reconcile failed", extra={"object": str(found.key), "reason": error.reason, "error": message})
        before = meta.find_condition(found.status.conditions, meta.READY)
        if before is None or (before.reason, before.message) != (error.reason, message):
            self._news.tell(found, "error", error.reason, message)
        now = [*_gone(generation), condition(meta.READY, "False", error.reason, message, generation)]
        if isinstance(error, Stalled):
            now[1] = condition(meta.STALLED, "True", error.reason, message, generation)
        await self._patch(found, raw, now, {})
        if isinstance(error, Stalled):
            return Outcome(result="stalled", message=message)
        if isinstance(error, Waiting):
            return Outcome(result="waiting", requeue_after=error.retry_after, message=message)
        return Outcome(result="failed", backoff=True, message=message)

    async def disabled(self, found: ArtifactGenerator, raw: Raw) -> Outcome:
        """Only that a requested reconcile was seen. Raises ApiError, ApiAway."""
        await self._patch(found, raw, [], {})
        return Outcome(result="suspended", message=f"the annotation {meta.GENERATOR_RECONCILE} is Disabled")

    def forget(self, key: ObjectKey) -> None:
        """The object is gone."""
        self._news.forget(key)

    async def _patch(self, found: ArtifactGenerator, raw: Raw, now: Sequence[Condition], more: Raw) -> None:
        before = raw.get("status") or {}
        conditions = merged(found.status.conditions, now)
        wanted: dict[str, Any] = dict(more)
        if conditions != found.status.conditions:
            wanted["conditions"] = [each.to_json() for each in conditions]
        if found.metadata.requested_at:
            wanted["lastHandledReconcileAt"] = found.metadata.requested_at
        changes = {name: value for name, value in wanted.items() if before.get(name) != value}
        if changes and not self._shadow:
            await self._objects.patch_status(found.key, raw, changes)


def _gone(generation: int) -> list[Condition]:
    return [condition(each, "False", meta.SUCCEEDED, "", generation) for each in (meta.RECONCILING, meta.STALLED)]


def _entry(entry: InventoryEntry) -> dict[str, str]:
    return {"kind": entry.kind, "name": entry.name, "namespace": entry.namespace, "digest": entry.digest, "filename": entry.filename}
