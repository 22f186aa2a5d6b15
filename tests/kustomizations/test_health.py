"""Health: waited for beside the workers, superseded without an alarm, never a reason to lose a push that comes meanwhile."""

import asyncio
import json
import logging
from typing import Any

import pytest

from tests.kustomizations.test_flow import app, built
from tests.kustomizations.town import Object, Town, config_map, inventory, ready

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "nginx:1"}]}},
    },
}
WEB = json.dumps(DEPLOYMENT)


def is_waiting(seen: Object) -> bool:
    return ready(seen).get("status") == "Unknown" and ready(seen).get("reason") == "Progressing"


async def become_ready(town: Town) -> None:
    seen = await town.get("Deployment", "web")
    assert seen is not None
    conditions = [
        {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
        {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
    ]
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1)
    status = {"observedGeneration": seen["metadata"]["generation"], "conditions": conditions, **counts}
    await town.patch("Deployment", "web", {"status": status}, sub="/status")


async def test_health_is_waited_for_and_other_pushes_do_not_disturb_it(hamlet: Town, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "service")
    hamlet.repository.commit(app("blog") | {"shop/web.yaml": WEB})
    await hamlet.start()
    await hamlet.apply(hamlet.source(), hamlet.kustomization("shop", wait=True), hamlet.kustomization("blog"))
    await hamlet.at(hamlet.revision, "blog")
    waiting = await hamlet.wait("Kustomization", "shop", is_waiting)
    assert inventory(waiting) == {f"{hamlet.namespace}_web_apps_Deployment"}, "known before it is healthy"
    first = hamlet.revision
    built(caplog)

    second = hamlet.push({"blog/settings.yaml": config_map("blog", "2")})
    await hamlet.at(second, "blog")
    await hamlet.quiet()
    assert built(caplog) == {"blog"}, "the one that waits goes on waiting"
    assert is_waiting((await hamlet.get("Kustomization", "shop")) or {})
    await become_ready(hamlet)
    await hamlet.at(second, "shop")
    assert built(caplog) == set()
    told = await hamlet.events("shop")
    assert [event["severity"] for event in told] == ["info"]
    assert told[0]["metadata"]["kustomize.toolkit.fluxcd.io/revision"] == first
    assert "Deployment/" in told[0]["message"]
    [begun, _] = await hamlet.all_events("shop")
    assert (begun["reason"], begun["severity"]) == ("Progressing", "info")
    assert begun["metadata"]["kustomize.toolkit.fluxcd.io/commit_status"] == "update", "no news for who cannot change a message"


async def test_a_push_that_mends_it_supersedes_the_wait_without_an_alarm(hamlet: Town) -> None:
    hamlet.repository.commit(app("shop"))
    await hamlet.start()
    await hamlet.apply(hamlet.source(), hamlet.kustomization("shop", wait=True))
    await hamlet.at(hamlet.revision, "shop")
    hamlet.push({"shop/web.yaml": WEB, "shop/settings.yaml": config_map("shop", "2")})
    await hamlet.wait("Kustomization", "shop", is_waiting)
    assert await hamlet.value("shop") == "2"

    back = hamlet.push({"shop/web.yaml": None, "shop/settings.yaml": config_map("shop", "1")})  # the tree that was healthy before
    (seen,) = await hamlet.at(back, "shop")
    assert await hamlet.value("shop") == "1"
    await hamlet.wait_gone("Deployment", "web")
    assert f"{hamlet.namespace}_web_apps_Deployment" not in inventory(seen)
    assert await hamlet.events("shop", severity="error") == []
    last = (await hamlet.events("shop"))[-1]["message"]
    assert f"ConfigMap/{hamlet.namespace}/shop configured" in last
    assert f"Deployment/{hamlet.namespace}/web deleted" in last


async def test_what_has_failed_is_told_once_and_what_recovers_too(hamlet: Town) -> None:
    hamlet.repository.commit({"shop/web.yaml": WEB})
    await hamlet.start()
    checks = [{"kind": "Deployment", "name": "web"}]
    await hamlet.apply(hamlet.source(), hamlet.kustomization("shop", healthChecks=checks, retryInterval="200ms"))
    await hamlet.wait("Kustomization", "shop", is_waiting)
    stuck = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    await hamlet.patch("Deployment", "web", {"status": {"observedGeneration": 1, "replicas": 1, "conditions": [stuck]}}, sub="/status")
    seen = await hamlet.not_ready("shop", "HealthCheckFailed")
    assert "failed early due to stalled resources: [Deployment/" in ready(seen)["message"]
    assert ready(seen)["message"].startswith("health check failed after ")
    await hamlet.wait("Kustomization", "shop", is_waiting)  # tried again
    await hamlet.not_ready("shop", "HealthCheckFailed")
    assert len(await hamlet.events("shop", severity="error")) == 1
    await become_ready(hamlet)
    await hamlet.at(hamlet.revision, "shop")
    assert [event["severity"] for event in await hamlet.events("shop")] == ["error", "info"]
    healthy = next(c for c in (await hamlet.at(hamlet.revision, "shop"))[0]["status"]["conditions"] if c["type"] == "Healthy")
    assert healthy["status"] == "True"


async def test_a_wait_ends_with_the_lease_and_is_taken_up_with_it(hamlet: Town) -> None:
    hamlet.repository.commit({"shop/web.yaml": WEB})
    house = await hamlet.start()
    await hamlet.apply(hamlet.source(), hamlet.kustomization("shop", wait=True))
    await hamlet.wait("Kustomization", "shop", is_waiting)
    gate = house.gates["kustomize-controller-leader-election"]
    gate.shut()
    await become_ready(hamlet)
    hamlet.cluster.asked.clear()
    await asyncio.sleep(0.2)
    assert hamlet.cluster.writes("/kustomizations/") == []
    gate.open()
    house.held(gate.name)
    await hamlet.at(hamlet.revision, "shop")
    assert len(await hamlet.events("shop")) == 1


async def test_a_wait_is_taken_up_after_a_restart(hamlet: Town) -> None:
    hamlet.repository.commit({"shop/web.yaml": WEB})
    await hamlet.start()
    await hamlet.apply(hamlet.source(), hamlet.kustomization("shop", wait=True))
    await hamlet.wait("Kustomization", "shop", is_waiting)
    await hamlet.kill()
    await become_ready(hamlet)
    await hamlet.start()
    await hamlet.at(hamlet.revision, "shop")
    (told,) = await hamlet.events("shop")
    assert f"Deployment/{hamlet.namespace}/web configured" in told["message"]
