"""Alerts and Providers as objects: what of them is not carried out stands in their status, and Flux's finalizer goes with them.

In: a key from the queue. Out: a Ready condition where the cluster's definition has a status (ours has one, Flux's v1beta3 has none: there
the Warnings that `dispatch` posts, the admin port and the metrics have to do). Sending waits for none of this.
https://github.com/fluxcd/notification-controller/blob/main/docs/spec/v1beta3/providers.md
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Literal

from service.alerts.catalog import ADVICE
from service.alerts.mutes import BadMute, Mute, mute_of
from service.alerts.table import Table
from service.cluster.client import ApiAway, ApiError, Cluster
from service.cluster.discovery import Discovery, NoSuchKind, Resource
from service.cluster.status import patch_status, remove_finalizer
from service.kinds.codec import Invalid, decode, refused_fields
from service.kinds.meta import (
    DELIVERING,
    FAILED,
    FINALIZER,
    MUTED,
    NOTIFICATION_FAILED,
    READY,
    STALLED,
    SUCCEEDED,
    VALIDATION_FAILED,
    Condition,
    Metadata,
    ObjectKey,
    format_time,
)
from service.kinds.notification import Alert, Provider, StaticStatus
from service.reconcile.conditions import condition, merged
from service.reconcile.outcome import Failed, Outcome
from service.reconcile.queue import Trigger
from service.state import moments
from service.state.letters import Sender

Raw = Mapping[str, Any]
SenderOf = Callable[[ObjectKey], Sender | None]
_BARE: Mapping[str, Raw] = {
    "Alert": {"providerRef": {"name": "none"}, "eventSources": [{"kind": "Kustomization", "name": "none"}]},
    "Provider": {"type": "slack"},
}


class StaticReconciler:
    """For one of the two kinds; `objects` is its watch's cache; `sender_of` says what became of its messages. With `shadow` nothing is
    written."""

    def __init__(
        self,
        kind: Literal["Alert", "Provider"],
        cluster: Cluster,
        discovery: Discovery,
        *,
        objects: Mapping[tuple[str, str], Raw],
        table: Table,
        shadow: bool = False,
    ) -> None:
        self.kind: str = kind
        self._cluster = cluster
        self._discovery = discovery
        self._objects = objects
        self._table = table
        self.sender_of: SenderOf = _nothing_known
        self._shadow = shadow
        self._without_status: set[str] = set()

    async def reconcile(self, key: ObjectKey, triggers: tuple[Trigger, ...]) -> Outcome:
        """Bring the status of one object up to date. Raises Failed."""
        object_ = self._objects.get((key.namespace, key.name))
        if object_ is None:
            return Outcome(result="gone")
        try:
            if object_["metadata"].get("deletionTimestamp"):
                return await self._let_go(key, object_)
            return await self._report(key, object_)
        except (ApiAway, ApiError, NoSuchKind) as error:
            raise Failed(FAILED, f"the API server does not answer as it should: {error}") from error

    async def _let_go(self, key: ObjectKey, object_: Raw) -> Outcome:
        """Flux's controller puts its finalizer on Providers; when it is gone, nobody else would take it off."""
        if FINALIZER in (object_["metadata"].get("finalizers") or ()) and not self._shadow:
            await remove_finalizer(self._cluster, await self._resource(object_), key.namespace, key.name, FINALIZER)
        return Outcome(result="gone")

    async def _report(self, key: ObjectKey, object_: Raw) -> Outcome:
        metadata, status, problem = self._read(object_)
        sender = self.sender_of(key)
        mute = _mute(metadata)
        now = [*_conditions(problem, metadata.generation), *_delivering(sender, metadata.generation), _muted(mute, metadata.generation)]
        after = merged(status.conditions, now)
        again = None if mute is None else max(mute.until - moments.now(), timedelta(0))
        handled = metadata.requested_at or status.last_handled_reconcile_at
        result: Literal["stalled", "succeeded", "unchanged"] = "stalled" if problem else "succeeded"
        told = _told(sender)
        before = object_.get("status") or {}
        same = (status.conditions, status.observed_generation, status.last_handled_reconcile_at) == (after, metadata.generation, handled)
        if same and all(before.get(name) == value for name, value in told.items()):
            return Outcome(result="stalled" if problem else "unchanged", message=problem, requeue_after=again)
        patch: dict[str, Any] = {"observedGeneration": metadata.generation, "conditions": [each.to_json() for each in after], **told}
        await self._patch(key, object_, patch | ({"lastHandledReconcileAt": handled} if handled else {}))
        return Outcome(result=result, message=problem, requeue_after=again)

    def _read(self, object_: Raw) -> tuple[Metadata, StaticStatus, str]:
        """The typed parts, and why the object cannot be carried out, "" where it can."""
        try:
            found = _decoded(self.kind, object_)
        except Invalid as error:
            bare = _decoded(self.kind, {**object_, "spec": _BARE[self.kind]})
            return bare.metadata, bare.status, str(error)
        refused = refused_fields(object_)
        if refused:
            return found.metadata, found.status, f"{', '.join(refused)}: {ADVICE}"
        return found.metadata, found.status, self._table.problem(found) if isinstance(found, Provider) else ""

    async def _patch(self, key: ObjectKey, object_: Raw, status: Raw) -> None:
        resource = await self._resource(object_)
        if self._shadow or resource.api_version in self._without_status:
            return
        try:
            await patch_status(self._cluster, resource, key.namespace, key.name, status)
        except ApiError as error:
            if not error.not_found:
                raise
            if (key.namespace, key.name) in self._objects:
                self._without_status.add(resource.api_version)

    async def _resource(self, object_: Raw) -> Resource:
        return await self._discovery.resource(str(object_.get("apiVersion") or ""), self.kind)


def _decoded(kind: str, object_: Raw) -> Alert | Provider:
    return decode(Alert, object_) if kind == "Alert" else decode(Provider, object_)


def _conditions(problem: str, generation: int) -> list[Condition]:
    if problem:
        return [
            condition(READY, "False", VALIDATION_FAILED, problem, generation),
            condition(STALLED, "True", VALIDATION_FAILED, problem, generation),
        ]
    return [condition(READY, "True", SUCCEEDED, "Initialized", generation), condition(STALLED, "False", "", "", generation)]


def _nothing_known(_key: ObjectKey) -> Sender | None:
    return None


def _mute(metadata: Metadata) -> Mute | None:
    """The mute of an Alert; one that cannot be used is told when a message comes."""
    try:
        return mute_of(metadata.annotations, moments.now())
    except BadMute:
        return None


def _muted(mute: Mute | None, generation: int) -> Condition:
    if mute is None:
        return condition(MUTED, "False", "", "", generation)
    return condition(MUTED, "True", MUTED, f"{mute.words()}; what comes meanwhile is held", generation)


def _delivering(sender: Sender | None, generation: int) -> list[Condition]:
    """Whether messages reach the target; nothing before the first."""
    if sender is None or (sender.last_sent_at is None and sender.last_error_at is None):
        return []
    if sender.failing_since is None:
        return [condition(DELIVERING, "True", SUCCEEDED, "messages are taken", generation)]
    return [condition(DELIVERING, "False", NOTIFICATION_FAILED, sender.last_error, generation)]


def _told(sender: Sender | None) -> dict[str, Any]:
    if sender is None:
        return {}
    told: dict[str, Any] = {"lastError": sender.last_error, "queueLength": sender.queued, "deadLetters": sender.dead}
    return told | ({"lastSentAt": format_time(sender.last_sent_at)} if sender.last_sent_at else {})
