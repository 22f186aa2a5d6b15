"""A tenant who may write his own namespace alone, on a real kube-apiserver; sluice has the chart's role with `rbac.apply: impersonate`.

Whatever he writes into his Kustomizations, nothing of another namespace is written, deleted, or told to him.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from service.cluster.client import MERGE_PATCH
from tests.end_to_end.chart import may_impersonate, service_account
from tests.end_to_end.kubernetes import Kubernetes
from tests.end_to_end.sluice_process import Sluice
from tests.kustomizations.test_tenancy import account
from tests.kustomizations.town import PATHS, SHARD, Object, Town, config_map, is_at, ready, town

pytestmark = pytest.mark.real
BLOCKED = "cross-namespace references have been blocked"


@pytest.fixture
async def city(real_kubeconfig: Path, tmp_path: Path, namespace_name: str) -> AsyncIterator[Town]:
    async with town(tmp_path, real_kubeconfig, namespace_name) as made:
        await account(made, "tenant", resources=["configmaps"])
        yield made


async def stranger(city: Town, namespace: str) -> None:
    """Another's namespace, with a treasure that looks as if the tenant's Kustomization owned it, and objects worth naming."""
    await city.api.request("POST", "/api/v1/namespaces", body={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    labels = {f"kustomize.toolkit.fluxcd.io/{key}": value for key, value in (("name", "thief"), ("namespace", city.namespace))}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "treasure", "labels": labels}, "data": {"value": "gold"}}
    await city.api.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", body=body)
    for each in (city.source(), city.kustomization("infra")):
        each["metadata"]["namespace"] = namespace
        each["metadata"]["labels"] = {}
        await city.apply(each)


async def treasure(city: Town, namespace: str) -> Object:
    return (await city.api.request("GET", PATHS["ConfigMap"].format(namespace, "treasure"))).body


async def denied(city: Town, name: str, reason: str) -> str:
    """The message, as soon as the Kustomization is not ready for this reason."""

    def is_so(now: Object) -> bool:
        return (ready(now).get("status"), ready(now).get("reason")) == ("False", reason)

    return str(ready(await city.wait_outside("Kustomization", name, is_so, seconds=45))["message"])


async def test_a_tenant_gets_nothing_of_another_namespace(city: Town, tmp_path: Path) -> None:
    """Some 40 s: a process of its own, and a health check has 30."""
    other, platform = f"{city.namespace}-b", f"{city.namespace}-p"
    city.repository.commit({f"{name}/a.yaml": config_map(name, "1") for name in ("thief", "peeping", "reaching")})
    await stranger(city, other)
    admin = Kubernetes(city.kubeconfig)
    admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": platform}}, *may_impersonate(platform))
    credentials = service_account(admin, tmp_path, namespace=platform, into=())
    flags = ["--no-cross-namespace-refs", "--default-service-account=tenant", f"--watch-label-selector={SHARD}={city.namespace}"]
    arguments = [f"--kubeconfig={credentials}", f"--runtime-namespace={platform}", *flags]
    elsewhere: dict[str, Any] = {"kind": "GitRepository", "name": "fleet", "namespace": other}
    await city.apply(
        city.source(),
        city.kustomization("thief"),
        city.kustomization("reaching", targetNamespace=other),
        city.kustomization("peeping", healthChecks=[{"apiVersion": "v1", "kind": "ConfigMap", "name": "treasure", "namespace": other}]),
        city.kustomization("borrowing", path="./thief", sourceRef=elsewhere),
        city.kustomization("leaning", path="./thief", dependsOn=[{"name": "infra", "namespace": other}]),
    )
    before = await treasure(city, other)
    with Sluice(tmp_path / "sluice", arguments) as sluice:
        await asyncio.to_thread(sluice.start)
        await city.wait_outside("Kustomization", "thief", lambda now: is_at(now, city.revision), seconds=30)
        tenant = f'User "system:serviceaccount:{city.namespace}:tenant" cannot'
        assert tenant in await denied(city, "reaching", "ReconciliationFailed")
        assert await denied(city, "borrowing", "AccessDenied") == f"can't access 'GitRepository/{other}/fleet', {BLOCKED}"
        assert await denied(city, "leaning", "AccessDenied") == f"can't access 'Kustomization/{other}/infra', {BLOCKED}"

        forged = [{"id": f"{city.namespace}_thief__ConfigMap", "v": "v1"}, {"id": f"{other}_treasure__ConfigMap", "v": "v1"}]
        path = PATHS["Kustomization"].format(city.namespace, "thief") + "/status"
        await city.api.request("PATCH", path, body={"status": {"inventory": {"entries": forged}}}, content_type=MERGE_PATCH)
        await city.ask("thief", "prune")
        assert tenant in await denied(city, "thief", "PruneFailed")
        await city.patch("Kustomization", "thief", {"metadata": {"annotations": {"kustomize.sluice.dev/drift": "watch"}}})
        await city.delete("Kustomization", "thief")
        await asyncio.sleep(2)
        assert await city.get("ConfigMap", "thief") is None, "his own is his to delete"
        peeped = await denied(city, "peeping", "HealthCheckFailed")
    assert "gold" not in peeped
    assert "Current" not in peeped
    assert await treasure(city, other) == before
    names = {each["metadata"]["name"] for each in (await city.api.request("GET", f"/api/v1/namespaces/{other}/configmaps")).body["items"]}
    assert names - {"kube-root-ca.crt"} == {"treasure"}
    assert "gold" not in sluice.log_file.read_text()
