"""What there is to look at: the objects in the cluster, and what a running service remembers.

`Evidence` is all that `explain` asks. In the service objects of our kinds come from the watch caches and the memory speaks; from outside
(`FromCluster`) there is the cluster alone, and `facts` is empty.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol

from service.cluster.client import ApiAway, ApiError, Cluster
from service.cluster.discovery import Discovery, NoSuchKind, collection_path, object_path
from service.cluster.inventory import ObjectId
from service.kinds.meta import KUSTOMIZE_GROUP, ObjectKey
from service.kinds.table import KINDS, Kind

Raw = Mapping[str, Any]
READ_TIMEOUT = timedelta(seconds=10)
PAGE, MOST_OBJECTS, AT_ONCE = 100, 1000, 4
OWNER_NAME, OWNER_NAMESPACE = f"{KUSTOMIZE_GROUP}/name", f"{KUSTOMIZE_GROUP}/namespace"
SILENT = frozenset({"ConfigMap", "Secret"})
"""Healthy as soon as they are there; Secrets are never listed."""


class Evidence(Protocol):
    """All methods raise ApiAway and ApiError (but for "not found")."""

    @property
    def origin(self) -> str: ...

    @property
    def cluster(self) -> Cluster: ...

    async def object(self, kind: Kind, namespace: str, name: str) -> Raw | None: ...

    async def all(self, kind: Kind) -> Sequence[Raw]: ...

    async def facts(self, key: ObjectKey) -> dict[str, Any]: ...


class FromCluster:
    """The cluster alone."""

    origin = "cluster"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    async def object(self, kind: Kind, namespace: str, name: str) -> Raw | None:
        """None where it is not there, or its kind is not installed."""
        path = f"/apis/{kind.api_version}/namespaces/{namespace}/{kind.plural}/{name}"
        return await read(self.cluster, path)

    async def all(self, kind: Kind) -> Sequence[Raw]:
        return await listed(self.cluster, f"/apis/{kind.api_version}/{kind.plural}")

    async def facts(self, _key: ObjectKey) -> dict[str, Any]:
        """Nobody remembers."""
        return {}


async def read(cluster: Cluster, path: str) -> Raw | None:
    """One object, None where it is not there."""
    try:
        return (await cluster.request("GET", path, timeout=READ_TIMEOUT)).body
    except ApiError as error:
        if error.not_found:
            return None
        raise


async def listed(cluster: Cluster, path: str, selector: str = "") -> list[Raw]:
    """The objects of a collection, page by page, MOST_OBJECTS at most; [] for a kind that is not installed."""
    found: list[Raw] = []
    query = {"limit": str(PAGE)} | ({"labelSelector": selector} if selector else {})
    while len(found) < MOST_OBJECTS:
        try:
            body = (await cluster.request("GET", path, query=query, timeout=READ_TIMEOUT)).body
        except ApiError as error:
            if error.not_found:
                return found
            raise
        head = {"apiVersion": body.get("apiVersion"), "kind": str(body.get("kind") or "").removesuffix("List")}
        found += [{**head, **each} for each in body.get("items") or ()]
        token = (body.get("metadata") or {}).get("continue")
        if not token:
            return found
        query["continue"] = str(token)
    return found


async def live_objects(cluster: Cluster, ids: Sequence[ObjectId], *, owner: ObjectKey) -> dict[ObjectId, Raw | str | None]:
    """The managed objects as they are, None for what is not there, or the words of the refusal; those that cannot be unhealthy left out.

    One list for each kind and namespace, by the owner's labels; what lost its labels is read by itself.
    """
    discovery = Discovery(cluster)
    groups: dict[tuple[str, str, str], list[ObjectId]] = {}
    for id in ids:
        if not (id.kind in SILENT and id.group == ""):
            groups.setdefault((id.api_version, id.kind, id.namespace), []).append(id)
    selector = f"{OWNER_NAME}={owner.name},{OWNER_NAMESPACE}={owner.namespace}"
    found: dict[ObjectId, Raw | str | None] = {}
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(members: list[ObjectId]) -> None:
        async with gate:
            found.update(await _group(cluster, discovery, members, selector))

    async with asyncio.TaskGroup() as tasks:
        for (_, kind, _), members in groups.items():
            tasks.create_task(one(members), name=f"why: {kind}")
    return found


async def _group(cluster: Cluster, discovery: Discovery, members: list[ObjectId], selector: str) -> dict[ObjectId, Raw | str | None]:
    first = members[0]
    try:
        resource = await discovery.resource(first.api_version, first.kind)
        items = await listed(cluster, collection_path(resource, first.namespace), selector)
        by_name = {each["metadata"]["name"]: each for each in items}
        found: dict[ObjectId, Raw | str | None] = {}
        for id in members:
            found[id] = by_name.get(id.name) or await read(cluster, object_path(resource, id.namespace, id.name))
        return found
    except NoSuchKind as error:
        return dict.fromkeys(members, str(error))
    except ApiError as error:
        return dict.fromkeys(members, f"cannot be read: {error}")
    except ApiAway:
        return dict.fromkeys(members, "cannot be read: the API server does not answer")


def our_kind(text: str) -> Kind | None:
    """One of the kinds that are served, by its kind, plural or short name, in any case."""
    wanted = text.lower()
    return next((each for each in KINDS if wanted in (each.kind.lower(), each.plural, *each.short_names)), None)
