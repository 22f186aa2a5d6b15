"""How a run of a source becomes visible: events, then the one status patch. In shadow mode only the log says anything."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from service import crash
from service.kinds import meta
from service.kinds.event import Event, Severity
from service.kinds.meta import ObjectKey
from service.kinds.source import Artifact
from service.log import trace
from service.reconcile.outcome import Outcome
from service.sources.failure import Failure, Stored
from service.sources.objects import Objects
from service.sources.status import Source, failed_patch, handled_patch, is_failing, stored_patch

log = logging.getLogger(__name__)

CONTROLLER = "source-controller"

Raw = Mapping[str, Any]


class Reports:
    """Events go out before the status says the same: told twice after a crash rather than never."""

    def __init__(self, objects: Objects, on_event: Callable[[Event], None], *, shadow: bool) -> None:
        self._objects = objects
        self._on_event = on_event
        self._shadow = shadow
        self._told: dict[ObjectKey, tuple[str, str]] = {}

    async def stored(self, found: Source, raw: Raw, stored: Stored) -> bool:
        """Tell of a success; returns whether the status changed. Raises ApiError, ApiAway."""
        before = found.status.artifact
        if before is None or before.digest != stored.artifact.digest:
            reason = meta.NEW_ARTIFACT if stored.reason == meta.SUCCEEDED else stored.reason
            self._tell(found, "info", reason, stored.news, artifact=stored.artifact)
        elif is_failing(found.status.conditions):
            self._tell(found, "info", meta.SUCCEEDED, stored.news, artifact=stored.artifact)
        return await self._patch(found, raw, stored_patch(found, raw, stored))

    async def failed(self, found: Source, raw: Raw, failure: Failure) -> Outcome:
        """Tell of a failure, once while it stays the same. Raises ApiError, ApiAway."""
        log.warning("reconcile failed", extra={"object": str(found.key), "reason": failure.reason, "error": failure.message})
        before = meta.find_condition(found.status.conditions, meta.READY)
        if not failure.quiet and (before is None or (before.reason, before.message) != (failure.reason, failure.message)):
            self._tell(found, "error", failure.reason, failure.message)
        await self._patch(found, raw, failed_patch(found, raw, failure))
        if failure.stalls:
            return Outcome(result="stalled", message=failure.message)
        return Outcome(result="failed", backoff=True, message=failure.message)

    async def suspended(self, found: Source, raw: Raw) -> None:
        """Only that a requested reconcile was seen. Raises ApiError, ApiAway."""
        await self._patch(found, raw, handled_patch(found, raw))

    def forget(self, key: ObjectKey) -> None:
        """The object is gone."""
        self._told.pop(key, None)

    async def _patch(self, found: Source, raw: Raw, status: Raw) -> bool:
        if self._shadow or not status:
            return False
        await self._objects.patch_status(found.key, raw, status)
        self.forget(found.key)
        crash.point("status.patched")
        return True

    def _tell(self, found: Source, severity: Severity, reason: str, message: str, *, artifact: Artifact | None = None) -> None:
        words = (reason, artifact.digest if artifact else message)
        if self._shadow or self._told.get(found.key) == words:
            return  # the patch after it failed, and this is the next attempt
        self._told[found.key] = words
        metadata = {name: value for name, value in found.metadata.annotations.items() if name.startswith(meta.EVENT_PREFIX)}
        if artifact is not None:
            metadata[f"{meta.SOURCE_GROUP}/revision"] = artifact.revision
            metadata[f"{meta.SOURCE_GROUP}/digest"] = artifact.digest
        self._on_event(
            Event(
                involved=found.key,
                involved_api_version=found.api_version,
                involved_uid=found.metadata.uid,
                involved_resource_version=found.metadata.resource_version,
                severity=severity,
                reason=reason,
                message=message,
                metadata=metadata,
                reporting_controller=CONTROLLER,
                trace=trace.get(),
            )
        )
