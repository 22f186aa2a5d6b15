"""Built objects in, a changed cluster out: server-side apply in stages, under Flux's field manager.

Each stage is looked at and tried (dry run) as a whole before any of it is written, so that a refused object leaves its stage untouched.
https://kubernetes.io/docs/reference/using-api/server-side-apply/, https://github.com/fluxcd/pkg/blob/main/ssa/manager_apply.go
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, TypeVar

from service import crash
from service.cluster.annotations import FORCE, IF_NOT_PRESENT, NEVER_APPLIED, OWNER_NAME, OWNER_NAMESPACE, matches
from service.cluster.built import Built
from service.cluster.changes import Action, Change, ChangeSet, Owner
from service.cluster.client import APPLY_PATCH, JSON_PATCH, Answer, ApiAway, ApiError, Cluster, ClusterError
from service.cluster.discovery import Discovery, NoSuchKind, Resource, object_path
from service.cluster.drift import same
from service.cluster.health import HealthError, Status, status_of, wait_gone, wait_healthy
from service.cluster.inventory import ObjectId
from service.cluster.ownership import takeover
from service.cluster.refusals import ApplyFailed, apply_failed, dry_run_failed, is_immutable, joined
from service.cluster.stages import staged

__all__ = ["Action", "Applier", "ApplyFailed", "Built", "Change", "ChangeSet", "Mode", "Owner"]

log = logging.getLogger(__name__)

CONCURRENCY = 8
STAGE_READY_WITHIN = timedelta(seconds=60)
GONE_WITHIN = timedelta(seconds=60)
SERVED_WITHIN = timedelta(seconds=10)
_CONFLICTS = 3

Mode = Literal["changed", "full"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What the caller asked for."""

    mode: Mode
    owner: Owner
    force: bool
    dry_run: bool
    coming: frozenset[tuple[str, str]]  # ("kind", group/kind) and ("namespace", name) that this run itself creates


@dataclass(slots=True)
class _Plan:
    """One object on its way through a stage."""

    built: Built
    object: ObjectId
    resource: Resource | None = None
    live: dict[str, Any] | None = None
    patch: list[dict[str, Any]] = field(default_factory=list)
    action: Action | None = None  # decided: nothing more is sent
    tried: bool = False
    recreate: bool = False
    error: ClusterError | None = None
    result: dict[str, Any] | None = None

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


