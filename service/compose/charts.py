"""Which sources run when something that they are made from moves.

HelmCharts: an index, a Git or bucket revision, a repository in a registry. GitRepositories: another one that they include.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from service.kinds.meta import ObjectKey
from service.reconcile.queue import CHANGE, Trigger
from service.reconcile.worker import Reconciler
from service.sources.helmchart import HelmChartOrigin
from service.sources.helmrepository import HelmRepositoryOrigin
from service.sources.includes import INCLUDE
from service.sources.indexes import Indexes
from service.sources.reconciler import Needs, SourceReconciler
from service.sources.staticsource import StaticOr

Add = Callable[..., None]
"""Queue.add."""


class Charts:
    """`consumers` are an object's, of all kinds; `repositories` are all HelmRepositories as the API server holds them."""

    def __init__(
        self,
        *,
        consumers: Callable[[ObjectKey], Iterable[ObjectKey]],
        add: Add,
        repositories: Mapping[tuple[str, str], Mapping[str, Any]],
        runs: bool,
    ) -> None:
        self._consumers = consumers
        self._add = add
        self._repositories = repositories
        self._runs = runs

    def reconcilers(self, needs: Needs, *, shadow: bool) -> tuple[Reconciler, ...]:
        """Those of HelmRepository and HelmChart."""
        indexes = Indexes(self.moved)
        repository = SourceReconciler(needs, HelmRepositoryOrigin(needs, indexes), shadow=shadow)
        chart = SourceReconciler(needs, HelmChartOrigin(needs, indexes, self._of_namespace), shadow=shadow)
        return StaticOr(needs, repository, on_run=self.moved, shadow=shadow), chart

    def moved(self, source: ObjectKey, triggers: Iterable[Trigger]) -> None:
        """A source has something new, or may have: its charts and whoever includes it look, each with the traces of what caused it."""
        causes = dict.fromkeys((trigger.trace, trigger.hint) for trigger in triggers) or {("", ""): None}
        for key in sorted(self._consumers(source)):
            reason = {"HelmChart": "source" if self._runs else "", "GitRepository": INCLUDE}.get(key.kind, "")
            for trace, hint in causes if reason else ():
                told = hint if key.kind == "HelmChart" else ""  # a commit of one repository says nothing of another
                self._add(key, trigger=Trigger(reason=reason, trace=trace, hint=told), priority=CHANGE)

    def _of_namespace(self, namespace: str) -> Iterable[Mapping[str, Any]]:
        return (raw for (there, _), raw in list(self._repositories.items()) if there == namespace)
