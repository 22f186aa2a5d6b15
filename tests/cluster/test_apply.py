import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from service.cluster.apply import Applier, ApplyFailed, Built, ChangeSet, Mode, Owner
from service.cluster.client import APPLY_PATCH, MERGE_PATCH, ApiError, Cluster
from service.cluster.discovery import Discovery
from tests.cluster.objects import Cord, built, config_map, definition

OWNER = Owner(name="apps", namespace="flux-system")
BOTH = pytest.mark.parametrize("mode", ["changed", "full"])


class Subject:
    """An applier with its defaults, and short ways to look at the cluster."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.applier = Applier(cluster, Discovery(cluster))

    async def apply(self, *objects: dict[str, Any] | Built, mode: Mode = "changed", **more: Any) -> ChangeSet:
        ready = [one if isinstance(one, Built) else built(one) for one in objects]
        return await self.applier.apply(ready, mode=mode, owner=OWNER, timeout=timedelta(seconds=30), **more)

    def path(self, name: str) -> str:
        return f"/api/v1/namespaces/{self.namespace}/configmaps/{name}"

    async def live(self, name: str) -> dict[str, Any]:
        return (await self.cluster.request("GET", self.path(name))).body

    def map(self, name: str, data: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
        return config_map(self.namespace, name, data or {"a": "1"}, **metadata)

    def lines(self, changes: ChangeSet) -> list[str]:
        return [str(entry).replace(self.namespace, "NS") for entry in changes.entries]


@pytest.fixture
def subject(cluster: Cluster, namespace: str) -> Subject:
    return Subject(cluster, namespace)


@BOTH
async def test_object_is_created_then_unchanged_then_configured(subject: Subject, mode: Mode) -> None:
    assert subject.lines(await subject.apply(subject.map("one"), mode=mode)) == ["ConfigMap/NS/one created"]
    before = await subject.live("one")
    assert subject.lines(await subject.apply(subject.map("one"), mode=mode)) == ["ConfigMap/NS/one unchanged"]
    assert (await subject.live("one"))["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    changes = await subject.apply(subject.map("one", {"b": "2"}), mode=mode)
    assert subject.lines(changes) == ["ConfigMap/NS/one configured"]
    assert changes.lines() == f"ConfigMap/{subject.namespace}/one configured"
    live = await subject.live("one")
    assert live["data"] == {"b": "2"}
    assert [(entry["manager"], entry["operation"]) for entry in live["metadata"]["managedFields"]] == [("kustomize-controller", "Apply")]
    assert live["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"] == "apps"


async def test_full_mode_repairs_drift_and_only_drift(subject: Subject) -> None:
    await subject.apply(subject.map("one", {"a": "1"}), subject.map("two", {"a": "1"}), mode="full")
    await subject.cluster.request("PATCH", subject.path("two"), body={"data": {"a": "by hand"}}, content_type=MERGE_PATCH)
    before = await subject.live("one")
    changes = await subject.apply(subject.map("one"), subject.map("two"), mode="full")
    assert subject.lines(changes) == ["ConfigMap/NS/one unchanged", "ConfigMap/NS/two configured"]
    assert (await subject.live("two"))["data"] == {"a": "1"}
    assert await subject.live("one") == before


async def test_label_that_git_dropped_is_removed(subject: Subject) -> None:
    await subject.apply(subject.map("one", labels={"extra": "x"}))
    assert subject.lines(await subject.apply(subject.map("one"), mode="full")) == ["ConfigMap/NS/one configured"]
    assert "extra" not in (await subject.live("one"))["metadata"]["labels"]


async def test_order_is_fluxs_and_namespaces_come_first(subject: Subject, namespace_name: str) -> None:
    other = f"{namespace_name}-b"
    objects = [config_map(other, "in-it"), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}}]
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": other}, "stringData": {"k": "v"}}
    changes = await subject.apply(secret, *objects)
    await subject.cluster.request("DELETE", f"/api/v1/namespaces/{other}")
    assert [str(entry) for entry in changes.entries] == [
        f"Namespace/{other} created",
        f"ConfigMap/{other}/in-it created",
        f"Secret/{other}/s created",
    ]


@BOTH
async def test_new_kind_and_its_objects_in_one_apply(subject: Subject, mode: Mode) -> None:
    group = f"{mode}.{subject.namespace}.example.org"
    gadget = {"apiVersion": f"{group}/v1", "kind": "Gadget", "metadata": {"name": "g", "namespace": subject.namespace}, "spec": {"size": 1}}
    try:
        changes = await subject.apply(gadget, definition(group), mode=mode)
        assert subject.lines(changes)[1] == "Gadget/NS/g created"
        again = await subject.apply(gadget, definition(group), mode=mode)
        assert [entry.action for entry in again.entries] == ["unchanged", "unchanged"]
    finally:
        await subject.cluster.request("DELETE", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gadgets.{group}")


@BOTH
async def test_refused_object_is_named_and_its_stage_untouched(subject: Subject, mode: Mode) -> None:
    with pytest.raises(ApplyFailed) as caught:
        await subject.apply(subject.map("good"), subject.map("Bad Name"), subject.map("bad", {"x": 1}), mode=mode)
    first, second = sorted(caught.value.message.splitlines())
    assert first.startswith(f"ConfigMap/{subject.namespace}/Bad Name dry-run failed (Invalid): ")
    assert second.startswith(f"ConfigMap/{subject.namespace}/bad dry-run failed")
    assert caught.value.changes.entries == ()
    assert not caught.value.away
    with pytest.raises(ApiError, match="not found"):
        await subject.live("good")


async def test_single_refused_object_has_the_same_words(subject: Subject) -> None:
    with pytest.raises(ApplyFailed) as one:
        await subject.apply(subject.map("Bad Name"), mode="changed")
    with pytest.raises(ApplyFailed) as two:
        await subject.apply(subject.map("Bad Name"), mode="full")
    assert str(one.value) == str(two.value)


async def test_earlier_stages_are_told_when_a_later_one_fails(subject: Subject) -> None:
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": subject.namespace}, "rules": []}
    with pytest.raises(ApplyFailed) as caught:
        await subject.apply(role, subject.map("Bad Name"))
    await subject.cluster.request("DELETE", f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{subject.namespace}")
    assert caught.value.changes.lines() == f"ClusterRole/{subject.namespace} created"


async def test_unknown_kind_missing_namespace_and_no_namespace_are_named(subject: Subject) -> None:
    gizmo = {"apiVersion": "nobody.example.org/v1", "kind": "Gizmo", "metadata": {"name": "g", "namespace": "x"}}
    with pytest.raises(ApplyFailed, match=r'^Gizmo/x/g dry-run failed: no matches for kind "Gizmo" in version "nobody.example.org/v1"$'):
        await subject.apply(gizmo)
    with pytest.raises(ApplyFailed, match=r'^ConfigMap/nowhere/c not found: namespaces "nowhere" not found$'):
        await subject.apply(config_map("nowhere", "c"))
    nameless = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    with pytest.raises(ApplyFailed, match=r"^ConfigMap/c namespace not specified: the server could not find the requested resource$"):
        await subject.apply(nameless)


@pytest.mark.parametrize(
    ("on_live", "on_manifest", "action"),
    [
        ({"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}, {}, "skipped"),
        ({}, {"kustomize.toolkit.fluxcd.io/reconcile": "Disabled"}, "skipped"),
        ({}, {"kustomize.toolkit.fluxcd.io/ssa": "Ignore"}, "skipped"),
        ({"kustomize.toolkit.fluxcd.io/ssa": "ignore"}, {}, "skipped"),
        ({}, {"kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent"}, "skipped"),
        ({"kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent"}, {}, "configured"),
        ({}, {"kustomize.toolkit.fluxcd.io/ssa": "Override"}, "configured"),
    ],
)
async def test_marked_objects_are_left_alone(subject: Subject, on_live: dict[str, str], on_manifest: dict[str, str], action: str) -> None:
    body = subject.map("one", {"a": "by hand"}, annotations=on_live)
    await subject.cluster.request("POST", f"/api/v1/namespaces/{subject.namespace}/configmaps", body=body)
    changes = await subject.apply(subject.map("one", annotations=on_manifest))
    assert [entry.action for entry in changes.entries] == [action]
    assert (await subject.live("one"))["data"] == {"a": "by hand" if action == "skipped" else "1"}


async def test_if_not_present_is_created_once(subject: Subject) -> None:
    seed = subject.map("one", annotations={"kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent"})
    assert subject.lines(await subject.apply(seed)) == ["ConfigMap/NS/one created"]
    assert subject.lines(await subject.apply(seed)) == ["ConfigMap/NS/one skipped"]


@BOTH
async def test_fields_of_kubectl_are_taken_over(subject: Subject, mode: Mode) -> None:
    note = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
    await subject.cluster.request(
        "POST",
        f"/api/v1/namespaces/{subject.namespace}/configmaps",
        query={"fieldManager": "kubectl-client-side-apply"},
        body=subject.map("one", {"a": "1", "gone": "x"}, annotations=note),
    )
    await subject.cluster.request(
        "PATCH", subject.path("one"), query={"fieldManager": "helm"}, body={"data": {"helm": "y"}}, content_type=MERGE_PATCH
    )
    assert subject.lines(await subject.apply(subject.map("one"), mode=mode)) == ["ConfigMap/NS/one configured"]
    live = await subject.live("one")
    assert live["data"] == {"a": "1", "helm": "y"}
    assert not live["metadata"].get("annotations")
    assert {entry["manager"] for entry in live["metadata"]["managedFields"]} == {"kustomize-controller", "helm"}
    assert subject.lines(await subject.apply(subject.map("one"), mode=mode)) == ["ConfigMap/NS/one unchanged"]


async def test_merge_leaves_kubectl_its_fields(subject: Subject) -> None:
    await subject.cluster.request(
        "PATCH",
        subject.path("one"),
        query={"fieldManager": "kubectl"},
        body=json.dumps(subject.map("one", {"theirs": "x"})).encode(),
        content_type=APPLY_PATCH,
    )
    await subject.apply(subject.map("one", annotations={"kustomize.toolkit.fluxcd.io/ssa": "Merge"}))
    assert (await subject.live("one"))["data"] == {"a": "1", "theirs": "x"}


async def test_conflicts_are_forced(subject: Subject) -> None:
    await subject.cluster.request(
        "PATCH",
        subject.path("one"),
        query={"fieldManager": "argocd"},
        body=json.dumps(subject.map("one", {"a": "theirs"})).encode(),
        content_type=APPLY_PATCH,
    )
    await subject.apply(subject.map("one", {"a": "ours"}))
    assert (await subject.live("one"))["data"] == {"a": "ours"}


@pytest.mark.parametrize("how", ["force", "annotation"])
async def test_immutable_field_is_changed_by_force(subject: Subject, how: str) -> None:
    first = subject.map("one", {"a": "1"}) | {"immutable": True}
    marks = {"annotations": {"kustomize.toolkit.fluxcd.io/force": "enabled"}} if how == "annotation" else {}
    second = subject.map("one", {"a": "2"}, **marks) | {"immutable": True}
    await subject.apply(first)
    before = await subject.live("one")
    with pytest.raises(ApplyFailed, match=r"dry-run failed \(Invalid\): .*immutable"):
        await subject.apply(subject.map("one", {"a": "2"}) | {"immutable": True})
    assert await subject.live("one") == before
    changes = await subject.apply(second, force=how == "force")
    assert subject.lines(changes) == ["ConfigMap/NS/one created"]
    after = await subject.live("one")
    assert after["data"] == {"a": "2"}
    assert after["metadata"]["uid"] != before["metadata"]["uid"]


async def test_force_does_not_delete_for_an_invalid_manifest(subject: Subject) -> None:
    await subject.apply(subject.map("one", {"a": "1"}) | {"immutable": True})
    before = await subject.live("one")
    with pytest.raises(ApplyFailed, match=r"ConfigMap/\S+/one dry-run failed \(Invalid\)"):
        await subject.apply(subject.map("one", {"a": "2"}, labels={"bad": "no label!"}) | {"immutable": True}, force=True)
    assert await subject.live("one") == before


async def test_dry_run_tells_and_writes_nothing(subject: Subject, namespace_name: str) -> None:
    await subject.apply(subject.map("same"), subject.map("old", {"a": "0"}))
    before = [await subject.live("same"), await subject.live("old")]
    group, other = f"{namespace_name}.example.org", f"{namespace_name}-c"
    gadget = {"apiVersion": f"{group}/v1", "kind": "Gadget", "metadata": {"name": "g", "namespace": subject.namespace}}
    changes = await subject.apply(
        *(subject.map(name) for name in ("same", "old", "new")),
        *(gadget, definition(group), config_map(other, "c"), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}}),
        dry_run=True,
    )
    assert sorted(line.replace(namespace_name, "N") for line in subject.lines(changes)) == [
        "ConfigMap/NS-c/c created",
        "ConfigMap/NS/new created",
        "ConfigMap/NS/old configured",
        "ConfigMap/NS/same unchanged",
        "CustomResourceDefinition/gadgets.NS.example.org created",
        "Gadget/NS/g created",
        "Namespace/NS-c created",
    ]
    assert [await subject.live("same"), await subject.live("old")] == before
    with pytest.raises(ApiError, match="not found"):
        await subject.live("new")


async def test_planned_writes_are_told_before_the_first(subject: Subject) -> None:
    await subject.apply(subject.map("same"))
    told: list[Sequence[str]] = []

    async def before_write(planned: Sequence[str]) -> None:
        with pytest.raises(ApiError, match="not found"):
            await subject.live("new")
        told.append(planned)

    await subject.apply(subject.map("same"), subject.map("new"), before_write=before_write)
    assert told == [[f"ConfigMap/{subject.namespace}/new"]]


async def test_hundred_objects_go_side_by_side(subject: Subject) -> None:
    changes = await subject.apply(*(subject.map(f"o-{number}") for number in range(60)))
    assert [entry.action for entry in changes.entries] == ["created"] * 60
    assert [entry.object.name for entry in changes.entries] == sorted(f"o-{number}" for number in range(60))


@pytest.fixture
async def cut_off(kubeconfig: Path, namespace: str, tmp_path: Path) -> AsyncIterator[tuple[Subject, Cord]]:
    cord = Cord(kubeconfig, tmp_path)
    cluster = await Cluster.from_kubeconfig(await cord.mend())
    yield Subject(cluster, namespace), cord
    await cord.cut()
    await cluster.close()


async def test_server_that_goes_away_is_told_once(cut_off: tuple[Subject, Cord]) -> None:
    subject, cord = cut_off
    await subject.apply(subject.map("one"))
    await cord.cut()
    with pytest.raises(ApplyFailed) as caught:
        await subject.apply(*(subject.map(f"o-{number}") for number in range(20)))
    assert caught.value.away
    assert len(caught.value.message.splitlines()) == 1
    assert "is not reachable" in caught.value.message


async def test_timeout_ends_the_apply_with_what_was_done(subject: Subject) -> None:
    async def never(_planned: Sequence[str]) -> None:
        await asyncio.sleep(60)

    with pytest.raises(ApplyFailed, match=r"apply did not end within 0\.5 s; 0 of 1 objects were through"):
        await subject.applier.apply(
            [built(subject.map("one"))], mode="changed", owner=OWNER, timeout=timedelta(milliseconds=500), before_write=never
        )
