"""Alerts and Providers as objects: what of them is not carried out stands in their status, and Flux's finalizer goes with them.

In: a key from the queue. Out: a Ready condition where the cluster's definition has a status (ours has one, Flux's v1beta3 has none: there
the Warning that `dispatch` posts has to do). Sending waits for none of this.
https://github.com/fluxcd/notification-controller/blob/main/docs/spec/v1beta3/providers.md
"""

from collections.abc import Mapping
from typing import Any, Literal

from service.alerts.catalog import ADVICE
from service.alerts.table import Table
from service.cluster.client import ApiAway, ApiError, Cluster
from service.cluster.discovery import Discovery, NoSuchKind, Resource
from service.cluster.status import patch_status, remove_finalizer
from service.kinds.codec import Invalid, decode, refused_fields
from service.kinds.meta import FAILED, FINALIZER, READY, STALLED, SUCCEEDED, VALIDATION_FAILED, Condition, Metadata, ObjectKey
from service.kinds.notification import Alert, Provider, StaticStatus
from service.reconcile.conditions import condition, merged
from service.reconcile.outcome import Failed, Outcome
from service.reconcile.queue import Trigger

Raw = Mapping[str, Any]
_BARE: Mapping[str, Raw] = {
    "Alert": {"providerRef": {"name": "none"}, "eventSources": [{"kind": "Kustomization", "name": "none"}]},
    "Provider": {"type": "slack"},
}


class StaticReconciler:
    """For one of the two kinds; `objects` is its watch's cache. With `shadow` nothing is written."""

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
        after = merged(status.conditions, _conditions(problem, metadata.generation))
        handled = metadata.requested_at or status.last_handled_reconcile_at
        result: Literal["stalled", "succeeded", "unchanged"] = "stalled" if problem else "succeeded"
        if (status.conditions, status.observed_generation, status.last_handled_reconcile_at) == (after, metadata.generation, handled):
            return Outcome(result="stalled" if problem else "unchanged", message=problem)
        patch: dict[str, Any] = {"observedGeneration": metadata.generation, "conditions": [each.to_json() for each in after]}
        await self._patch(key, object_, patch | ({"lastHandledReconcileAt": handled} if handled else {}))
        return Outcome(result=result, message=problem)

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
