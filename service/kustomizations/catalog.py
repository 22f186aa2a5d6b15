"""The Kustomizations there are, by source and by dependency, and how far each has come.

`settled` is memory, never the lagging status in the cluster: dependents look here, so a dependency's success is seen the moment it happens.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.kinds.codec import Invalid, decode
from service.kinds.kustomize import Kustomization
from service.kinds.meta import KUSTOMIZE_GROUP, ObjectKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The last end of an object in this process: the generation and revision it is Ready at, or `ready` False.

    `tree` is what the revision was built from, "" where that is not known: what a source includes may move under one revision.
    """

    generation: int
    revision: str
    ready: bool
    tree: str = ""

    def is_at(self, revision: str, tree: str) -> bool:
        """Whether the object has come as far as its source."""
        return self.revision == revision and self.tree in ("", tree)


class Catalog:
    """Fed by the watch of Kustomizations."""

    def __init__(self, objects: Mapping[tuple[str, str], Mapping[str, Any]]) -> None:
        self._objects = objects
        self._by_source: dict[ObjectKey, set[ObjectKey]] = defaultdict(set)
        self._dependents: dict[ObjectKey, set[ObjectKey]] = defaultdict(set)
        self._edges: dict[ObjectKey, tuple[ObjectKey | None, tuple[ObjectKey, ...]]] = {}
        self._settled: dict[ObjectKey, Settled] = {}
        self._written: dict[ObjectKey, Mapping[str, Any]] = {}

    def seen(self, key: ObjectKey, object_: Mapping[str, Any] | None) -> None:
        """An object appeared, changed, or (None) is gone."""
        self._unlink(key)
        if object_ is None:
            self._settled.pop(key, None)
            self._written.pop(key, None)
            return
        try:
            found = decode(Kustomization, object_)
        except Invalid:
            return
        source, needs = found.source_key, found.dependency_keys
        self._edges[key] = (source, needs)
        self._by_source[source].add(key)
        for need in needs:
            self._dependents[need].add(key)

    def _unlink(self, key: ObjectKey) -> None:
        source, needs = self._edges.pop(key, (None, ()))
        if source is not None:
            _drop(self._by_source, source, key)
        for need in needs:
            _drop(self._dependents, need, key)

    def raw(self, key: ObjectKey) -> Mapping[str, Any] | None:
        """The object as it last was: as the watch saw it, or as our own last write left it where the watch lags behind."""
        seen, written = self._objects.get((key.namespace, key.name)), self._written.get(key)
        if seen is None or written is None or _version(seen) >= _version(written):
            self._written.pop(key, None)
            return seen
        return written

    def written(self, object_: Mapping[str, Any]) -> None:
        """The API server's answer to a write of ours."""
        self._written[key_of(object_)] = object_

    def of_source(self, source: ObjectKey) -> frozenset[ObjectKey]:
        """The consumers of a source."""
        return frozenset(self._by_source.get(source, ()))

    def dependents(self, key: ObjectKey) -> frozenset[ObjectKey]:
        """Who waits for this object, directly."""
        return frozenset(self._dependents.get(key, ()))

    def source_of(self, key: ObjectKey) -> ObjectKey | None:
        """What an object is built from, None where it cannot be read."""
        return self._edges.get(key, (None, ()))[0]

    def all(self) -> tuple[ObjectKey, ...]:
        """All objects that there are, readable or not."""
        return tuple(ObjectKey(group=KUSTOMIZE_GROUP, kind="Kustomization", namespace=space, name=name) for space, name in self._objects)

    def needs(self, key: ObjectKey) -> tuple[ObjectKey, ...]:
        """What this object depends on, directly."""
        return self._edges.get(key, (None, ()))[1]

    def settle(self, key: ObjectKey, settled: Settled) -> None:
        self._settled[key] = settled

    def unsettle(self) -> None:
        """Others may have written: only the statuses count from here on."""
        self._settled.clear()

    def has_failed(self, key: ObjectKey) -> bool:
        """Whether the last run in this process did not end well."""
        known = self._settled.get(key)
        return known is not None and not known.ready

    def settled(self, key: ObjectKey) -> Settled | None:
        """How far an object has come: what this process knows, else what its status says."""
        known = self._settled.get(key)
        object_ = self.raw(key)
        if object_ is None:
            return None
        generation = int(object_.get("metadata", {}).get("generation") or 0)
        if known is not None and known.generation == generation:
            return known
        status = object_.get("status") or {}
        ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in status.get("conditions") or ())
        return Settled(
            generation=int(status.get("observedGeneration") or -1),
            revision=str(status.get("lastAppliedRevision") or ""),
            ready=ready and status.get("observedGeneration") == generation,
        )


def _drop(index: dict[ObjectKey, set[ObjectKey]], at: ObjectKey, key: ObjectKey) -> None:
    index[at].discard(key)
    if not index[at]:
        del index[at]


def _version(object_: Mapping[str, Any]) -> int:
    """resourceVersions of one object can be compared as numbers: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions"""
    return int(object_["metadata"].get("resourceVersion") or 0)


def key_of(object_: Mapping[str, Any]) -> ObjectKey:
    """The key of a Kustomization as it came from the API."""
    metadata = object_["metadata"]
    return ObjectKey(group=KUSTOMIZE_GROUP, kind="Kustomization", namespace=metadata.get("namespace", ""), name=metadata["name"])
