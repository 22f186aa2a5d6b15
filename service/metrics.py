"""Metrics in one place, by Flux's names where Flux has one. https://prometheus.io/docs/practices/naming/"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """Every metric of the service, on its own registry."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        on = self.registry
        self.hook_seconds = Histogram("gotk_receiver_http_request_duration_seconds", "Hook requests", ["code"], registry=on, buckets=FAST)
        self.event_seconds = Histogram(
            "gotk_event_http_request_duration_seconds", "Event intake requests", ["code"], registry=on, buckets=FAST
        )
        self.reconcile_seconds = Histogram("gotk_reconcile_duration_seconds", "Reconciles", ["kind", "name", "namespace"], registry=on)
        self.reconcile_total = Counter("sluice_reconcile_total", "Reconciles by outcome", ["kind", "outcome"], registry=on)
        self.moved_total = Counter("sluice_moved_total", "Kustomizations moved to a new revision without a build", registry=on)
        self.loop_lag_seconds = Histogram("sluice_loop_lag_seconds", "How late the event loop runs", registry=on, buckets=FAST)
        self.queue_length = Gauge("sluice_queue_length", "Objects that wait for a reconcile", ["kind"], registry=on)
        self.inbox_pending = Gauge("sluice_inbox_pending", "Deliveries that are not done", registry=on)
        self.outbox_pending = Gauge("sluice_outbox_pending", "Messages that are not sent", registry=on)
        self.alerts_total = Counter("sluice_alerts_total", "Messages by provider type and outcome", ["provider", "outcome"], registry=on)
        self.leader = Gauge("sluice_leader", "1 while the Lease of the controller is held", ["lease"], registry=on)

    def forget(self, *, kind: str, name: str, namespace: str) -> None:
        """Drop the series of an object that is gone; nothing happens where there is none."""
        self.reconcile_seconds.remove_by_labels({"kind": kind, "name": name, "namespace": namespace})
