"""Receivers: the object's path, conditions and finalizer, as notification-controller writes them.

In: a key from the queue. Out: `status.webhookPath` and a Ready condition whose message says what to do. Deliveries do not wait for this:
the index serves them from the moment a Receiver's Secret was read. https://fluxcd.io/flux/components/notification/receivers/#receiver-status
"""

from collections.abc import Iterable, Mapping
from typing import Any

from service.cluster.client import ApiAway, ApiError, Cluster
from service.cluster.discovery import Discovery, NoSuchKind, Resource
from service.cluster.status import add_finalizer, patch_status, remove_finalizer
from service.kinds.codec import Invalid, decode, refused_fields
from service.kinds.meta import (
    FAILED,
    FINALIZER,
    INVALID_CEL,
    PROGRESSING_WITH_RETRY,
    READY,
    RECONCILING,
    STALLED,
    SUCCEEDED,
    TOKEN_NOT_FOUND,
    VALIDATION_FAILED,
    Condition,
    ObjectKey,
)
from service.kinds.notification import Receiver
from service.reconcile.conditions import condition, merged
from service.reconcile.outcome import Failed, Outcome, Stalled
from service.reconcile.queue import Trigger
from service.triggers.credentials import PREVIOUS, NoToken
from service.triggers.index import Entry, ReceiverIndex
from service.triggers.problems import expression_problem, problem_of


