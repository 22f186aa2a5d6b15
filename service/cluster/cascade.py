"""Live objects that are about to be deleted in, what their deletion takes with it out. Counts, deletes nothing.

A Namespace takes what is in it, a CustomResourceDefinition its objects, a Flux Kustomization or HelmRelease what its inventory names (and,
through those, more). A finalizer stands for something that a controller tears down elsewhere.
https://kubernetes.io/docs/concepts/architecture/garbage-collection/, https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from service.cluster.client import ApiAway, ApiError, Cluster
from service.cluster.discovery import Discovery, NoSuchKind, Resource, collection_path, object_path
from service.cluster.inventory import BadEntry, ObjectId, parse

__all__ = ["Cascade", "Going", "toll"]

AT_ONCE = 8
PAGE = 500
DEEPEST = 5
_FLUX = {("kustomize.toolkit.fluxcd.io", "Kustomization"), ("helm.toolkit.fluxcd.io", "HelmRelease")}
_CASCADES = _FLUX | {("", "Namespace"), ("apiextensions.k8s.io", "CustomResourceDefinition")}
_FINALIZER = "finalizers.fluxcd.io"
# these only delay: what they wait for is counted, or is nothing that is lost
_DELAYS = frozenset(
    {
        _FINALIZER,
        "foregroundDeletion",
        "orphan",
        "kubernetes",
        "kubernetes.io/pvc-protection",
        "kubernetes.io/pv-protection",
        "customresourcecleanup.apiextensions.k8s.io",
    }
)
_MADE_BY_THE_CLUSTER = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}
_PASSING = frozenset({"Event", "Endpoints", "EndpointSlice", "Lease"})


@dataclass(slots=True, kw_only=True)
class Going:
    """One object that would be deleted. `with_it`: what goes with it; `more`: how many besides, not named; `finalizers`: what is torn
    down elsewhere; `unknown`: what could not be counted."""

    object: ObjectId
    with_it: set[ObjectId] = field(default_factory=set)
    more: int = 0
    finalizers: tuple[str, ...] = ()
    unknown: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """`Namespace/shop and 14 objects with it`."""
        said = str(self.object)
        if self.with_it or self.more:
            said += f" and {len(self.with_it) + self.more} objects with it"
        if self.finalizers:
            said += f", torn down by {', '.join(self.finalizers)}"
        return said + (f", not counted: {', '.join(self.unknown[:3])}" if self.unknown else "")


def toll(going: Iterable[Going]) -> int:
    """How much goes in all: each object once, and each finalizer."""
    found = tuple(going)
    named = {each.object for each in found}.union(*(each.with_it for each in found))
    return len(named) + sum(each.more + len(each.finalizers) for each in found)


class Cascade:
    """Looks up what goes. Each method raises ApiAway; what the server refuses to show is `unknown`."""

    def __init__(self, cluster: Cluster, discovery: Discovery) -> None:
        self._cluster = cluster
        self._discovery = discovery

    async def of(self, live: Mapping[ObjectId, Mapping[str, Any]]) -> tuple[Going, ...]:
        """What the deletion of these objects (live, by id) takes with it, in their order."""
        slots = asyncio.Semaphore(AT_ONCE)
        return tuple([await self._one(id, object_, slots) for id, object_ in live.items()])

    async def _one(self, id: ObjectId, live: Mapping[str, Any], slots: asyncio.Semaphore) -> Going:
        finalizers = live["metadata"].get("finalizers") or ()
        going = Going(object=id, finalizers=tuple(name for name in finalizers if name not in _DELAYS))
        seen = {id}
        wave: list[tuple[ObjectId, Mapping[str, Any]]] = [(id, live)]
        for _ in range(DEEPEST):
            found: list[ObjectId] = []
            for each, object_ in wave:
                found += await self._followers(each, object_, going, slots)
            fresh = [each for each in dict.fromkeys(found) if each not in seen]
            seen.update(fresh)
            going.with_it.update(fresh)
            wave = [(each, found_live) for each in fresh if (found_live := await self._live(each, going)) is not None]
            if not wave:
                return going
        going.unknown.append(f"what goes with {wave[0][0]}")
        return going

    async def _followers(self, id: ObjectId, live: Mapping[str, Any], going: Going, slots: asyncio.Semaphore) -> list[ObjectId]:
        if (id.group, id.kind) in _FLUX:
            return _inventory(id, live, going)
        if (id.group, id.kind) == ("", "Namespace"):
            return await self._inside(id.name, going, slots)
        if id.kind == "CustomResourceDefinition":
            return await self._instances(live, going, slots)
        return []

    async def _live(self, id: ObjectId, going: Going) -> Mapping[str, Any] | None:
        """The object, if its kind takes others with it."""
        if (id.group, id.kind) not in _CASCADES:
            return None
        try:
            resource = await self._discovery.resource(id.api_version, id.kind)
            return (await self._cluster.request("GET", object_path(resource, id.namespace, id.name))).body
        except (ApiError, NoSuchKind) as error:
            if not isinstance(error, ApiError) or not error.not_found:
                going.unknown.append(f"what goes with {id}")
            return None

    async def _instances(self, definition: Mapping[str, Any], going: Going, slots: asyncio.Semaphore) -> list[ObjectId]:
        spec = definition["spec"]
        version = next((each["name"] for each in spec.get("versions", ()) if each.get("served")), None)
        if version is None:
            return []
        names = spec["names"]
        resource = Resource(group=spec["group"], version=version, plural=names["plural"], namespaced=True, kind=names["kind"])
        return await self._listed(resource, None, going, slots)

    async def _inside(self, namespace: str, going: Going, slots: asyncio.Semaphore) -> list[ObjectId]:
        """What is in a namespace, but for what the cluster makes by itself or what other objects own (those are counted)."""
        kinds = await self._namespaced(going)
        found = await asyncio.gather(*(self._listed(resource, namespace, going, slots) for resource in kinds))
        return [id for ids in found for id in ids]

    async def _listed(self, resource: Resource, namespace: str | None, going: Going, slots: asyncio.Semaphore) -> list[ObjectId]:
        async with slots:
            try:
                body = (await self._cluster.list_metadata(collection_path(resource, namespace), limit=PAGE)).body
            except ApiError as error:
                if not error.not_found:
                    going.unknown.append(resource.plural)
                return []
        going.more += int((body.get("metadata") or {}).get("remainingItemCount") or 0)
        found = (each["metadata"] for each in body.get("items") or ())
        return [
            ObjectId(each.get("namespace", ""), each["name"], resource.group, resource.kind, resource.version)
            for each in found
            if not each.get("ownerReferences") and (resource.kind, each["name"]) not in _MADE_BY_THE_CLUSTER
        ]

    async def _namespaced(self, going: Going) -> list[Resource]:
        """All kinds that live in namespaces and can be deleted there, each in one version."""
        groups = (await self._cluster.request("GET", "/apis")).body.get("groups") or ()
        versions = ["v1", *(group["preferredVersion"]["groupVersion"] for group in groups if group.get("preferredVersion"))]
        found: list[Resource] = []
        for api_version in versions:
            group, _, version = api_version.rpartition("/")
            try:
                body = (await self._cluster.request("GET", f"/apis/{api_version}" if group else f"/api/{version}")).body
            except ApiAway:
                raise
            except ApiError:
                going.unknown.append(api_version)  # an aggregated API whose server is down
                continue
            found += [
                Resource(group=group, version=version, plural=each["name"], namespaced=True, kind=each["kind"])
                for each in body.get("resources") or ()
                if each.get("namespaced") and "/" not in each["name"] and {"list", "delete"} <= set(each.get("verbs") or ())
            ]
        return [each for each in found if each.kind not in _PASSING]


def _inventory(id: ObjectId, live: Mapping[str, Any], going: Going) -> list[ObjectId]:
    """What a Flux object deletes when it is deleted itself."""
    spec, status = live.get("spec") or {}, live.get("status") or {}
    policy = spec.get("deletionPolicy") or "MirrorPrune"
    keeps = policy == "Orphan" or (policy == "MirrorPrune" and id.kind == "Kustomization" and not spec.get("prune"))
    if spec.get("suspend") or keeps or _FINALIZER not in (live["metadata"].get("finalizers") or ()):
        return []
    listed = status.get("inventory")
    if listed is None and id.kind == "HelmRelease":
        going.unknown.append(f"what {id} has installed")
    found: list[ObjectId] = []
    for entry in (listed or {}).get("entries") or ():
        try:
            found.append(parse(str(entry.get("id")), str(entry.get("v") or "")))
        except BadEntry:
            going.more += 1
    return found
