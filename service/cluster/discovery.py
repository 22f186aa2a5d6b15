"""apiVersion and kind in, the resource's name, scope and path out. One request per group version, when it is first needed.

https://kubernetes.io/docs/reference/using-api/api-concepts/#discovery-api
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from service.cluster.client import ApiError, Cluster, ClusterError

MISS_AGAIN_AFTER = timedelta(seconds=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A kind as the server serves it: group is "" for the core group, plural is the name in paths."""

    group: str
    version: str
    plural: str
    namespaced: bool
    kind: str

    @property
    def api_version(self) -> str:
        """As in a manifest: "v1", "apps/v1"."""
        return f"{self.group}/{self.version}" if self.group else self.version


class NoSuchKind(ClusterError):
    """The server does not serve this kind (its CustomResourceDefinition is not installed). str() is kubectl's phrase."""

    def __init__(self, api_version: str, kind: str) -> None:
        super().__init__(f'no matches for kind "{kind}" in version "{api_version}"')
        self.api_version = api_version
        self.kind = kind


class Discovery:
    """What the server serves, remembered. A miss asks again, but a group version not more often than every two seconds."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._kinds: dict[str, dict[str, Resource]] = {}
        self._learnt: dict[tuple[str, str], Resource] = {}
        self._asked: dict[str, float] = {}
        self._asking: dict[str, asyncio.Lock] = {}  # many ask for the same at once: one request, all wait for it

    async def resource(self, api_version: str, kind: str) -> Resource:
        """Return the resource of a kind. Raises NoSuchKind, ApiError, ApiAway."""
        found = self._known(api_version, kind)
        if found is not None:
            return found
        async with self._asking.setdefault(api_version, asyncio.Lock()):
            asked = self._asked.get(api_version)
            if asked is None or time.monotonic() - asked > MISS_AGAIN_AFTER.total_seconds():
                await self._ask(api_version)
        found = self._known(api_version, kind)
        if found is None:
            raise NoSuchKind(api_version, kind)
        return found

    async def preferred(self, group: str, kind: str) -> Resource:
        """Return a kind in the version that the server prefers, where only the group is known. Raises NoSuchKind, ApiError, ApiAway."""
        if not group:
            return await self.resource("v1", kind)
        try:
            answer = await self._cluster.request("GET", f"/apis/{quote(group)}")
        except ApiError as error:
            if error.not_found:
                raise NoSuchKind(group, kind) from error
            raise
        first = answer.body.get("preferredVersion", {}).get("groupVersion")
        versions = [first, *(entry["groupVersion"] for entry in answer.body.get("versions", ()))]
        for api_version in dict.fromkeys(filter(None, versions)):
            try:
                return await self.resource(api_version, kind)
            except NoSuchKind:
                continue
        raise NoSuchKind(group, kind)

    def learn(self, definition: Mapping[str, Any]) -> None:
        """Take over the kinds of an established CustomResourceDefinition at once: discovery documents follow some time later."""
        spec = definition["spec"]
        for version in spec.get("versions", ()):
            if version.get("served"):
                resource = Resource(
                    group=spec["group"],
                    version=version["name"],
                    plural=spec["names"]["plural"],
                    namespaced=spec.get("scope") == "Namespaced",
                    kind=spec["names"]["kind"],
                )
                self._learnt[resource.api_version, resource.kind] = resource

    def forget(self) -> None:
        """Ask afresh from now on: CustomResourceDefinitions came or went."""
        self._kinds.clear()
        self._learnt.clear()
        self._asked.clear()

    def _known(self, api_version: str, kind: str) -> Resource | None:
        return self._kinds.get(api_version, {}).get(kind) or self._learnt.get((api_version, kind))

    async def _ask(self, api_version: str) -> None:
        group, _, version = api_version.rpartition("/")
        try:
            answer = await self._cluster.request("GET", f"/apis/{quote(group)}/{quote(version)}" if group else f"/api/{quote(version)}")
        except ApiError as error:
            if not error.not_found:
                raise
            self._kinds.pop(api_version, None)
            self._asked[api_version] = time.monotonic()
            return
        self._asked[api_version] = time.monotonic()
        self._kinds[api_version] = {
            entry["kind"]: Resource(group=group, version=version, plural=entry["name"], namespaced=entry["namespaced"], kind=entry["kind"])
            for entry in answer.body.get("resources", ())
            if "/" not in entry["name"]
        }


def collection_path(resource: Resource, namespace: str | None) -> str:
    """The path of all objects of a kind, in one namespace or (None or "") in all."""
    root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    inside = f"/namespaces/{quote(namespace, safe='')}" if namespace and resource.namespaced else ""
    return f"{root}{inside}/{resource.plural}"


def object_path(resource: Resource, namespace: str | None, name: str, subresource: str | None = None) -> str:
    """The path of one object; `namespace` is ignored for a cluster-scoped kind."""
    path = f"{collection_path(resource, namespace)}/{quote(name, safe='')}"
    return f"{path}/{subresource}" if subresource else path
