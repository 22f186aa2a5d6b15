"""The API side of a source reconciler: read an object, patch its status and its finalizers, as Flux's controllers do."""

from collections.abc import Callable, Mapping
from typing import Any

from service.cluster.client import MERGE_PATCH, ApiError, Cluster
from service.cluster.discovery import Discovery, object_path
from service.kinds.meta import FINALIZER, SOURCE_MANAGER, ObjectKey

Raw = Mapping[str, Any]


class Objects:
    """Objects of one group. After a write the answer counts until the cache behind `read` has caught up."""

    def __init__(
        self,
        cluster: Cluster,
        discovery: Discovery,
        read: Callable[[ObjectKey], Raw | None] | None,
        *,
        finalizer: str = FINALIZER,
        manager: str = SOURCE_MANAGER,
    ) -> None:
        self._finalizer, self._manager = finalizer, manager
        self._cluster = cluster
        self._discovery = discovery
        self._read = read
        self._written: dict[ObjectKey, Raw] = {}

    async def get(self, key: ObjectKey) -> Raw | None:
        """Return the object, None where there is none. Raises ApiError, ApiAway, NoSuchKind."""
        if self._read is not None:
            return self._newest(key, self._read(key))
        try:
            return (await self._cluster.request("GET", await self._path(key, f"{key.group}/v1"))).body
        except ApiError as error:
            if error.not_found:
                return None
            raise

    def _newest(self, key: ObjectKey, cached: Raw | None) -> Raw | None:
        written = self._written.get(key)
        if cached is None or written is None or cached["metadata"].get("uid") != written["metadata"].get("uid"):
            self._written.pop(key, None)
            return cached
        if _version(cached) >= _version(written):
            self._written.pop(key, None)
            return cached
        return written

    async def add_finalizer(self, key: ObjectKey, raw: Raw) -> Raw:
        """Return the object with our finalizer, writing it if it is not there."""
        present = raw["metadata"].get("finalizers") or []
        return raw if self._finalizer in present else await self._finalizers(key, raw, [*present, self._finalizer])

    async def remove_finalizer(self, key: ObjectKey, raw: Raw) -> None:
        """Let the object go."""
        present = raw["metadata"].get("finalizers") or []
        if self._finalizer in present:
            try:
                await self._finalizers(key, raw, [each for each in present if each != self._finalizer])
            except ApiError as error:
                if not error.not_found:
                    raise
        self.forget(key)

    async def _finalizers(self, key: ObjectKey, raw: Raw, names: list[str]) -> Raw:
        metadata = {"finalizers": names, "resourceVersion": raw["metadata"].get("resourceVersion")}
        return await self._patch(key, raw, {"metadata": metadata}, None)

    async def patch_status(self, key: ObjectKey, raw: Raw, status: Raw) -> None:
        """Merge `status` into the object's status."""
        await self._patch(key, raw, {"status": status}, "status")

    async def _patch(self, key: ObjectKey, raw: Raw, body: Raw, subresource: str | None) -> Raw:
        path = await self._path(key, raw["apiVersion"], subresource)
        answer = await self._cluster.request("PATCH", path, query={"fieldManager": self._manager}, body=body, content_type=MERGE_PATCH)
        self._written[key] = answer.body
        return answer.body

    def forget(self, key: ObjectKey) -> None:
        """The object is gone."""
        self._written.pop(key, None)

    async def _path(self, key: ObjectKey, api_version: str, subresource: str | None = None) -> str:
        return object_path(await self._discovery.resource(api_version, key.kind), key.namespace, key.name, subresource)


def _version(raw: Raw) -> int:
    """Resource versions of one object are compared as numbers, which the API machinery allows since Kubernetes 1.35."""
    text = str(raw["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdigit() else 0
