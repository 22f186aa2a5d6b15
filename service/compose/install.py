"""The embedded API starts with our CustomResourceDefinitions and the runtime namespace in it, so that there is nothing to install."""

from service.cluster.client import APPLY_PATCH, Cluster
from service.kinds.crd import definition
from service.kinds.table import KINDS


async def install_kinds(cluster: Cluster, namespace: str) -> None:
    """Apply both. Raises ApiError, ApiAway."""
    query = {"fieldManager": "sluice", "force": "true"}
    for kind in KINDS:
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{kind.plural}.{kind.group}"
        await cluster.request("PATCH", path, query=query, body=definition(kind), content_type=APPLY_PATCH)
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    await cluster.request("PATCH", f"/api/v1/namespaces/{namespace}", query=query, body=body, content_type=APPLY_PATCH)