class ReceiverReconciler:
    """Carries out one Receiver. With `shadow` nothing is written: the index alone takes effect."""

    kind = "Receiver"

    def __init__(
        self,
        cluster: Cluster,
        discovery: Discovery,
        *,
        objects: Mapping[tuple[str, str], Mapping[str, Any]],
        index: ReceiverIndex,
        shadow: bool = False,
    ) -> None:
        self._cluster = cluster
        self._discovery = discovery
        self._objects = objects
        self._index = index
        self._shadow = shadow

    async def reconcile(self, key: ObjectKey, triggers: tuple[Trigger, ...]) -> Outcome:
        """Bring one Receiver's status up to date. Raises Stalled, Failed."""
        object_ = self._objects.get((key.namespace, key.name))
        if object_ is None:
            return Outcome(result="gone")
        metadata = object_.get("metadata") or {}
        held = FINALIZER in (metadata.get("finalizers") or ())
        try:
            if metadata.get("deletionTimestamp"):
                if held and not self._shadow:
                    await remove_finalizer(self._cluster, await self._resource(object_), key.namespace, key.name, FINALIZER)
                return Outcome(result="gone")
            if not held and not self._shadow:
                await add_finalizer(self._cluster, await self._resource(object_), key.namespace, key.name, FINALIZER)
            return await self._initialize(key, object_)
        except (ApiAway, ApiError, NoSuchKind) as error:
            raise Failed(FAILED, f"the API server does not answer as it should: {error}") from error

    async def _initialize(self, key: ObjectKey, object_: Mapping[str, Any]) -> Outcome:
        try:
            receiver = decode(Receiver, object_)
            problem = problem_of(receiver, refused_fields(object_))
        except Invalid as error:
            await self._report_invalid(key, object_, str(error))
            raise Stalled(VALIDATION_FAILED, str(error)) from error
        if receiver.spec.suspend:
            await self._note_request(receiver, object_)
            return Outcome(result="suspended")
        if problem:
            await self._report(receiver, object_, path="", conditions=_stalled(receiver, VALIDATION_FAILED, problem))
            raise Stalled(VALIDATION_FAILED, problem)
        bad = expression_problem(receiver)
        if bad:  # the path stays, as with Flux
            await self._report(receiver, object_, path=receiver.status.webhook_path, conditions=_stalled(receiver, INVALID_CEL, bad))
            raise Stalled(INVALID_CEL, bad)
        try:
            entry = await self._index.load(key)
        except NoToken as error:
            await self._report(receiver, object_, path="", conditions=_retried(receiver, TOKEN_NOT_FOUND, str(error)))
            raise Failed(TOKEN_NOT_FOUND, str(error)) from error
        if entry is None:
            return Outcome(result="gone")
        message = f"Receiver initialized for path: {entry.path}{_rotation(entry)}"
        ready = condition(READY, "True", SUCCEEDED, message, receiver.metadata.generation)
        changed = await self._report(receiver, object_, path=entry.path, conditions=[ready, *_cleared(receiver)])
        return Outcome(result="succeeded" if changed else "unchanged", requeue_after=receiver.spec.interval)

    async def _report(self, receiver: Receiver, object_: Mapping[str, Any], *, path: str, conditions: Iterable[Condition]) -> bool:
        """Patch the status if anything in it is different, and say whether it was."""
        after = merged(receiver.status.conditions, conditions)
        generation, handled = receiver.metadata.generation, receiver.metadata.requested_at or receiver.status.last_handled_reconcile_at
        failing = any(each.type == RECONCILING for each in after)
        observed = receiver.status.observed_generation if failing else generation
        now = (path, observed, handled, after)
        status = receiver.status
        if now == (status.webhook_path, status.observed_generation, status.last_handled_reconcile_at, status.conditions):
            return False
        patch: dict[str, Any] = {"webhookPath": path or None, "observedGeneration": observed, "conditions": [c.to_json() for c in after]}
        if handled:
            patch["lastHandledReconcileAt"] = handled
        await self._patch_status(receiver.key, object_, patch)
        return True

    async def _note_request(self, receiver: Receiver, object_: Mapping[str, Any]) -> None:
        """Only that a requested reconcile was seen: who asked for it waits for that."""
        asked = receiver.metadata.requested_at
        if asked and asked != receiver.status.last_handled_reconcile_at:
            await self._patch_status(receiver.key, object_, {"lastHandledReconcileAt": asked})

    async def _report_invalid(self, key: ObjectKey, object_: Mapping[str, Any], message: str) -> None:
        """The object is not a Receiver as Flux knows it, so that only its conditions can be told."""
        generation = int((object_.get("metadata") or {}).get("generation") or 0)
        now = [
            condition(READY, "False", VALIDATION_FAILED, message, generation),
            condition(STALLED, "True", VALIDATION_FAILED, message, generation),
        ]
        before = (object_.get("status") or {}).get("conditions") or ()
        said = {(each.get("type"), each.get("status"), each.get("message"), each.get("observedGeneration")) for each in before}
        if said != {(each.type, each.status, each.message, each.observed_generation) for each in now}:
            status = {"webhookPath": None, "observedGeneration": generation, "conditions": [each.to_json() for each in now]}
            await self._patch_status(key, object_, status)

    async def _patch_status(self, key: ObjectKey, object_: Mapping[str, Any], status: Mapping[str, Any]) -> None:
        if not self._shadow:
            await patch_status(self._cluster, await self._resource(object_), key.namespace, key.name, status)

    async def _resource(self, object_: Mapping[str, Any]) -> Resource:
        return await self._discovery.resource(str(object_.get("apiVersion") or ""), self.kind)


def _rotation(entry: Entry) -> str:
    """What becomes of a former token, while there is one."""
    if entry.held.problem:
        return f"; {entry.held.problem}"
    return f"; {PREVIOUS} counts until {entry.held.until:%Y-%m-%dT%H:%M:%SZ}" if entry.takes_previous else ""


def _cleared(receiver: Receiver) -> list[Condition]:
    generation = receiver.metadata.generation
    return [condition(RECONCILING, "False", "", "", generation), condition(STALLED, "False", "", "", generation)]


def _stalled(receiver: Receiver, reason: str, message: str) -> list[Condition]:
    generation = receiver.metadata.generation
    return [
        condition(READY, "False", reason, message, generation),
        condition(STALLED, "True", reason, message, generation),
        condition(RECONCILING, "False", "", "", generation),
    ]


def _retried(receiver: Receiver, reason: str, message: str) -> list[Condition]:
    generation = receiver.metadata.generation
    return [
        condition(READY, "False", reason, message, generation),
        condition(RECONCILING, "True", PROGRESSING_WITH_RETRY, message, generation),
        condition(STALLED, "False", "", "", generation),
    ]
