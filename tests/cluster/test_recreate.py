"""`force` makes anew what the API server calls immutable, and nothing else: what a real one says of each kind."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from service.cluster.apply import Applier, ApplyFailed, Owner
from service.cluster.client import MERGE_PATCH, Cluster
from service.cluster.discovery import Discovery, object_path
from service.cluster.refusals import is_immutable
from tests.cluster.objects import built, deployment

OWNER = Owner(name="apps", namespace="flux-system")
POD: dict[str, Any] = {
    "metadata": {"labels": {"app": "a"}},
    "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox"}]},
}


def changed(object_: dict[str, Any], *path: str, to: Any) -> dict[str, Any]:
    """A copy with another value at a path."""
    copy: dict[str, Any] = json.loads(json.dumps(object_))
    place = copy
    for key in path[:-1]:
        place = place.setdefault(key, {})
    place[path[-1]] = to
    return copy


def made(kind: str, namespace: str) -> dict[str, Any]:
    """A manifest of the kind."""
    scoped = {"name": "one", "namespace": namespace}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "none"}
    pod = {**POD, "spec": {"containers": POD["spec"]["containers"]}}
    stateful = {"serviceName": "one", "selector": {"matchLabels": {"app": "a"}}, "template": pod}
    core = {"apiVersion": "v1", "kind": kind, "metadata": scoped}
    rbac = "rbac.authorization.k8s.io"
    reference = {"apiGroup": rbac, "kind": "Role", "name": "first"}
    return {
        "Deployment": deployment(namespace, "one"),
        "Job": {"apiVersion": "batch/v1", "kind": kind, "metadata": scoped, "spec": {"template": POD}},
        "Service": core | {"spec": {"ports": [{"port": 80}]}},
        "StatefulSet": {"apiVersion": "apps/v1", "kind": kind, "metadata": scoped, "spec": stateful},
        "PersistentVolumeClaim": core | {"spec": claim},
        "ConfigMap": core | {"data": {"a": "1"}, "immutable": True},
        "Secret": core | {"data": {"a": "MQ=="}, "immutable": True},
        "RoleBinding": {"apiVersion": f"{rbac}/v1", "kind": kind, "metadata": scoped, "roleRef": reference, "subjects": []},
        "StorageClass": {"apiVersion": "storage.k8s.io/v1", "kind": kind, "metadata": {"name": namespace}, "provisioner": "example.org/a"},
        "PriorityClass": {"apiVersion": "scheduling.k8s.io/v1", "kind": kind, "metadata": {"name": namespace}, "value": 10},
    }[kind]


IMMUTABLE: list[tuple[str, tuple[str, ...], Any]] = [
    ("Deployment", ("spec",), deployment("", "", app="b")["spec"]),
    ("Job", ("spec", "template", "spec", "containers"), [{"name": "c", "image": "busybox:2"}]),
    ("Service", ("spec", "clusterIP"), "10.0.0.77"),
    ("StatefulSet", ("spec", "serviceName"), "two"),
    ("PersistentVolumeClaim", ("spec", "accessModes"), ["ReadOnlyMany"]),
    ("ConfigMap", ("data", "a"), "2"),
    ("Secret", ("data", "a"), "Mg=="),
    ("RoleBinding", ("roleRef", "name"), "second"),
    ("StorageClass", ("provisioner",), "example.org/b"),
    ("PriorityClass", ("value",), 20),
]
INVALID: list[tuple[str, tuple[str, ...], Any]] = [
    ("Deployment", ("spec", "replicas"), -1),
    ("Deployment", ("spec", "template", "spec", "containers"), []),
    ("Job", ("spec", "backoffLimit"), -1),
    ("Service", ("spec", "ports"), [{"port": 99999999}]),
    ("StatefulSet", ("spec", "replicas"), -1),
    ("PersistentVolumeClaim", ("metadata", "labels"), {"bad": "no label!"}),
    ("ConfigMap", ("metadata", "labels"), {"bad": "no label!"}),
    ("Secret", ("type",), 7),
    ("StorageClass", ("reclaimPolicy",), "Whatever"),
]


class Ground:
    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.discovery = cluster, Discovery(cluster)
        self.applier = Applier(cluster, self.discovery)

    async def settles(self, object_: dict[str, Any]) -> None:
        """Applied again it is unchanged, once the controllers have put into the new object what is theirs."""
        async with asyncio.timeout(10):
            while await self.apply(object_, force=True) != "unchanged":
                continue

    async def apply(self, object_: dict[str, Any], *, force: bool = False) -> str:
        result = await self.applier.apply([built(object_)], mode="full", owner=OWNER, force=force, timeout=timedelta(seconds=20))
        return result.entries[0].action

    async def uid(self, object_: dict[str, Any]) -> str:
        resource = await self.discovery.resource(object_["apiVersion"], object_["kind"])
        path = object_path(resource, object_["metadata"].get("namespace"), object_["metadata"]["name"])
        body = (await self.cluster.request("GET", path)).body
        if "kubernetes.io/pvc-protection" in (body["metadata"].get("finalizers") or ()):  # no controller may be there to lift it
            await self.cluster.request("PATCH", path, body={"metadata": {"finalizers": None}}, content_type=MERGE_PATCH)
        return str(body["metadata"]["uid"])


@pytest.fixture
async def ground(cluster: Cluster) -> Ground:
    return Ground(cluster)


REAL = pytest.mark.parametrize("kubeconfig", [pytest.param("real", marks=pytest.mark.real)], indirect=True)
Case = tuple[str, tuple[str, ...], Any]


@REAL
@pytest.mark.parametrize("case", IMMUTABLE, ids=[each[0] for each in IMMUTABLE])
async def test_what_is_immutable_is_made_anew_by_force_alone(ground: Ground, namespace: str, case: Case) -> None:
    kind, path, value = case
    first = made(kind, namespace)
    await ground.apply(first)
    before = await ground.uid(first)
    second = changed(first, *path, to=value)
    with pytest.raises(ApplyFailed) as refused:
        await ground.apply(second)
    assert refused.value.error is not None
    assert is_immutable(refused.value.error), str(refused.value)
    assert await ground.uid(first) == before
    assert await ground.apply(second, force=True) == "created"
    assert await ground.uid(first) != before
    await ground.settles(second)


@REAL
@pytest.mark.parametrize("case", INVALID, ids=[f"{each[0]}-{each[1][-1]}" for each in INVALID])
async def test_an_invalid_manifest_never_costs_the_live_object(ground: Ground, namespace: str, case: Case) -> None:
    kind, path, value = case
    first = made(kind, namespace)
    await ground.apply(first)
    before = await ground.uid(first)
    bad = changed(first, *path, to=value)
    also = next(each for each in IMMUTABLE if each[0] == kind)
    both = bad if also[1][0] == "spec" and len(also[1]) == 1 else changed(bad, *also[1], to=also[2])
    for each in (bad, both):
        with pytest.raises(ApplyFailed):
            await ground.apply(each, force=True)
        assert await ground.uid(first) == before


@REAL
async def test_a_policy_that_says_no_never_costs_the_live_object(ground: Ground, cluster: Cluster, namespace: str) -> None:
    """Admission policies answer 422 Invalid as validation does."""
    admission = "/apis/admissionregistration.k8s.io/v1"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["configmaps"]}
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    policy = {
        "matchConstraints": {"namespaceSelector": selector, "resourceRules": [rule]},
        "validations": [{"expression": "object.data.a == oldObject.data.a", "message": "team says no"}],
    }
    kind = "ValidatingAdmissionPolicy"
    body = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": namespace}, "spec": policy}
    await cluster.request("POST", f"{admission}/validatingadmissionpolicies", body=body)
    binding = body | {"kind": f"{kind}Binding", "spec": {"policyName": namespace, "validationActions": ["Deny"]}}
    await cluster.request("POST", f"{admission}/validatingadmissionpolicybindings", body=binding)
    try:
        first = changed(made("ConfigMap", namespace), "immutable", to=False)
        await ground.apply(first)
        before = await ground.uid(first)
        for number in range(100):  # the policy counts a moment later
            try:
                await ground.apply(changed(first, "data", "a", to=f"{number}"), force=True)
            except ApplyFailed as error:
                assert "team says no" in str(error)  # noqa: PT017 - which of the tries it is, the server says
                break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError("the policy never counted")
        assert await ground.uid(first) == before
    finally:
        await cluster.request("DELETE", f"{admission}/validatingadmissionpolicybindings/{namespace}")
        await cluster.request("DELETE", f"{admission}/validatingadmissionpolicies/{namespace}")
