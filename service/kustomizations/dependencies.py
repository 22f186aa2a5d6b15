"""Whether what a Kustomization depends on is there and ready, by Flux's own rules or by the expression that takes their place.

In: `spec.dependsOn` and what is known of each. Out: nothing, or Waiting, or Stalled. An expression reads `self` and `dep`, both whole.
kustomize-controller 1.9, checkDependencies in internal/controller/kustomization_controller.go.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from service.cel import Ask, BadExpression, Evaluator, compile_expression
from service.kinds.kustomize import DependsOn
from service.kinds.meta import ACCESS_DENIED, DEPENDENCY_NOT_READY, INVALID_CEL, KUSTOMIZE_GROUP, ObjectKey
from service.kustomizations.catalog import Catalog
from service.kustomizations.run import Run
from service.reconcile.outcome import Stalled, Waiting
from service.reconcile.queue import CHANGE, Queue, Trigger
from service.sources.snapshot import Snapshot

DEPENDENCY_RETRY = timedelta(seconds=30)
TERMINAL = "Reconciliation failed terminally due to configuration error: terminal error"
_KNOWN = frozenset({"self", "dep"})


async def check_dependencies(run: Run, snapshot: Snapshot) -> None:
    """Raises Waiting, Stalled."""
    rooms = run.rooms
    for reference, need in zip(run.found.spec.depends_on, run.found.dependency_keys, strict=True):
        if rooms.no_cross_namespace and need.namespace != run.key.namespace:
            raise Stalled(ACCESS_DENIED, f"can't access '{need}', cross-namespace references have been blocked")
        settled, dependency = rooms.catalog.settled(need), rooms.catalog.raw(need)
        name = f"{need.namespace}/{need.name}"
        if settled is None or dependency is None:
            absent = f'kustomizations.{KUSTOMIZE_GROUP} "{need.name}" not found'
            raise Waiting(DEPENDENCY_NOT_READY, f"dependency '{name}' not found: {absent}", DEPENDENCY_RETRY)
        if reference.ready_expr:
            await _check_expression(rooms.evaluator, reference, run.raw, dependency, name)
            continue
        if not settled.ready:
            raise Waiting(DEPENDENCY_NOT_READY, f"dependency '{name}' is not ready", DEPENDENCY_RETRY)
        if rooms.catalog.source_of(need) == snapshot.key and not settled.is_at(snapshot.revision, snapshot.tree):
            raise Waiting(DEPENDENCY_NOT_READY, f"dependency '{name}' revision is not up to date", DEPENDENCY_RETRY)


async def _check_expression(
    evaluator: Evaluator, reference: DependsOn, itself: Mapping[str, Any], dependency: Mapping[str, Any], name: str
) -> None:
    try:
        expression = compile_expression(reference.ready_expr, _KNOWN)
    except BadExpression as error:
        raise Stalled(INVALID_CEL, f"{TERMINAL}: failed to evaluate dependency {reference.name}: {error}") from error
    variables = {"self": dict(itself), "dep": dict(dependency)}
    (found,) = await evaluator.evaluate({}, [Ask(expressions=(expression,), variables=variables)])
    if found.problem:
        raise Waiting(DEPENDENCY_NOT_READY, found.problem, DEPENDENCY_RETRY)
    if not found.holds:
        raise Waiting(DEPENDENCY_NOT_READY, f"dependency '{name}' is not ready according to readyExpr eval", DEPENDENCY_RETRY)


class ExpressionWaits:
    """Wakes those whose expression may hold now: it may read anything of the other object, so any change of that counts."""

    def __init__(self, catalog: Catalog, queue: Queue) -> None:
        self._catalog = catalog
        self._queue = queue

    def seen(self, key: ObjectKey, object_: Mapping[str, object] | None) -> None:
        """A Kustomization has changed in the cluster."""
        if object_ is None:
            return
        for dependent in self._catalog.dependents(key):
            settled = self._catalog.settled(dependent)
            if settled is not None and not settled.ready and self._has_expression(dependent):
                self._queue.add(dependent, trigger=Trigger(reason="dependency"), priority=CHANGE)

    def _has_expression(self, key: ObjectKey) -> bool:
        spec = (self._catalog.raw(key) or {}).get("spec") or {}
        return any(isinstance(each, Mapping) and each.get("readyExpr") for each in spec.get("dependsOn") or ())
