"""Metrics in one place, by Flux's names where Flux has one. https://prometheus.io/docs/practices/naming/

Series of single objects are made when they are asked for, one by one: the exposition takes so many at a time that the loop stays free.
https://fluxcd.io/flux/monitoring/metrics/ has the names that dashboards use.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
RANGE = tuple(0.01 * (1800 / 0.01) ** (step / 9) for step in range(10))
"""10 ms to half an hour in ten steps, as fluxcd/pkg/runtime/metrics has them."""


class Series(Metric):
    """A family whose samples are made each time they are looked through."""

    def __init__(self, name: str, documentation: str, typ: str, samples: Callable[[], Iterable[Sample]]) -> None:
        super().__init__(name, documentation, typ)
        self._make = samples

    @property
    def samples(self) -> Any:
        """Looked through like the list that it is elsewhere, and never whole."""
        return self._make()

    @samples.setter
    def samples(self, _value: object) -> None:
        """Metric sets an empty list."""


class ReconcileTimes(Collector):
    """`gotk_reconcile_duration_seconds`, a histogram for each object: eleven numbers, dropped when the object goes."""

    NAME, HELP = "gotk_reconcile_duration_seconds", "The duration in seconds of a GitOps Toolkit resource reconciliation."

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, str], list[int]] = {}
        self._sums: dict[tuple[str, str, str], float] = {}

    def observe(self, seconds: float, *, kind: str, name: str, namespace: str) -> None:
        """One run."""
        key = (kind, name, namespace)
        counts = self._counts.setdefault(key, [0] * (len(RANGE) + 1))
        counts[bisect_left(RANGE, seconds)] += 1
        self._sums[key] = self._sums.get(key, 0.0) + seconds

    def forget(self, *, kind: str, name: str, namespace: str) -> None:
        """The object is gone."""
        self._counts.pop((kind, name, namespace), None)
        self._sums.pop((kind, name, namespace), None)

    def collect(self) -> Iterator[Metric]:
        yield Series(self.NAME, self.HELP, "histogram", self._samples)

    def describe(self) -> Iterator[Metric]:
        yield HistogramMetricFamily(self.NAME, self.HELP)

    def _samples(self) -> Iterator[Sample]:
        for key in tuple(self._counts):
            if (counts := self._counts.get(key)) is None:
                continue  # gone while others were written
            labels = dict(zip(("kind", "name", "namespace"), key, strict=True))
            total, seconds = sum(counts), self._sums[key]
            for bound, count in zip((*RANGE, float("inf")), accumulate(counts), strict=True):
                yield Sample(f"{self.NAME}_bucket", {**labels, "le": _shown(bound)}, float(count))
            yield Sample(f"{self.NAME}_count", labels, float(total))
            yield Sample(f"{self.NAME}_sum", labels, seconds)


class ObjectCounts(Collector):
    """A counter for each object, which goes with it."""

    def __init__(self, name: str, words: str) -> None:
        self._name, self._words = name, words
        self._counts: dict[tuple[str, str, str], int] = {}

    def inc(self, *, kind: str, name: str, namespace: str) -> None:
        """One more."""
        key = (kind, name, namespace)
        self._counts[key] = self._counts.get(key, 0) + 1

    def forget(self, *, kind: str, name: str, namespace: str) -> None:
        """The object is gone."""
        self._counts.pop((kind, name, namespace), None)

    def collect(self) -> Iterator[Metric]:
        yield Series(self._name, self._words, "counter", self._samples)

    def describe(self) -> Iterator[Metric]:
        yield CounterMetricFamily(self._name, self._words)

    def _samples(self) -> Iterator[Sample]:
        for key, count in tuple(self._counts.items()):
            yield Sample(f"{self._name}_total", dict(zip(("kind", "name", "namespace"), key, strict=True)), float(count))


def _shown(bound: float) -> str:
    return "+Inf" if bound == float("inf") else f"{bound:.15g}"


class Named(Protocol):
    """Something with a namespace and a name."""

    @property
    def namespace(self) -> str: ...

    @property
    def name(self) -> str: ...


class Metrics:
    """Every metric of the service, on its own registry."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        on = self.registry
        ProcessCollector(registry=on)
        self.hook_seconds = Histogram("gotk_receiver_http_request_duration_seconds", "Hook requests", ["code"], registry=on, buckets=FAST)
        self.event_seconds = Histogram(
            "gotk_event_http_request_duration_seconds", "Event intake requests", ["code"], registry=on, buckets=FAST
        )
        self.reconcile_seconds = ReconcileTimes()
        on.register(self.reconcile_seconds)
        self.missed_hooks_total = ObjectCounts("sluice_missed_hooks", "Revisions that were found by interval, not by hook")
        on.register(self.missed_hooks_total)
        self.reconcile_total = Counter("sluice_reconcile_total", "Reconciles by outcome", ["kind", "outcome"], registry=on)
        self.moved_total = Counter("sluice_moved_total", "Kustomizations moved to a new revision without a build", registry=on)
        self.loop_lag_seconds = Histogram("sluice_loop_lag_seconds", "How late the event loop runs", registry=on, buckets=FAST)
        self.queue_length = Gauge("sluice_queue_length", "Objects that wait for a reconcile", ["kind"], registry=on)
        self.inbox_pending = Gauge("sluice_inbox_pending", "Deliveries that are not done", registry=on)
        self.outbox_pending = Gauge("sluice_outbox_pending", "Messages that are not sent", registry=on)
        self.alerts_total = Counter("sluice_alerts_total", "Messages by provider type and outcome", ["provider", "outcome"], registry=on)
        of_provider = ["namespace", "name"]
        self.provider_messages = Counter(
            "sluice_provider_messages_total", "Messages by Provider: sent, folded, dead; attempts that failed or are retried",
            [*of_provider, "outcome"], registry=on,
        )  # fmt: skip
        self.provider_seconds = Histogram(
            "sluice_provider_send_seconds", "Attempts that succeeded, by Provider", of_provider, registry=on, buckets=FAST
        )
        self.provider_queue = Gauge("sluice_provider_queue_length", "Messages that wait, by Provider", of_provider, registry=on)
        self.leader = Gauge("sluice_leader", "1 while the Lease of the controller is held", ["lease"], registry=on)
        self.runs_total = Counter(
            "controller_runtime_reconcile_total", "Total number of reconciliations per controller", ["controller", "result"], registry=on
        )
        self.run_errors_total = Counter(
            "controller_runtime_reconcile_errors_total", "Total number of reconciliation errors per controller", ["controller"], registry=on
        )
        self.run_seconds = Histogram(
            "controller_runtime_reconcile_time_seconds", "Length of time per reconciliation per controller", ["controller"], registry=on
        )
        self.workers = Gauge(
            "controller_runtime_max_concurrent_reconciles", "Maximum number of concurrent reconciles", ["controller"], registry=on
        )
        self.active_workers = Gauge(
            "controller_runtime_active_workers", "Number of currently used workers per controller", ["controller"], registry=on
        )
        self.depth = Gauge("workqueue_depth", "Current depth of workqueue", ["name"], registry=on)
        self.longest = Gauge(
            "workqueue_longest_running_processor_seconds", "How many seconds has the longest running processor been running", ["name"],
            registry=on,
        )  # fmt: skip
        self.requests_total = Counter(
            "rest_client_requests_total", "Number of HTTP requests, by status code, method and host", ["code", "method", "host"],
            registry=on,
        )  # fmt: skip

    def delivered(self, provider: "Named", outcome: str, count: int = 1) -> None:
        """Count messages of a Provider."""
        self.provider_messages.labels(provider.namespace, provider.name, outcome).inc(count)

    def took(self, provider: "Named", seconds: float) -> None:
        """One message of a Provider was sent."""
        self.provider_seconds.labels(provider.namespace, provider.name).observe(seconds)

    def forget_provider(self, provider: "Named") -> None:
        """Drop the series of a Provider that is gone."""
        for each in (self.provider_messages, self.provider_seconds, self.provider_queue):
            each.remove_by_labels({"namespace": provider.namespace, "name": provider.name})

    def forget(self, *, kind: str, name: str, namespace: str) -> None:
        """Drop the series of an object that is gone; nothing happens where there is none."""
        self.reconcile_seconds.forget(kind=kind, name=name, namespace=namespace)
