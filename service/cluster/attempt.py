"""One object on its way to the cluster: look at the live one, try (dry run), write. What a whole apply is made of.

https://kubernetes.io/docs/reference/using-api/server-side-apply/, https://github.com/fluxcd/pkg/blob/main/ssa/manager_apply.go
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from service import crash
from service.cluster.annotations import FORCE, IF_NOT_PRESENT, NEVER_APPLIED, OWNER_NAME, OWNER_NAMESPACE, matches
from service.cluster.built import Built
from service.cluster.changes import Action, Change, Owner
from service.cluster.client import APPLY_PATCH, JSON_PATCH, Answer, ApiError, Cluster, ClusterError
from service.cluster.discovery import Discovery, NoSuchKind, Resource, object_path
from service.cluster.drift import differences, same
from service.cluster.health import wait_gone
from service.cluster.ignoring import IgnoreRule, appliers_beside, as_live, named_by, payload
from service.cluster.inventory import ObjectId
from service.cluster.managed import stand_of
from service.cluster.ownership import takeover
from service.cluster.refusals import is_immutable

log = logging.getLogger(__name__)

GONE_WITHIN = timedelta(seconds=60)
SERVED_WITHIN = timedelta(seconds=10)
_CONFLICTS = 3

Mode = Literal["changed", "full"]
Leaves = Callable[[Built, Mapping[str, Any] | None], bool]
"""Whether drift of an object (as built, as it is live or None) is only reported."""


def leaves_none(_built: Built, _live: Mapping[str, Any] | None) -> bool:
    """All drift is undone."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the caller asked for. `coming`: the ("kind", group/kind) and ("namespace", name) of this run, unknown to the server yet."""

    mode: Mode
    owner: Owner
    force: bool
    dry_run: bool
    coming: frozenset[tuple[str, str]]
    leaves: Leaves = leaves_none
    ignore: Sequence[IgnoreRule] = ()


@dataclass(slots=True)
class Plan:
    """One object and what is known about it so far."""

    built: Built
    object: ObjectId
    resource: Resource | None = None
    live: dict[str, Any] | None = None
    patch: list[dict[str, Any]] = field(default_factory=list)  # takes over the fields of other managers
    action: Action | None = None  # decided: nothing more is sent
    left: bool = False  # drift is reported, not undone
    tried: bool = False
    recreate: bool = False
    body: bytes | None = None  # what is written in place of the built one
    error: ClusterError | None = None
    result: dict[str, Any] | None = None  # as it is after the write, or would be

    @property
    def group(self) -> str:
        return self.object.group

    @property
    def kind(self) -> str:
        return self.object.kind

    @property
    def namespace(self) -> str:
        return self.object.namespace

    @property
    def name(self) -> str:
        return self.object.name

    @property
    def path(self) -> str:
        assert self.resource is not None
        return object_path(self.resource, self.namespace, self.name)

    @property
    def change(self) -> Change | None:
        """The entry of the change set, None while nothing is decided."""
        if self.action is None:
            return None
        stands = self.live if self.action in ("unchanged", "drifted") else self.result
        differs = self.action in ("configured", "drifted") and self.live is not None and self.result is not None
        return Change(
            object=self.object,
            action=self.action,
            stand=stand_of(stands) if stands is not None and self.action != "skipped" else None,
            fields=differences(self.live, self.result) if differs and self.live and self.result else (),
        )


