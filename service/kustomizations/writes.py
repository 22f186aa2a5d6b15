"""What a Kustomization's reconciler writes on the object itself: status and finalizer, through service.cluster.status."""

from collections.abc import Mapping
from typing import Any

from service.cluster.client import Cluster
from service.cluster.discovery import Discovery, Resource
from service.cluster.status import add_finalizer, patch_annotations, patch_status, remove_finalizer
from service.kinds.meta import FINALIZER, PRUNE_ALLOWED

Raw = Mapping[str, Any]


class Writes:
    """Each returns the object as it then is. Raises ApiError, ApiAway."""

    def __init__(self, cluster: Cluster, discovery: Discovery) -> None:
        self._cluster = cluster
        self._discovery = discovery

    async def status(self, raw: Raw, status: Raw) -> Raw:
        """Merge into the status."""
        return await patch_status(self._cluster, await self._resource(raw), *_place(raw), status)

    async def add_finalizer(self, raw: Raw) -> Raw | None:
        """None where the object is gone or being deleted."""
        return await add_finalizer(self._cluster, await self._resource(raw), *_place(raw), FINALIZER)

    async def forget_approval(self, raw: Raw) -> Raw:
        """Take away the annotation that has allowed a prune."""
        return await patch_annotations(self._cluster, await self._resource(raw), *_place(raw), {PRUNE_ALLOWED: None})

    async def remove_finalizer(self, raw: Raw) -> None:
        """Let the object go."""
        await remove_finalizer(self._cluster, await self._resource(raw), *_place(raw), FINALIZER)

    async def _resource(self, raw: Raw) -> Resource:
        return await self._discovery.resource(raw["apiVersion"], raw["kind"])


def _place(raw: Raw) -> tuple[str, str]:
    return raw["metadata"].get("namespace", ""), raw["metadata"]["name"]
