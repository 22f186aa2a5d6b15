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
        metrics.reconcile_seconds.observe(0.1, kind="Kustomization", name=name, namespace="apps")
    metrics.forget(kind="Kustomization", name="shop", namespace="apps")
    metrics.forget(kind="Kustomization", name="never-seen", namespace="apps")
    text = generate_latest(metrics.registry).decode()
    assert 'name="shop"' not in text
    assert 'name="blog"' in text


def test_the_histogram_of_an_object_is_flux_own() -> None:
    metrics = Metrics()
    for seconds in (0.001, 0.02, 4000.0):
        metrics.reconcile_seconds.observe(seconds, kind="Kustomization", name="shop", namespace="apps")
    text = generate_latest(metrics.registry).decode()
    lines = [line for line in text.splitlines() if line.startswith("gotk_reconcile_duration_seconds")]
    assert len(lines) == 13
    assert lines[0] == 'gotk_reconcile_duration_seconds_bucket{kind="Kustomization",le="0.01",name="shop",namespace="apps"} 1.0'
    assert 'le="1800",name="shop",namespace="apps"} 2.0' in text
    assert 'le="+Inf",name="shop",namespace="apps"} 3.0' in text
    assert 'gotk_reconcile_duration_seconds_count{kind="Kustomization",name="shop",namespace="apps"} 3.0' in text
