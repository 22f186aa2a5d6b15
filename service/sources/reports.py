"""How a run of a source becomes visible: events, then the one status patch. In shadow mode only the log says anything."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from service import crash
from service.kinds import meta
from service.kinds.event import Event
from service.kinds.meta import ObjectKey
from service.reconcile.outcome import Outcome
from service.sources.failure import Failure, Stored
from service.sources.news import News
from service.sources.objects import Objects
from service.sources.status import Source, failed_patch, handled_patch, is_failing, stored_patch

log = logging.getLogger(__name__)

CONTROLLER = "source-controller"

Raw = Mapping[str, Any]


class Reports:
    """Events go out before the status says the same: told twice after a crash rather than never."""

    def __init__(self, objects: Objects, on_event: Callable[[Event], None], *, shadow: bool) -> None:
        self._objects = objects
        self._news = News(on_event, controller=CONTROLLER, shadow=shadow)
        self._shadow = shadow

    async def stored(self, found: Source, raw: Raw, stored: Stored) -> bool:
        """Tell of a success; returns whether the status changed. Raises ApiError, ApiAway."""
        before = found.status.artifact
        if before is None or before.digest != stored.artifact.digest:
            reason = meta.NEW_ARTIFACT if stored.reason == meta.SUCCEEDED else stored.reason
            self._tell_stored(found, reason, stored)
        elif is_failing(found.status.conditions):
            self._tell_stored(found, meta.SUCCEEDED, stored)
        return await self._patch(found, raw, stored_patch(found, raw, stored))

    async def failed(self, found: Source, raw: Raw, failure: Failure) -> Outcome:
        """Tell of a failure, once while it stays the same. Raises ApiError, ApiAway."""
        log.warning("reconcile failed", extra={"object": str(found.key), "reason": failure.reason, "error": failure.message})
        before = meta.find_condition(found.status.conditions, meta.READY)
        if not failure.quiet and (before is None or (before.reason, before.message) != (failure.reason, failure.message)):
            self._news.tell(found, "error", failure.reason, failure.message)
        await self._patch(found, raw, failed_patch(found, raw, failure))
        if failure.stalls:
            return Outcome(result="stalled", message=failure.message)
        return Outcome(result="failed", backoff=True, message=failure.message)

    async def suspended(self, found: Source, raw: Raw) -> None:
        """Only that a requested reconcile was seen. Raises ApiError, ApiAway."""
        await self._patch(found, raw, handled_patch(found, raw))

    def forget(self, key: ObjectKey) -> None:
        """The object is gone."""
        self._news.forget(key)

    async def _patch(self, found: Source, raw: Raw, status: Raw) -> bool:
        if self._shadow or not status:
            return False
        await self._objects.patch_status(found.key, raw, status)
        self.forget(found.key)
        crash.point("status.patched")
        return True

    def _tell_stored(self, found: Source, reason: str, stored: Stored) -> None:
        group, artifact = meta.SOURCE_GROUP, stored.artifact
        metadata = {f"{group}/revision": artifact.revision, f"{group}/digest": artifact.digest}
        self._news.tell(found, "info", reason, stored.news, sign=artifact.digest, metadata=metadata)
