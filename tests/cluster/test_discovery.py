import asyncio

import pytest

from service.cluster.client import Cluster
from service.cluster.discovery import Discovery, NoSuchKind, Resource, collection_path, object_path
from tests.cluster.objects import definition

CONFIG_MAP = Resource(group="", version="v1", plural="configmaps", namespaced=True, kind="ConfigMap")
CLUSTER_ROLE = Resource(group="rbac.authorization.k8s.io", version="v1", plural="clusterroles", namespaced=False, kind="ClusterRole")


async def test_built_in_kinds_are_found(discovery: Discovery) -> None:
    assert await discovery.resource("v1", "ConfigMap") == CONFIG_MAP
    assert (await discovery.resource("apps/v1", "Deployment")).plural == "deployments"
    assert not (await discovery.resource("v1", "Namespace")).namespaced


@pytest.mark.parametrize("api_version", ["v1", "nobody.example.org/v1"])
async def test_unknown_kind_is_named_as_kubectl_does(discovery: Discovery, api_version: str) -> None:
    with pytest.raises(NoSuchKind) as caught:
        await discovery.resource(api_version, "Gizmo")
    assert str(caught.value) == f'no matches for kind "Gizmo" in version "{api_version}"'


async def test_preferred_version_is_found_by_group(discovery: Discovery) -> None:
    assert (await discovery.preferred("apps", "Deployment")).api_version == "apps/v1"
    assert await discovery.preferred("", "ConfigMap") == CONFIG_MAP
    with pytest.raises(NoSuchKind):
        await discovery.preferred("nobody.example.org", "Gizmo")


async def test_new_kind_is_found_after_forgetting(cluster: Cluster, discovery: Discovery, namespace_name: str) -> None:
    group = f"{namespace_name}.example.org"
    with pytest.raises(NoSuchKind):
        await discovery.resource(f"{group}/v1", "Gadget")
    body = definition(group)
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await cluster.request("POST", path, body=body)
    try:
        discovery.learn(body)
        learnt = await discovery.resource(f"{group}/v1", "Gadget")
        async with asyncio.timeout(10):
            while True:
                discovery.forget()
                try:
                    assert await discovery.resource(f"{group}/v1", "Gadget") == learnt
                    break
                except NoSuchKind:
                    await asyncio.sleep(0.05)
    finally:
        await cluster.request("DELETE", f"{path}/{body['metadata']['name']}")


def test_paths_are_quoted() -> None:
    assert object_path(CONFIG_MAP, "ns", "a") == "/api/v1/namespaces/ns/configmaps/a"
    assert object_path(CONFIG_MAP, "ns", "../b", "status") == "/api/v1/namespaces/ns/configmaps/..%2Fb/status"
    assert object_path(CLUSTER_ROLE, "ignored", "system:x") == "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Ax"
    assert collection_path(CONFIG_MAP, None) == "/api/v1/configmaps"
