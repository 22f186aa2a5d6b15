"""What stands behind the entries of a Receiver: from the graph where the kind is watched, from the API server where it is not.

In: entries of `spec.resources`. Out: for each `*` entry the objects that carry its labels.
"""

from collections.abc import Mapping
from datetime import timedelta

from service.cluster.client import ApiError, Cluster
from service.cluster.discovery import Discovery, NoSuchKind, Resource, collection_path, object_path
from service.kinds.meta import ObjectKey
from service.triggers.graph import Graph, Node, node_of
from service.triggers.targets import Entry

PAGE = 500
LIST_TIMEOUT = timedelta(seconds=20)


class Listing:
    """Answers for one cluster."""

    def __init__(self, graph: Graph, cluster: Cluster, discovery: Discovery) -> None:
        self.graph = graph
        self._cluster = cluster
        self._discovery = discovery

    async def behind(self, entry: Entry) -> tuple[Node, ...]:
        """Return the objects of a `*` entry, () for one that names its object or has a problem. Raises NoSuchKind, ApiError, ApiAway."""
        if entry.problem or not entry.is_wide:
            return ()
        if entry.ref.kind in self.graph.covers:
            return tuple(node for node in self.graph.members(entry.ref.kind, entry.namespace) if _carries(node, entry.ref.match_labels))
        return await self._from_cluster(entry)

    async def named(self, entry: Entry) -> tuple[Node, ...]:
        """Return the object that an entry names, () where it is not there. Raises ApiError, ApiAway."""
        key = entry.key
        if entry.ref.kind in self.graph.covers:
            node = self.graph.node(key)
            return () if node is None else (node,)
        try:
            resource = await self._resource(entry)
            path = object_path(resource, key.namespace, key.name)
            answer = await self._cluster.request("GET", path, timeout=LIST_TIMEOUT)
        except NoSuchKind:
            return ()
        except ApiError as error:
            if not error.not_found:
                raise
            return ()
        return (node_of(key, answer.body),)

    async def _resource(self, entry: Entry) -> Resource:
        if entry.ref.api_version:
            return await self._discovery.resource(entry.ref.api_version, entry.ref.kind)
        return await self._discovery.preferred(entry.group, entry.ref.kind)

    async def _from_cluster(self, entry: Entry) -> tuple[Node, ...]:
        resource = await self._resource(entry)
        selector = ",".join(f"{name}={value}" for name, value in sorted(entry.ref.match_labels.items()))
        query = {"labelSelector": selector, "limit": str(PAGE)}
        found: list[Node] = []
        while True:
            path = collection_path(resource, entry.namespace)
            answer = await self._cluster.request("GET", path, query=query, timeout=LIST_TIMEOUT)
            for item in answer.body.get("items") or ():
                whole = {"apiVersion": resource.api_version, "kind": resource.kind, **item}
                name = str((item.get("metadata") or {}).get("name") or "")
                key = ObjectKey(group=entry.group, kind=entry.ref.kind, namespace=entry.namespace, name=name)
                found.append(node_of(key, whole))
            query["continue"] = (answer.body.get("metadata") or {}).get("continue") or ""
            if not query["continue"]:
                return tuple(found)


def _carries(node: Node, labels: Mapping[str, str]) -> bool:
    return all(node.labels.get(name) == value for name, value in labels.items())
