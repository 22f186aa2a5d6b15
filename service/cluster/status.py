"""The small writes on one object: its status, its finalizers, its annotations. Merge patches, under Flux's field managers.

https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from service.cluster.client import MERGE_PATCH, ApiError, Cluster
from service.cluster.discovery import Resource, object_path

MANAGERS = {
    "kustomize.toolkit.fluxcd.io": "gotk-kustomize-controller",
    "source.toolkit.fluxcd.io": "source-controller",
    "notification.toolkit.fluxcd.io": "gotk-notification-controller",
}
OTHER_MANAGER = "sluice"
_CONFLICTS = 5

Object = dict[str, Any]


def manager_of(resource: Resource) -> str:
    """The field manager that Flux's controller of this kind uses for status."""
    return MANAGERS.get(resource.group, OTHER_MANAGER)


async def patch_status(cluster: Cluster, resource: Resource, namespace: str, name: str, patch: Mapping[str, Any]) -> Object:
    """Merge `patch` (what stands under `status`; None removes a field) and return the object. Raises ApiError, ApiAway."""
    path = object_path(resource, namespace, name, "status")
    answer = await cluster.request(
        "PATCH", path, query={"fieldManager": manager_of(resource)}, body={"status": dict(patch)}, content_type=MERGE_PATCH
    )
    return answer.body


async def patch_annotations(
    cluster: Cluster, resource: Resource, namespace: str, name: str, annotations: Mapping[str, str | None]
) -> Object:
    """Set annotations (None removes one) and return the object. Raises ApiError, ApiAway."""
    path = object_path(resource, namespace, name)
    body = {"metadata": {"annotations": dict(annotations)}}
    return (await cluster.request("PATCH", path, query={"fieldManager": manager_of(resource)}, body=body, content_type=MERGE_PATCH)).body


async def add_finalizer(cluster: Cluster, resource: Resource, namespace: str, name: str, finalizer: str) -> Object | None:
    """Make sure that the finalizer is there and return the object; None when it is gone or being deleted. Raises ApiError, ApiAway."""

    def with_it(obj: Object, listed: Sequence[str]) -> Sequence[str] | None:
        return None if finalizer in listed or obj["metadata"].get("deletionTimestamp") else [*listed, finalizer]

    obj = await _change_finalizers(cluster, resource, (namespace, name), with_it)
    return obj if obj is not None and finalizer in obj["metadata"].get("finalizers", ()) else None


async def remove_finalizer(cluster: Cluster, resource: Resource, namespace: str, name: str, finalizer: str) -> Object | None:
    """Make sure that the finalizer is not there; None when the object is gone. Raises ApiError, ApiAway."""

    def without(_obj: Object, listed: Sequence[str]) -> Sequence[str] | None:
        return [one for one in listed if one != finalizer] if finalizer in listed else None

    return await _change_finalizers(cluster, resource, (namespace, name), without)


async def _change_finalizers(
    cluster: Cluster, resource: Resource, key: tuple[str, str], change: Callable[[Object, Sequence[str]], Sequence[str] | None]
) -> Object | None:
    """Read, change and write the list with its resourceVersion, so that nobody else's finalizer is lost."""
    path = object_path(resource, *key)
    for attempt in range(1, _CONFLICTS + 1):
        try:
            obj = (await cluster.request("GET", path)).body
            wanted = change(obj, obj["metadata"].get("finalizers") or [])
            if wanted is None:
                return obj
            body = {"metadata": {"finalizers": list(wanted), "resourceVersion": obj["metadata"]["resourceVersion"]}}
            query = {"fieldManager": manager_of(resource)}
            return (await cluster.request("PATCH", path, query=query, body=body, content_type=MERGE_PATCH)).body
        except ApiError as error:
            if error.not_found:
                return None
            if error.status != 409 or attempt == _CONFLICTS:
                raise
    raise AssertionError("unreachable")
