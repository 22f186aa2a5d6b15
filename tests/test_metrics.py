"""The metrics: Flux's names, and no series for what is gone."""

from prometheus_client import generate_latest

from service.metrics import Metrics

FLUX = ("gotk_reconcile_duration_seconds", "gotk_receiver_http_request_duration_seconds", "gotk_event_http_request_duration_seconds")


def test_flux_own_names_are_there() -> None:
    text = generate_latest(Metrics().registry).decode()
    assert all(f"# TYPE {name} histogram" in text for name in FLUX)


def test_a_deleted_object_leaves_no_series_and_takes_no_other_along() -> None:
    metrics = Metrics()
    for name in ("shop", "blog"):
        metrics.reconcile_seconds.labels("Kustomization", name, "apps").observe(0.1)
    metrics.forget(kind="Kustomization", name="shop", namespace="apps")
    metrics.forget(kind="Kustomization", name="never-seen", namespace="apps")
    text = generate_latest(metrics.registry).decode()
    assert 'name="shop"' not in text
    assert 'name="blog"' in text
