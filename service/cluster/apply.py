"""Built objects in, a changed cluster out: server-side apply in stages, under Flux's field manager.

Each stage is looked at and tried (dry run) as a whole before any of it is written, so that a refused object leaves its stage untouched.
https://github.com/fluxcd/pkg/blob/main/ssa/manager_apply.go
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import timedelta

from service.cluster.attempt import Attempt, Leaves, Mode, Order, Plan, leaves_none
from service.cluster.built import Built
from service.cluster.changes import Action, Change, ChangeSet, Owner
from service.cluster.client import ApiAway, ApiError, Cluster, ClusterError
from service.cluster.discovery import Discovery
from service.cluster.health import HealthError, Status, status_of, wait_healthy
from service.cluster.ignoring import IgnoreRule
from service.cluster.refusals import ApplyFailed, apply_failed, dry_run_failed, joined
from service.cluster.stages import staged

__all__ = ["Action", "Applier", "ApplyFailed", "Built", "Change", "ChangeSet", "Mode", "Owner"]

CONCURRENCY = 8
STAGE_READY_WITHIN = timedelta(seconds=60)

BeforeWrite = Callable[[Sequence[str]], Awaitable[None]]


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
        self._concurrency = concurrency
        self._attempt = Attempt(cluster, discovery, manager=field_manager, override=override_managers, concurrency=concurrency)

    async def apply(  # noqa: PLR0913 - the caller's choices, all by keyword
        self,
        built: Sequence[Built],
        *,
        mode: Mode,
        owner: Owner,
        force: bool = False,
        timeout: timedelta,
        dry_run: bool = False,
        before_write: BeforeWrite | None = None,
        leaves: Leaves = leaves_none,
        ignore: Sequence[IgnoreRule] = (),
    ) -> ChangeSet:
        """Apply the objects and say what happened to each.

        `changed` is for objects that are known to differ from what was applied last: a look at the live object (may it be applied at
        all?), a dry run of the stage if more than one is to be sent, then the patch. `full` tries all and patches only what differs from
        the live state (drift). `force` deletes and creates anew what has immutable fields changed. With `dry_run` nothing is written.
        `before_write` is awaited before the first write of each stage with the objects (KIND/NS/NAME) that are about to be written.
        What `leaves` says yes to is tried, and not written where it differs. `ignore` names fields that are left to others.
        Raises ApplyFailed, which names each refused object and has what was done before.
        """
        done: list[Change] = []
        coming = _coming(built) if dry_run else frozenset()
        order = Order(mode=mode, owner=owner, force=force, dry_run=dry_run, coming=coming, leaves=leaves, ignore=ignore)
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                for runs in staged([Plan(built=one, object=one.object) for one in built]):
                    await self._stage(order, runs, done, before_write)
        except TimeoutError as error:
            message = f"apply did not end within {timeout.total_seconds():g} s; {len(done)} of {len(built)} objects were through"
            raise ApplyFailed(message, ChangeSet(tuple(done)), None) from error
        return ChangeSet(tuple(done))

    async def _stage(self, order: Order, runs: tuple[tuple[Plan, ...], ...], done: list[Change], before_write: BeforeWrite | None) -> None:
        plans = [plan for run in runs for plan in run]
        try:
            await self._each(plans, lambda plan: self._attempt.look(order, plan))
            _check(plans, done)
            sending = _undecided(plans)
            whole = order.mode == "full" or order.dry_run or len(sending) > 1 or bool(order.ignore)
            trying = [plan for plan in sending if whole or plan.left]
            if trying:
                await self._each(trying, lambda plan: self._attempt.trial(order, plan))
                _check(plans, done)
            sending = _undecided(plans)
            if sending and before_write is not None:
                await before_write([str(plan.object) for plan in sending])
            for run in runs:
                await self._each(_undecided(run), lambda plan: self._attempt.write(order, plan))
                _check(plans, done, writing=True)
        finally:
            done.extend(change for plan in plans if (change := plan.change) is not None)
        await self._established(plans, done)

    async def _established(self, plans: Iterable[Plan], done: list[Change]) -> None:
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

    async def _each(self, plans: Sequence[Plan], work: Callable[[Plan], Awaitable[None]]) -> None:
        """Do the work for each plan, a bounded number at a time; errors are noted there. Starts nothing more once the server is away."""
        left = iter(plans)
        away = False

        async def some() -> None:
            nonlocal away
            for plan in left:
                if away:
                    plan.error = ApiAway("not tried: the API server is away")
                    continue
                try:
                    await work(plan)
                except ClusterError as error:
                    plan.error = error
                    away = isinstance(error, ApiAway)

        if len(plans) <= 1:
            await some()
            return
        async with asyncio.TaskGroup() as tasks:
            for number in range(min(self._concurrency, len(plans))):
                tasks.create_task(some(), name=f"apply {number}")


_DEFINES = frozenset({"CustomResourceDefinition", "Namespace", "ClusterRole"})


def _undecided(plans: Iterable[Plan]) -> list[Plan]:
    return [plan for plan in plans if plan.action is None]


def _check(plans: Sequence[Plan], done: Sequence[Change], *, writing: bool = False) -> None:
    """Raise ApplyFailed if some of the plans failed."""
    failed = [(plan, plan.error) for plan in plans if plan.error is not None]
    if not failed:
        return
    first = next((error for _, error in failed if isinstance(error, ApiAway)), failed[0][1])
    if isinstance(first, ApiAway):
        failed = [(plan, error) for plan, error in failed if error is first]  # the rest was not tried, or is as away
    messages = []
    for plan, error in failed:
        # a single object's patch is its own trial: a refusal has the same words whether or not there was a dry run before
        refused = isinstance(error, ApiError) and error.status < 500 and not plan.tried
        if writing and not refused:
            messages.append(apply_failed(plan.object, error))
        else:
            namespaced = plan.resource is not None and plan.resource.namespaced
            messages.append(dry_run_failed(plan.object, error, namespaced=namespaced))
    changed = [change for plan in plans if (change := plan.change) is not None]
    raise ApplyFailed(joined(messages), ChangeSet((*done, *changed)), first) from first


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