class Applier:
    """Applies sets of objects. One for the process: the bound on concurrent requests holds over all that it does."""

    def __init__(
        self,
        cluster: Cluster,
        discovery: Discovery,
        field_manager: str = "kustomize-controller",
        *,
        concurrency: int = CONCURRENCY,
        override_managers: Sequence[str] = (),
    ) -> None:
        self._cluster = cluster
        self._discovery = discovery
        self._manager = field_manager
        self._override = tuple(override_managers)
        self._concurrency = concurrency
        self._slots = asyncio.Semaphore(concurrency)

    async def apply(
        self,
        built: Sequence[Built],
        *,
        mode: Mode,
        owner: Owner,
        force: bool = False,
        timeout: timedelta,
        dry_run: bool = False,
    ) -> ChangeSet:
        """Apply the objects and say what happened to each.

        `changed` is for objects that are known to differ from what was applied last: a look at the live object (may it be applied at
        all?), a dry run of the stage if more than one is to be sent, then the patch. `full` tries all and patches only what differs from
        the live state (drift). `force` deletes and creates anew what has immutable fields changed. With `dry_run` nothing is written.
        Raises ApplyFailed, which names each refused object and has what was done before.
        """
        done: list[Change] = []
        order = _Order(mode=mode, owner=owner, force=force, dry_run=dry_run, coming=_coming(built) if dry_run else frozenset())
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                for runs in staged([_Plan(built=one, object=one.object) for one in built]):
                    await self._stage(order, runs, done)
        except TimeoutError as error:
            message = f"apply did not end within {timeout.total_seconds():g} s; {len(done)} of {len(built)} objects were through"
            raise ApplyFailed(message, ChangeSet(tuple(done)), None) from error
        if not dry_run:
            crash.point("apply.done")
        return ChangeSet(tuple(done))

    async def _stage(self, order: _Order, runs: tuple[tuple[_Plan, ...], ...], done: list[Change]) -> None:
        plans = [plan for run in runs for plan in run]
        try:
            await self._each(plans, lambda plan: self._look(order, plan))
            self._check(plans, done, dry_run_failed)
            sending = [plan for plan in plans if plan.action is None]
            if order.mode == "full" or order.dry_run or len(sending) > 1:
                await self._each(sending, lambda plan: self._try(order, plan))
                self._check(plans, done, dry_run_failed)
            for run in runs:
                await self._each([plan for plan in run if plan.action is None], lambda plan: self._send(order, plan))
                self._check(plans, done, apply_failed)
        finally:
            done.extend(Change(object=plan.object, action=plan.action) for plan in plans if plan.action is not None)
        if not order.dry_run:
            await self._established(plans, done)

    async def _look(self, order: _Order, plan: _Plan) -> None:
        """Read the live object and decide what may not be touched."""
        if matches(plan.built.marks, *NEVER_APPLIED):
            plan.action = "skipped"
            return
        try:
            plan.resource = await self._discovery.resource(plan.built.api_version, plan.kind)
        except NoSuchKind:
            if order.dry_run and ("kind", f"{plan.group}/{plan.kind}") in order.coming:
                plan.action = "created"
                return
            raise
        if plan.resource.namespaced and not plan.namespace:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        try:
            plan.live = (await self._request("GET", plan.path)).body
        except ApiError as error:
            if not error.not_found:
                raise
            if order.dry_run and plan.resource.namespaced and ("namespace", plan.namespace) in order.coming:
                if not await self._there(ObjectId("", plan.namespace, "", "Namespace", "v1")):
                    plan.action = "created"
            return
        if matches(plan.live["metadata"], *NEVER_APPLIED) or matches(plan.built.marks, IF_NOT_PRESENT):
            plan.action = "skipped"
            return
        plan.patch = takeover(plan.live, plan.built.marks, manager=self._manager, also=self._override)
        _warn_of_other_owner(plan.live, order.owner, plan.object)

    async def _there(self, object: ObjectId) -> bool:
        resource = await self._discovery.resource(object.api_version, object.kind)
        try:
            await self._request("GET", object_path(resource, object.namespace, object.name))
        except ApiError as error:
            if error.not_found:
                return False
            raise
        return True

    async def _try(self, order: _Order, plan: _Plan) -> None:
        """Dry run; decides `unchanged`, and in shadow all."""
        plan.tried = True
        try:
            answer = await self._patch(plan, dry_run=True)
        except ApiError as error:
            if not self._may_recreate(order, plan, error):
                raise
            plan.recreate = True
            if order.dry_run:
                plan.action = "created"
            return
        if plan.live is not None and not plan.patch and same(plan.live, answer.body):
            plan.action = "unchanged"
        elif order.dry_run:
            plan.action = "created" if plan.live is None else "configured"

    async def _send(self, order: _Order, plan: _Plan) -> None:
        """Write one object."""
        if plan.patch:
            await self._take_over(plan)
        if not plan.recreate:
            try:
                self._sent(plan, await self._patch(plan, dry_run=False))
                return
            except ApiError as error:
                if not self._may_recreate(order, plan, error):
                    raise
        await self._delete_live(plan)
        plan.live = None
        self._sent(plan, await self._patch(plan, dry_run=False))

    def _sent(self, plan: _Plan, answer: Answer) -> None:
        crash.point("apply.first")
        plan.result = answer.body
        before = plan.live["metadata"].get("resourceVersion") if plan.live is not None else None
        if answer.status == 201 or before is None:
            plan.action = "created"
        elif plan.patch or before != answer.body["metadata"].get("resourceVersion"):
            plan.action = "configured"
        else:
            plan.action = "unchanged"

    async def _patch(self, plan: _Plan, *, dry_run: bool) -> Answer:
        query = {"fieldManager": self._manager, "force": "true"}
        if dry_run:
            query["dryRun"] = "All"
        until = asyncio.get_running_loop().time() + SERVED_WITHIN.total_seconds()
        while True:
            try:
                return await self._request("PATCH", plan.path, query=query, body=plan.built.body, content_type=APPLY_PATCH)
            except ApiError as error:
                # a kind that was established a moment ago: the path itself, not the object, is not there yet
                if not error.not_found or error.reason or asyncio.get_running_loop().time() > until:
                    raise
            await asyncio.sleep(0.1)

    async def _take_over(self, plan: _Plan) -> None:
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
            live = (await self._request("GET", plan.path)).body
            plan.patch = takeover(live, plan.built.marks, manager=self._manager, also=self._override)
            if not plan.patch:
                return

    def _may_recreate(self, order: _Order, plan: _Plan, error: ApiError) -> bool:
        asked = order.force or matches(plan.built.marks, FORCE) or (plan.live is not None and matches(plan.live["metadata"], FORCE))
        return asked and plan.live is not None and is_immutable(error)

    async def _delete_live(self, plan: _Plan) -> None:
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
            raise ApiError(409, "Conflict", f"it was deleted to be created anew, but is still there after {GONE_WITHIN.seconds} s (finalizers?)")

    async def _established(self, plans: Iterable[_Plan], done: list[Change]) -> None:
        """Wait until what this stage defined is usable: only for what was written and is not ready by the answer itself."""
        written = [plan for plan in plans if plan.result is not None and plan.action in ("created", "configured")]
        waited = [plan for plan in written if plan.kind in _DEFINES or plan.kind.endswith("Class")]
        unready = [plan.object for plan in waited if status_of(plan.result).status is not Status.CURRENT]
        if unready:
            try:
                await wait_healthy(self._cluster, self._discovery, unready, timeout=STAGE_READY_WITHIN)
            except HealthError as error:
                raise ApplyFailed(str(error), ChangeSet(tuple(done)), error) from error
        definitions = [plan.result for plan in written if plan.kind == "CustomResourceDefinition" and plan.result is not None]
        if definitions:
            self._discovery.forget()
            for definition in definitions:
                self._discovery.learn(definition)

    def _check(self, plans: Sequence[_Plan], done: list[Change], words: Callable[..., str]) -> None:
        """Raise ApplyFailed if some of the plans failed."""
        failed = [plan for plan in plans if plan.error is not None]
        if not failed:
            return
        messages = []
        for plan in failed:
            assert plan.error is not None
            refused = isinstance(plan.error, ApiError) and plan.error.status < 500 and not plan.tried
            if words is dry_run_failed or refused:  # a single object's patch is its own trial: the same words either way
                namespaced = plan.resource is not None and plan.resource.namespaced
                messages.append(dry_run_failed(plan.object, plan.error, namespaced=namespaced))
            else:
                messages.append(apply_failed(plan.object, plan.error))
        changed = [Change(object=plan.object, action=plan.action) for plan in plans if plan.action is not None]
        raise ApplyFailed(joined(messages), ChangeSet((*done, *changed)), failed[0].error) from failed[0].error

    async def _each(self, plans: Sequence[_Plan], work: Callable[[_Plan], Awaitable[None]]) -> None:
        """Do the work for each plan, a bounded number at a time; errors are noted there. Starts nothing more once the server is away."""
        left = iter(plans)
        away = False

        async def some() -> None:
            nonlocal away
            for plan in left:
                if away:
                    return
                try:
                    await work(plan)
                except ClusterError as error:
                    plan.error = error
                    away = away or isinstance(error, ApiAway)

        if len(plans) == 1:
            await some()
            return
        async with asyncio.TaskGroup() as tasks:
            for number in range(min(self._concurrency, len(plans))):
                tasks.create_task(some(), name=f"apply {number}")

    async def _request(self, method: str, path: str, **arguments: Any) -> Answer:
        async with self._slots:
            return await self._cluster.request(method, path, **arguments)


_DEFINES = frozenset({"CustomResourceDefinition", "Namespace", "ClusterRole"})


def _coming(built: Iterable[Built]) -> frozenset[tuple[str, str]]:
    """The namespaces and kinds that are themselves among the objects: a dry run cannot ask the server about what is in them."""
    coming: set[tuple[str, str]] = set()
    for one in built:
        if one.group == "" and one.kind == "Namespace":
            coming.add(("namespace", one.name))
        elif one.kind == "CustomResourceDefinition":
            spec = json.loads(one.body)["spec"]
            coming.add(("kind", f"{spec['group']}/{spec['names']['kind']}"))
    return frozenset(coming)


def _warn_of_other_owner(live: dict[str, Any], owner: Owner, object: ObjectId) -> None:
    labels = live["metadata"].get("labels") or {}
    other = (labels.get(OWNER_NAMESPACE), labels.get(OWNER_NAME))
    if None not in other and other != (owner.namespace, owner.name):
        log.warning("the object belonged to another Kustomization", extra={"object": str(object), "owner": f"{other[0]}/{other[1]}"})
