"""Alerts and Providers as objects, on a server with a status for them and on one without, as Flux's own definitions are."""

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from service.alerts.mutes import MUTE, Mute
from service.alerts.static import StaticReconciler
from service.alerts.table import Table
from service.cluster.client import Cluster
from service.cluster.discovery import Discovery
from service.kinds.meta import ObjectKey
from service.reconcile.outcome import Failed, Outcome
from service.state import moments
from tests.triggers.kube import Kube

GROUP = "notification.toolkit.fluxcd.io"
PLURALS = {"Alert": "alerts", "Provider": "providers"}
ALERT = {"providerRef": {"name": "slack"}, "eventSources": [{"kind": "Kustomization", "name": "*"}]}
PROVIDER = {"type": "slack", "channel": "general"}


class Scene:
    """One object in the server and in the cache, which follows the server before each run."""

    def __init__(self, kube: Kube, cluster: Cluster, kind: Literal["Alert", "Provider"], spec: Mapping[str, Any]) -> None:
        self.at = f"/apis/{GROUP}/v1beta3/namespaces/apps/{PLURALS[kind]}/one"
        self.kube, self.kind, self.cluster = kube, kind, cluster
        metadata = {"name": "one", "namespace": "apps", "uid": "u", "generation": 2, "resourceVersion": "1"}
        kube.objects[self.at] = {"apiVersion": f"{GROUP}/v1beta3", "kind": kind, "metadata": metadata, "spec": dict(spec)}
        self.cache: dict[tuple[str, str], dict[str, Any]] = {}
        self.reconciler = self.made()

    def made(self, *, shadow: bool = False) -> StaticReconciler:
        return StaticReconciler(self.kind, self.cluster, Discovery(self.cluster), objects=self.cache, table=Table(), shadow=shadow)

    async def run(self) -> str:
        return (await self.outcome()).result

    async def outcome(self) -> Outcome:
        self.cache["apps", "one"] = self.kube.objects[self.at]
        return await self.reconciler.reconcile(ObjectKey(group=GROUP, kind=self.kind, namespace="apps", name="one"), ())

    @property
    def conditions(self) -> dict[str, tuple[str, str, str]]:
        listed = self.kube.objects[self.at].get("status", {}).get("conditions", [])
        return {c["type"]: (c["status"], c["reason"], c["message"]) for c in listed}


@pytest.fixture
async def kube() -> AsyncIterator[Kube]:
    server = Kube()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def cluster(kube: Kube, tmp_path: Path) -> AsyncIterator[Cluster]:
    made = await Cluster.from_kubeconfig(kube.kubeconfig(tmp_path))
    yield made
    await made.close()


@pytest.mark.parametrize(("kind", "spec"), [("Alert", ALERT), ("Provider", PROVIDER)])
async def test_one_that_is_carried_out_is_ready_and_written_once(
    kube: Kube, cluster: Cluster, kind: Literal["Alert", "Provider"], spec: Mapping[str, Any]
) -> None:
    scene = Scene(kube, cluster, kind, spec)
    assert await scene.run() == "succeeded"
    assert scene.conditions == {"Ready": ("True", "Succeeded", "Initialized")}
    assert kube.objects[scene.at]["status"]["observedGeneration"] == 2
    writes = len(kube.wrote())
    assert await scene.run() == "unchanged"
    assert len(kube.wrote()) == writes


async def test_a_field_that_is_not_carried_out_is_named_until_it_goes(kube: Kube, cluster: Cluster) -> None:
    scene = Scene(kube, cluster, "Provider", {**PROVIDER, "serviceAccountName": "robot"})
    assert await scene.run() == "stalled"
    assert {kind: (status, reason) for kind, (status, reason, _) in scene.conditions.items()} == {
        "Ready": ("False", "ValidationFailed"),
        "Stalled": ("True", "ValidationFailed"),
    }
    assert "spec.serviceAccountName" in scene.conditions["Ready"][2]
    del kube.objects[scene.at]["spec"]["serviceAccountName"]
    assert await scene.run() == "succeeded"
    assert set(scene.conditions) == {"Ready"}


async def test_one_that_cannot_be_read_says_why(kube: Kube, cluster: Cluster) -> None:
    scene = Scene(kube, cluster, "Alert", {"eventSources": []})
    assert await scene.run() == "stalled"
    assert "spec.providerRef" in scene.conditions["Stalled"][2]


async def test_a_requested_reconcile_is_noted(kube: Kube, cluster: Cluster) -> None:
    scene = Scene(kube, cluster, "Alert", ALERT)
    kube.objects[scene.at]["metadata"]["annotations"] = {"reconcile.fluxcd.io/requestedAt": "now"}
    await scene.run()
    assert kube.objects[scene.at]["status"]["lastHandledReconcileAt"] == "now"


async def test_a_mute_is_a_condition_while_it_lasts(kube: Kube, cluster: Cluster) -> None:
    scene = Scene(kube, cluster, "Alert", ALERT)
    until = moments.now().replace(microsecond=0) + timedelta(seconds=60)
    kube.objects[scene.at]["metadata"]["annotations"] = {MUTE: Mute(until=until, by="ann", reason="migration").to_text()}
    outcome = await scene.outcome()
    assert outcome.requeue_after is not None
    assert timedelta(seconds=30) < outcome.requeue_after <= timedelta(seconds=60)
    assert scene.conditions["Muted"][:2] == ("True", "Muted")
    assert scene.conditions["Muted"][2].endswith("by ann: migration; what comes meanwhile is held")
    assert scene.conditions["Ready"][0] == "True"
    del kube.objects[scene.at]["metadata"]["annotations"]
    assert (await scene.outcome()).requeue_after is None
    assert "Muted" not in scene.conditions


async def test_a_definition_without_a_status_is_left_alone(kube: Kube, cluster: Cluster) -> None:
    scene = Scene(kube, cluster, "Alert", ALERT)
    kube.refuse[f"{scene.at}/status"] = 404
    assert await scene.run() == "succeeded"
    asked = len(kube.wrote())
    assert await scene.run() == "succeeded"
    assert len(kube.wrote()) == asked == 1, "asked once, not at each run"


async def test_flux_finalizer_goes_when_the_object_is_deleted(kube: Kube, cluster: Cluster) -> None:
    scene = Scene(kube, cluster, "Provider", PROVIDER)
    kube.objects[scene.at]["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["finalizers.fluxcd.io", "other"]}
    assert await scene.run() == "gone"
    assert kube.objects[scene.at]["metadata"]["finalizers"] == ["other"]


async def test_shadow_writes_nothing(kube: Kube, cluster: Cluster) -> None:
    scene = Scene(kube, cluster, "Provider", {**PROVIDER, "serviceAccountName": "robot"})
    scene.reconciler = scene.made(shadow=True)
    assert await scene.run() == "stalled"
    assert not kube.wrote()


async def test_a_server_that_refuses_is_a_failure_that_is_tried_again(kube: Kube, cluster: Cluster) -> None:
    scene = Scene(kube, cluster, "Alert", ALERT)
    kube.refuse[f"{scene.at}/status"] = 403
    with pytest.raises(Failed):
        await scene.run()