class Attempt:
    """The three steps, each for one plan; a bounded number of requests at a time over all of them. Each raises ClusterError."""

    def __init__(self, cluster: Cluster, discovery: Discovery, *, manager: str, override: Sequence[str], concurrency: int) -> None:
        self._cluster = cluster
        self._discovery = discovery
        self._manager = manager
        self._override = tuple(override)
        self._slots = asyncio.Semaphore(concurrency)

    async def look(self, order: Order, plan: Plan) -> None:
        """Read the live object and decide what may not be touched."""
        if matches(plan.built.marks, *NEVER_APPLIED):
            plan.action = "skipped"
            return
        try:
            plan.resource = await self._discovery.resource(plan.built.api_version, plan.kind)
        except NoSuchKind:
            if ("kind", f"{plan.group}/{plan.kind}") not in order.coming:
                raise
            plan.action = "created"
            return
        if plan.resource.namespaced and not plan.namespace:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        plan.live = await self._get(plan.path)
        if plan.live is None:
            plan.left = order.leaves(plan.built, None)
            if ("namespace", plan.namespace) in order.coming and await self._get(f"/api/v1/namespaces/{plan.namespace}") is None:
                plan.action = "created"
            return
        if matches(plan.live["metadata"], *NEVER_APPLIED) or matches(plan.built.marks, IF_NOT_PRESENT):
            plan.action = "skipped"
            return
        plan.patch = takeover(plan.live, plan.built.marks, manager=self._manager, also=self._override)
        _warn_of_other_owner(plan.live, order.owner, plan.object)
        plan.left = order.leaves(plan.built, plan.live)

    async def trial(self, order: Order, plan: Plan) -> None:
        """Dry run. Decides `unchanged`, and where nothing is to be written all else too."""
        plan.tried = True
        try:
            answer = await self._patch(plan, dry_run=True)
        except ApiError as error:
            if not _may_recreate(order, plan, error):
                raise
            plan.recreate = True
            if order.dry_run:
                plan.action = "created"
            return
        tried = self._without_ignored(order, plan, answer.body)
        if plan.live is not None and not plan.patch and same(plan.live, tried):
            plan.action = "unchanged"
        elif plan.left:
            plan.action, plan.result = "drifted", tried
        elif order.dry_run:
            plan.action = "created" if plan.live is None else "configured"

    def _without_ignored(self, order: Order, plan: Plan, tried: dict[str, Any]) -> dict[str, Any]:
        """What the apply comes to without the fields that are left to others; sees to it that the write is of that, too."""
        pointers = named_by(order.ignore, tried) if plan.live is not None else ()
        if not pointers or plan.live is None:
            return tried
        taken = next((each["value"] for each in plan.patch if each["path"] == "/metadata/managedFields"), None)
        entries = taken if taken is not None else plan.live["metadata"].get("managedFields") or ()
        theirs = appliers_beside(entries, self._manager)
        plan.body = payload(plan.built.body, plan.live, tried, pointers=pointers, theirs=theirs)
        return as_live(tried, plan.live, pointers)

    async def write(self, order: Order, plan: Plan) -> None:
        """Apply for real; what is immutable is deleted and created anew where the order or the object allows it."""
        if plan.patch:
            await self._take_over(plan)
        if not plan.recreate:
            try:
                return self._written(plan, await self._patch(plan, dry_run=False))
            except ApiError as error:
                if not _may_recreate(order, plan, error):
                    raise
        await self._delete_live(plan)
        plan.live = plan.body = None
        return self._written(plan, await self._patch(plan, dry_run=False))

    def _written(self, plan: Plan, answer: Answer) -> None:
        crash.point("apply.first")
        plan.result = answer.body
        before = plan.live["metadata"].get("resourceVersion") if plan.live is not None else None
        if answer.status == 201 or before is None:
            plan.action = "created"
        elif plan.patch or before != answer.body["metadata"].get("resourceVersion"):
            plan.action = "configured"
        else:
            plan.action = "unchanged"

    async def _get(self, path: str) -> dict[str, Any] | None:
        try:
            return (await self._request("GET", path)).body
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def _patch(self, plan: Plan, *, dry_run: bool) -> Answer:
        query = {"fieldManager": self._manager, "force": "true"}
        if dry_run:
            query["dryRun"] = "All"
        clock = asyncio.get_running_loop().time
        until = clock() + SERVED_WITHIN.total_seconds()
        body = plan.body if plan.body is not None and not dry_run else plan.built.body
        while True:
            try:
                return await self._request("PATCH", plan.path, query=query, body=body, content_type=APPLY_PATCH)
            except ApiError as error:
                # a kind that was established a moment ago: the path itself, not the object, is not there yet
                if not error.not_found or error.reason or clock() > until:
                    raise
            await asyncio.sleep(0.1)

    async def _take_over(self, plan: Plan) -> None:
        """Make us the manager of what kubectl or an old version of Flux managed."""
        for attempt in range(1, _CONFLICTS + 1):
            query = {"fieldManager": self._manager}
            try:
                await self._request("PATCH", plan.path, query=query, body=plan.patch, content_type=JSON_PATCH)
            except ApiError as error:
                if error.status != 409 or attempt == _CONFLICTS:
                    raise
            else:
                log.info("took over fields of other managers", extra={"object": str(plan.object)})
                return
            live = await self._get(plan.path)
            again = takeover(live, plan.built.marks, manager=self._manager, also=self._override) if live is not None else []
            if not again:
                return
            plan.patch = again

    async def _delete_live(self, plan: Plan) -> None:
        assert plan.live is not None
        assert plan.resource is not None
        uid = plan.live["metadata"]["uid"]
        log.warning("deleting an object to create it anew: fields of it are immutable", extra={"object": str(plan.object)})
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background", "preconditions": {"uid": uid}}
        try:
            await self._request("DELETE", plan.path, body=body)
        except ApiError as error:
            if not error.not_found:
                raise
        if not await wait_gone(self._cluster, plan.resource, plan.object, uid=uid, timeout=GONE_WITHIN):
            raise ApiError(
                409, "Conflict", f"it is being deleted to be created anew, but still there after {GONE_WITHIN.seconds} s (finalizers?)"
            )

    async def _request(self, method: str, path: str, **arguments: Any) -> Answer:
        async with self._slots:
            return await self._cluster.request(method, path, **arguments)


def _may_recreate(order: Order, plan: Plan, error: ApiError) -> bool:
    if plan.live is None or not is_immutable(error):
        return False
    return order.force or matches(plan.built.marks, FORCE) or matches(plan.live["metadata"], FORCE)


def _warn_of_other_owner(live: dict[str, Any], owner: Owner, object: ObjectId) -> None:
    labels = live["metadata"].get("labels") or {}
    other = (labels.get(OWNER_NAMESPACE), labels.get(OWNER_NAME))
    if None not in other and other != (owner.namespace, owner.name):
        log.warning("the object belonged to another Kustomization", extra={"object": str(object), "owner": f"{other[0]}/{other[1]}"})
