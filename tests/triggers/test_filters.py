"""CEL filters on stored deliveries: who passes, what a missing key does, and what the delivery log says."""

import json
from typing import Any

import pytest

from receivers.contract import BadPayload, Event, Ping, Request
from receivers.record import dump, load
from service.cluster.client import Cluster
from service.kinds.codec import decode
from service.kinds.notification import Receiver
from service.state.store import Store
from service.triggers.filters import Filters, filters_of, packed
from tests.triggers.kube import Kube
from tests.triggers.scene import push, receiver, repository, until
from tests.triggers.test_deliveries import Scene

JSON = {"content-type": "application/json; charset=utf-8"}
WIDE = {"kind": "GitRepository", "name": "*", "matchLabels": {"team": "shop"}}


def asked(body: dict[str, Any], **claims: Any) -> Request:
    return packed(JSON, json.dumps(body).encode(), claims)


def named(name: str, **metadata: Any) -> dict[str, Any]:
    made = repository(name)
    made["metadata"] |= metadata
    return made


async def ran(scene: Scene, *events: Event) -> tuple[list[str], Any]:
    """The objects that run, and the entry of the delivery log."""
    async with scene.running():
        row = await scene.deliver(*events)
        await until(lambda: not scene.room.is_open(row) or bool(scene.asked), 10)
        (entry,) = await scene.inbox.log.newest()
        while scene.asked and not entry.targets:  # asked for before it is written down
            (entry,) = await scene.inbox.log.newest()
    return sorted(key.name for key, _ in scene.asked), entry


async def test_both_filters_must_hold(store: Store, cluster: Cluster, kube: Kube) -> None:
    resources = [WIDE | {"filter": "res.metadata.annotations['tier'] == req.tier"}]
    objects = [named(name, annotations={"tier": tier}) for name, tier in (("a", "dev"), ("b", "prod"), ("x", "prod"))]
    scene = Scene(store, cluster, *objects, resources=resources, resourceFilter="res.metadata.name in ['a', 'b']")
    names, _ = await ran(scene, Ping(), asked({"tier": "prod"}))
    assert names == ["b"]


async def test_a_filter_holds_for_its_own_entry_alone(store: Store, cluster: Cluster, kube: Kube) -> None:
    resources = [{"kind": "GitRepository", "name": "a", "filter": "false"}, {"kind": "GitRepository", "name": "b"}]
    scene = Scene(store, cluster, named("a"), named("b"), resources=resources)
    names, _ = await ran(scene, push())
    assert names == ["b"]


async def test_an_object_that_another_entry_names_runs(store: Store, cluster: Cluster, kube: Kube) -> None:
    resources = [{"kind": "GitRepository", "name": "a", "filter": "false"}, WIDE | {"filter": "res.kind == 'GitRepository'"}]
    scene = Scene(store, cluster, named("a"), resources=resources)
    names, entry = await ran(scene, Ping())
    assert names == ["a"]
    assert entry.targets[0].result != "filtered"


async def test_a_missing_key_is_false_with_a_word_in_the_log(store: Store, cluster: Cluster, kube: Kube) -> None:
    scene = Scene(store, cluster, named("a"), resources=[WIDE], resourceFilter="req.ref == 'refs/heads/main'")
    names, entry = await ran(scene, Ping(), asked({}))
    assert (names, entry.verdict) == ([], "nothing")
    assert "1 objects left out by filters" in entry.detail
    assert "no such key: ref" in entry.detail


async def test_an_object_that_cannot_be_judged_is_in_the_log_beside_the_others(store: Store, cluster: Cluster, kube: Kube) -> None:
    objects = [named("a", annotations={"on": "yes"}), named("b")]
    scene = Scene(store, cluster, *objects, resources=[WIDE], resourceFilter="res.metadata.annotations.on == 'yes'")
    names, entry = await ran(scene, Ping())
    assert names == ["a"]
    found = {target.object.name: (target.result, target.detail) for target in entry.targets}
    assert found["b"][0] == "filtered"
    assert "no such key" in found["b"][1]


async def test_a_body_that_is_not_declared_json_is_empty(store: Store, cluster: Cluster, kube: Kube) -> None:
    scene = Scene(store, cluster, named("a"), resources=[WIDE], resourceFilter="!has(req.ref)")
    names, _ = await ran(scene, packed({"content-type": "text/plain"}, b'{"ref": 1}', {}))
    assert names == ["a"]


async def test_claims_are_there_for_generic_oidc(store: Store, cluster: Cluster, kube: Kube) -> None:
    issuer = {"issuerURL": "https://ci.example.com", "validations": [{"expression": "true", "message": ""}]}
    spec = {"type": "generic-oidc", "secretRef": None, "oidcProviders": [issuer]}
    scene = Scene(store, cluster, named("a"), named("b"), resources=[WIDE], resourceFilter="claims.repo == res.metadata.name", **spec)
    names, _ = await ran(scene, asked({}, repo="b"))
    assert names == ["b"]


async def test_objects_of_kinds_that_are_not_watched_are_read(store: Store, cluster: Cluster, kube: Kube) -> None:
    path = "/apis/helm.toolkit.fluxcd.io/v1/namespaces/apps/helmreleases/app"
    kube.objects[path] = {
        "apiVersion": "helm.toolkit.fluxcd.io/v1",
        "kind": "HelmRelease",
        "metadata": {"name": "app", "annotations": {"x": "1"}},
    }
    resources = [{"apiVersion": "helm.toolkit.fluxcd.io/v1", "kind": "HelmRelease", "name": name} for name in ("app", "gone")]
    scene = Scene(store, cluster, resources=resources, resourceFilter="res.metadata.annotations.x == req.x")
    async with scene.running():
        row = await scene.deliver(asked({"x": "1"}))
        await until(lambda: not scene.room.is_open(row), 10)
    (entry,) = await scene.inbox.log.newest()
    assert {target.object.name: target.result for target in entry.targets} == {"app": "requested", "gone": "filtered"}


async def test_a_hostile_filter_holds_up_nobody_for_long(store: Store, cluster: Cluster, kube: Kube) -> None:
    many = "[" + ",".join(["1"] * 200) + "]"
    scene = Scene(
        store, cluster, named("a"), resources=[WIDE], resourceFilter=f"{many}.all(a,{many}.all(b,{many}.all(c,{many}.all(d,d==1))))"
    )
    names, entry = await ran(scene, Ping())
    assert names == []
    assert "stopped" in entry.detail


def test_the_body_is_kept_only_where_it_is_read() -> None:
    def needs(**spec: Any) -> bool:
        return filters_of(decode(Receiver, receiver(**spec))).need_request

    assert not needs()
    assert not needs(resourceFilter="res.metadata.name == 'x'")
    assert needs(resourceFilter="has(req.ref)")
    assert needs(resources=[WIDE | {"filter": "req.a == res.kind"}])
    assert Filters().need_request is False


def test_what_is_kept_comes_back_from_the_inbox() -> None:
    request = asked({"a": "é" * 10_000}, sub="x" * 10_000)
    assert load(dump((push(), request))) == (push(), request)
    assert len(request.packed) < 500
    with pytest.raises(BadPayload):
        packed(JSON, b"[1]", {})
