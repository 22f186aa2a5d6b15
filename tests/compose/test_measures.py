"""The series that Flux's dashboards read: true to the caches, gone with the object, and cheap for a thousand."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from prometheus_client import generate_latest

from service.compose.measures import ControllerMetrics, ObjectGauges
from service.metrics import Metrics, Series
from service.reconcile.outcome import Outcome
from service.reconcile.worker import Run
from service.web.probes import _slices
from tests.kustomizations.town import Town, config_map
from tests.triggers.scene import key

MOST_SECONDS = 0.005


def kustomization(status: str, **spec: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": status, "reason": "x"}] if status else []
    return {"spec": spec, "status": {"conditions": conditions}}


def test_the_conditions_are_those_of_the_cache() -> None:
    cache = {("apps", "shop"): kustomization("False"), ("apps", "new"): kustomization("", suspend=True)}
    metrics = Metrics()
    metrics.registry.register(ObjectGauges({"Kustomization": cache}))
    text = generate_latest(metrics.registry).decode()
    about = 'gotk_reconcile_condition{kind="Kustomization",name="shop",namespace="apps",status="%s",type="Ready"} %s'
    for status, value in (("True", "0.0"), ("False", "1.0"), ("Unknown", "0.0"), ("Deleted", "0.0")):
        assert about % (status, value) in text
    assert 'gotk_reconcile_condition{kind="Kustomization",name="new",namespace="apps",status="Unknown",type="Ready"} 1.0' in text
    assert 'gotk_suspend_status{kind="Kustomization",name="new",namespace="apps"} 1.0' in text
    assert 'gotk_suspend_status{kind="Kustomization",name="shop",namespace="apps"} 0.0' in text
    del cache["apps", "shop"]
    assert 'name="shop"' not in generate_latest(metrics.registry).decode()


def test_a_thousand_objects_never_hold_the_loop() -> None:
    metrics = Metrics()
    cache = {("apps", f"app{number}"): kustomization("True") for number in range(1000)}
    for _, name in cache:
        metrics.reconcile_seconds.observe(0.1, kind="Kustomization", name=name, namespace="apps")
    metrics.registry.register(ObjectGauges({"Kustomization": cache}))
    pieces = []
    for family in metrics.registry.collect():
        before = time.perf_counter()
        for text in _slices(family):
            pieces.append(time.perf_counter() - before)
            before = time.perf_counter()
            assert len(text) < 100_000
    pieces.sort()
    assert pieces[len(pieces) // 2] < MOST_SECONDS, "the busy machine may hold up a few, not half of them"
    assert sum(isinstance(family, Series) for family in metrics.registry.collect()) == 4


def test_runs_are_counted_as_controller_runtime_does() -> None:
    metrics = Metrics()
    controllers = ControllerMetrics(metrics)
    for outcome in (Outcome(result="succeeded", requeue_after=timedelta(1)), Outcome(result="failed"), Outcome(result="gone")):
        run = Run(key=key("Kustomization", "shop"), triggers=(), began_at=datetime.now(UTC), seconds=0.2, outcome=outcome)
        controllers.ran(run)
    controllers.answered("GET", "10.0.0.1:6443", 200)
    text = generate_latest(metrics.registry).decode()
    for result in ("requeue_after", "error", "success"):
        assert f'controller_runtime_reconcile_total{{controller="kustomization",result="{result}"}} 1.0' in text
    assert 'controller_runtime_reconcile_errors_total{controller="kustomization"} 1.0' in text
    assert 'controller_runtime_reconcile_time_seconds_count{controller="kustomization"} 3.0' in text
    assert 'rest_client_requests_total{code="200",host="10.0.0.1:6443",method="GET"} 1.0' in text


async def test_a_service_measures_its_objects_and_forgets_those_that_go(hamlet: Town) -> None:
    hamlet.repository.commit({"shop/settings.yaml": config_map("shop", "1")})
    house = await hamlet.start()
    await hamlet.apply(hamlet.source(), hamlet.kustomization("shop"))
    await hamlet.at(hamlet.revision, "shop")
    await hamlet.quiet()

    def shown() -> str:
        return generate_latest(house.ground.metrics.registry).decode()

    place = f'kind="Kustomization",name="shop",namespace="{hamlet.namespace}"'
    await hamlet.wait("Kustomization", "shop", lambda _: f'gotk_reconcile_condition{{{place},status="True",type="Ready"}} 1.0' in shown())
    assert f"gotk_reconcile_duration_seconds_count{{{place}}}" in shown()
    assert 'workqueue_longest_running_processor_seconds{name="kustomization"} 0.0' in shown()
    assert 'rest_client_requests_total{code="200"' in shown()
    await hamlet.delete("Kustomization", "shop")
    await hamlet.wait_gone("Kustomization", "shop")
    await hamlet.quiet()
    assert place not in shown()
