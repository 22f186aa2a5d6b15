"""Kustomizations that apply as a service account: who asks, what a real kube-apiserver's RBAC lets them do, and what becomes of them."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.kustomizations.town import Object, Town, config_map, inventory, ready, town

RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/{}"


async def account(place: Town, name: str, *, resources: list[str] | None = None) -> None:
    """A ServiceAccount that may do everything with these resources of its namespace."""
    path = f"/api/v1/namespaces/{place.namespace}/serviceaccounts"
    await place.api.request("POST", path, body={"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
    if resources is None:
        return
    api, rules = "rbac.authorization.k8s.io/v1", [{"apiGroups": ["", "apps"], "resources": resources, "verbs": ["*"]}]
    role = {"apiVersion": api, "kind": "Role", "metadata": {"name": name}, "rules": rules}
    binding = {
        "apiVersion": api,
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": place.namespace}],
    }
    await place.api.request("POST", RBAC.format(place.namespace, "roles"), body=role)
    await place.api.request("POST", RBAC.format(place.namespace, "rolebindings"), body=binding)


def as_tenant(place: Town, **spec: Any) -> Object:
    return place.kustomization("shop", serviceAccountName="tenant", **spec)


@pytest.fixture
async def city(real_kubeconfig: Path, tmp_path: Path, namespace_name: str) -> Any:
    async with town(tmp_path, real_kubeconfig, namespace_name) as made:
        yield made


@pytest.mark.real
async def test_a_tenant_applies_prunes_and_is_deleted_with_its_own_rights_only(city: Town) -> None:
    service = '{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}'
    city.repository.commit({"shop/a.yaml": config_map("shop", "1"), "shop/b.yaml": config_map("more", "1")})
    await account(city, "tenant", resources=["configmaps"])
    await city.start()
    await city.apply(city.source(), as_tenant(city, wait=True))
    await city.at(city.revision, "shop")
    revision = city.push({"shop/b.yaml": None})
    await city.at(revision, "shop")
    assert await city.values() == {"shop": "1"}

    city.push({"shop/web.yaml": service})  # sluice itself might
    seen = await city.not_ready("shop", "ReconciliationFailed")
    assert f'User "system:serviceaccount:{city.namespace}:tenant" cannot' in ready(seen)["message"]
    assert await city.get("Service", "web") is None
    revision = city.push({"shop/web.yaml": None})
    await city.at(revision, "shop")
    await city.delete("Kustomization", "shop")
    await city.wait_gone("Kustomization", "shop")
    assert await city.values() == {}


@pytest.mark.real
async def test_the_default_account_binds_those_that_name_none(city: Town) -> None:
    city.settings = {"default_service_account": "tenant"}
    city.repository.commit({"shop/a.yaml": config_map("shop", "1")})
    await account(city, "tenant")
    await city.start()
    await city.apply(city.source(), city.kustomization("shop"))
    seen = await city.not_ready("shop", "ReconciliationFailed")
    assert f"system:serviceaccount:{city.namespace}:tenant" in ready(seen)["message"]
    assert await city.value("shop") is None


async def test_an_account_that_is_gone_leaves_the_objects_and_lets_the_kustomization_go(place: Town) -> None:
    place.repository.commit({"shop/a.yaml": config_map("shop", "1")})
    await account(place, "tenant", resources=["configmaps"] if await _real(place) else None)
    await place.start()
    await place.apply(place.source(), as_tenant(place))
    seen = (await place.at(place.revision, "shop"))[0]
    assert len(inventory(seen)) == 1
    await place.api.request("DELETE", f"/api/v1/namespaces/{place.namespace}/serviceaccounts/tenant")
    await place.delete("Kustomization", "shop")
    await place.wait_gone("Kustomization", "shop")
    assert await place.value("shop") == "1"
    async with asyncio.timeout(5):
        while not (told := await place.events("shop", severity="error")):  # noqa: ASYNC110 - a server's doing
            await asyncio.sleep(0.01)
    assert "is gone" in told[-1]["message"]
    assert f"ConfigMap/{place.namespace}/shop" in told[-1]["message"]


async def _real(place: Town) -> bool:
    return "rbac.authorization.k8s.io" in str((await place.api.request("GET", "/apis")).body)


@pytest.mark.parametrize("name", ["Tenant", "a:b", "x\r\nImpersonate-Group: system:masters", "../tenant"])
async def test_a_name_that_no_account_can_have_never_becomes_a_header(hamlet: Town, name: str) -> None:
    hamlet.repository.commit({"shop/a.yaml": config_map("shop", "1")})
    await hamlet.start()
    await hamlet.apply(hamlet.source())
    await hamlet.wait("GitRepository", "fleet", lambda seen: ready(seen).get("status") == "True")
    await hamlet.apply(hamlet.kustomization("shop", serviceAccountName=name))
    seen = await hamlet.not_ready("shop", "ValidationFailed")
    assert "is no name of a ServiceAccount" in ready(seen)["message"]
    assert await hamlet.value("shop") is None
    await hamlet.delete("Kustomization", "shop")  # nobody's rights to delete with
    await hamlet.wait_gone("Kustomization", "shop")


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"sourceRef": {"kind": "GitRepository", "name": "fleet", "namespace": "else"}}, "GitRepository/else/fleet"),
        ({"sourceRef": {"kind": "OCIRepository", "name": "fleet", "namespace": "else"}}, "OCIRepository/else/fleet"),
        ({"dependsOn": [{"name": "infra", "namespace": "else"}]}, "Kustomization/else/infra"),
        ({"dependsOn": [{"name": "infra", "namespace": "else", "readyExpr": "true"}]}, "Kustomization/else/infra"),
    ],
)
async def test_a_reference_to_another_namespace_is_refused_where_they_are_blocked(hamlet: Town, spec: dict[str, Any], named: str) -> None:
    hamlet.settings = {"no_cross_namespace_refs": True}
    hamlet.repository.commit({"shop/a.yaml": config_map("shop", "1")})
    await hamlet.start()
    own = {"sourceRef": {"kind": "GitRepository", "name": "fleet", "namespace": hamlet.namespace}}
    await hamlet.apply(hamlet.source(), hamlet.kustomization("own", path="./shop", **own))
    await hamlet.at(hamlet.revision, "own")
    await hamlet.apply(hamlet.kustomization("shop", **spec))
    seen = await hamlet.not_ready("shop", "AccessDenied")
    assert ready(seen)["message"] == f"can't access '{named}', cross-namespace references have been blocked"
    await hamlet.patch("Kustomization", "shop", {"spec": {"sourceRef": {"namespace": None}, "dependsOn": None}})
    await hamlet.patch("Kustomization", "shop", {"spec": {"sourceRef": {"kind": "GitRepository", "name": "fleet"}}})
    await hamlet.at(hamlet.revision, "shop")
