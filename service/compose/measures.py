"""What dashboards made for Flux ask of an engine: conditions and suspension of each object, runs and queues of each controller.

In: the watch caches, the ends of runs, the queues. Out: series as fluxcd/pkg/runtime/metrics and controller-runtime have them.
The series of objects are read off the caches when they are asked for, so what is gone has none, and nothing is kept twice.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from prometheus_client import Metric
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from service.metrics import Metrics, Series
from service.reconcile.worker import Run, Worker

CONDITION, SUSPENDED = "gotk_reconcile_condition", "gotk_suspend_status"
CONDITION_HELP = "The current condition status of a GitOps Toolkit resource reconciliation."
SUSPENDED_HELP = "The current suspend status of a GitOps Toolkit resource."
STATUSES = ("True", "False", "Unknown", "Deleted")  # Deleted is always 0: dashboards subtract its sum
RESULTS = {"failed": "error", "waiting": "requeue_after", "progressing": "success", "stalled": "error"}

Caches = Mapping[str, Mapping[tuple[str, str], Mapping[str, Any]]]


class ObjectGauges(Collector):
    """The conditions of all objects, and whether they are suspended. `caches`: objects by namespace and name, by kind."""

    def __init__(self, caches: Caches) -> None:
        self._caches = caches

    def describe(self) -> Iterable[Metric]:
        return [GaugeMetricFamily(CONDITION, CONDITION_HELP), GaugeMetricFamily(SUSPENDED, SUSPENDED_HELP)]

    def collect(self) -> Iterable[Metric]:
        yield Series(CONDITION, CONDITION_HELP, "gauge", self._conditions)
        yield Series(SUSPENDED, SUSPENDED_HELP, "gauge", self._suspended)

    def _objects(self) -> Iterator[tuple[dict[str, str], Mapping[str, Any]]]:
        for kind, cache in self._caches.items():
            for namespace, name in tuple(cache):
                if (found := cache.get((namespace, name))) is not None:
                    yield {"kind": kind, "name": name, "namespace": namespace}, found

    def _conditions(self) -> Iterator[Sample]:
        for labels, found in self._objects():
            listed = (found.get("status") or {}).get("conditions") or ()
            by_type = {str(each.get("type")): str(each.get("status")) for each in listed if isinstance(each, Mapping)}
            for type, status in ({"Ready": "Unknown"} | by_type).items():
                for one in STATUSES if type == "Ready" else STATUSES[:3]:
                    yield Sample(CONDITION, {**labels, "type": type, "status": one}, float(one == status))

    def _suspended(self) -> Iterator[Sample]:
        for labels, found in self._objects():
            yield Sample(SUSPENDED, labels, float((found.get("spec") or {}).get("suspend") is True))


class ControllerMetrics:
    """Counts the runs of the controllers, by controller-runtime's names."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def watch(self, worker: Worker, controller: str) -> None:
        """Read the queue of a worker under its controller's name."""
        metrics, queue = self._metrics, worker.queue
        metrics.workers.labels(controller).set(worker.concurrency)
        metrics.active_workers.labels(controller).set_function(partial(getattr, queue, "running"))
        metrics.depth.labels(controller).set_function(partial(getattr, queue, "due"))
        metrics.longest.labels(controller).set_function(partial(getattr, queue, "longest_seconds"))

    def ran(self, run: Run) -> None:
        """One more."""
        controller = run.key.kind.lower()
        result = RESULTS.get(run.outcome.result, "success")
        if result == "success" and run.outcome.requeue_after is not None:
            result = "requeue_after"
        self._metrics.runs_total.labels(controller, result).inc()
        if result == "error":
            self._metrics.run_errors_total.labels(controller).inc()
        self._metrics.run_seconds.labels(controller).observe(run.seconds)

    def answered(self, method: str, host: str, status: int) -> None:
        """The API server answered a request; status 0 where it did not."""
        self._metrics.requests_total.labels(str(status) if status else "<error>", method, host).inc()
