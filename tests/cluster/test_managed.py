"""Managed objects as metadata: whose change is drift, what is read, what is kept of each object, and what happens where it is forbidden."""

import asyncio
import gc
import tracemalloc
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from service.cluster.client import APPLY_PATCH, Cluster
from service.cluster.discovery import Resource
from service.cluster.drift import differences
from service.cluster.managed import ManagedWatch, Sighting, stand_of
from service.kinds.meta import KUSTOMIZE_GROUP, ObjectKey
from service.kustomizations.fights import FIRST_PAUSE, FLIPS, WITHIN, Fights
from service.kustomizations.standing import Standing, Standings

CONFIG_MAPS = Resource(group="", version="v1", plural="configmaps", namespaced=True, kind="ConfigMap")
OWNER = {"kustomize.toolkit.fluxcd.io/name": "app", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}


def entry(manager: str, fields: Mapping[str, Any], *, operation: str = "Update", subresource: str = "") -> dict[str, Any]:
    made = {"manager": manager, "operation": operation, "apiVersion": "v1", "time": "2026-11-21T10:00:00Z", "fieldsType": "FieldsV1"}
    return made | {"fieldsV1": dict(fields)} | ({"subresource": subresource} if subresource else {})


def managed(name: str, *others: dict[str, Any], ours: Mapping[str, Any] | None = None, version: int = 1) -> dict[str, Any]:
    fields = {"f:data": {"f:value": {}}, "f:metadata": {"f:labels": {"f:kustomize.toolkit.fluxcd.io/name": {}}}} if ours is None else ours
    entries = [entry("kustomize-controller", fields, operation="Apply"), *others]
    metadata = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "resourceVersion": str(version), "labels": dict(OWNER)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata | {"managedFields": entries}}


def test_only_what_is_taken_from_our_fields_is_drift() -> None:
    before = stand_of(managed("a"))
    beside = stand_of(managed("a", entry("hpa", {"f:data": {"f:other": {}}}), version=2))
    status = stand_of(managed("a", entry("kubelet", {"f:status": {}}, subresource="status"), version=1))
    taken = stand_of(managed("a", entry("kubectl-edit", {"f:data": {"f:value": {}}}), ours={"f:data": {}}, version=3))
    assert before.owned == beside.owned == status.owned != taken.owned
    assert before.around == status.around != beside.around


def test_a_change_is_told_with_its_path_values_and_manager() -> None:
    def web(image: str, replicas: int, **more: Any) -> dict[str, Any]:
        containers = [{"name": "side", "image": "side:1"}, {"name": "web", "image": image}]
        template = {"spec": {"containers": containers}}
        return {"kind": "Deployment", "metadata": {"name": "web", **more}, "spec": {"replicas": replicas, "template": template}}

    by_image = {"f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"web"}': {"f:image": {}}}}}}}
    fields = [entry("kubectl-set", by_image), entry("scaler", {"f:spec": {"f:replicas": {}}}, subresource="scale")]
    live = web("web:2", 5, managedFields=fields)
    found = differences(live, web("web:1", 1, labels={"app.kubernetes.io/name": "web"}))
    assert [each.words(masked=False) for each in found] == [
        'metadata.labels[app.kubernetes.io/name] "web" -> none by someone who left no name',
        "spec.replicas 1 -> 5 by scaler",
        'spec.template.spec.containers[web].image "web:1" -> "web:2" by kubectl-set',
    ]
    assert found[1].words(masked=True) == "spec.replicas *** -> *** by scaler"
    assert "web:2" not in repr(found)


def test_a_field_is_disputed_after_three_flips_and_left_ever_longer() -> None:
    now = 0.0
    fights = Fights(lambda: now)
    field = [("spec.replicas", "hpa")]
    assert [fights.corrected("web", field) for _ in range(FLIPS - 1)] == [None] * (FLIPS - 1)
    assert fights.corrected("web", [("spec.paused", "hpa")]) is None, "another field"
    dispute = fights.corrected("web", field)
    assert dispute is not None
    assert (dispute.path, dispute.manager, dispute.times, dispute.pause) == ("spec.replicas", "hpa", FLIPS, FIRST_PAUSE)
    assert (fights.pause("web"), fights.pause("other")) == (FIRST_PAUSE, timedelta(0))
    now += 60
    again = fights.corrected("web", field)
    assert again is not None
    assert again.pause == 2 * FIRST_PAUSE
    now += 10 * WITHIN.total_seconds()
    assert fights.corrected("web", field) is None, "over, and counted anew"


async def test_a_thousand_objects_take_little_memory(cluster: Cluster, namespace: str) -> None:
    """What the watch and the standings keep of an object."""
    key = ObjectKey(group=KUSTOMIZE_GROUP, kind="Kustomization", namespace="flux-system", name="app")
    left = iter(range(1000))

    async def make() -> None:
        for number in left:
            metadata = {"name": f"settings-{number:04}", "namespace": namespace, "labels": dict(OWNER)}
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {f"key{field}": "x" for field in range(20)}}
            path = f"/api/v1/namespaces/{namespace}/configmaps/settings-{number:04}"
            query = {"fieldManager": "kustomize-controller", "force": "true"}
            await cluster.request("PATCH", path, query=query, body=body, content_type=APPLY_PATCH)

    await asyncio.gather(*(make() for _ in range(8)))
    standings = Standings()

    def keep(seen: Sighting) -> None:
        assert seen.stand is not None
        standings.put(key, seen.object.id, Standing(api_version="v1", stand=seen.stand, digest="0" * 16))

    watch = ManagedWatch(cluster, resource=CONFIG_MAPS, on_sight=keep, on_forbidden=lambda _words: None)
    tracemalloc.start()
    running = asyncio.create_task(watch.run())
    try:
        before = tracemalloc.get_traced_memory()[0]
        await watch.synced.wait()
        gc.collect()
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert standings.knows(key, [f"{namespace}_settings-{number:04}__ConfigMap" for number in range(1000)])
    each = used / len(watch.objects)
    print(f"{each:.0f} bytes an object")
    assert each < 2500


@pytest.mark.real
async def test_what_is_forbidden_is_said_once_and_not_asked_for_in_a_loop(real_kubeconfig: Path) -> None:
    admin = await Cluster.from_kubeconfig(real_kubeconfig)
    nobody = admin.impersonating("system:serviceaccount:default:nobody")
    told: list[str] = []
    watch = ManagedWatch(nobody, resource=CONFIG_MAPS, on_sight=lambda _seen: None, on_forbidden=told.append)
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await watch.run()
    finally:
        await admin.close()
    assert len(told) == 1
    assert 'User "system:serviceaccount:default:nobody" cannot list resource "configmaps"' in told[0]
