"""Receiver -> source -> consumers, kept from the watches.

In: objects as the API server holds them, one call for each change. Out: which objects stand behind which, without a request. The fields
that are followed: `spec.url`, `spec.ref` and `spec.include` of sources, `spec.sourceRef` of what builds on them. What Kustomizations depend
on is the catalog's of service.kustomizations.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from service.kinds.codec import Invalid, decode
from service.kinds.kustomize import Kustomization
from service.kinds.meta import SOURCE_GROUP, ObjectKey
from service.kinds.source import GitRef, GitRepository
from service.triggers.giturl import normal_url
from service.triggers.places import NOWHERE, Place, place_of

K = TypeVar("K")

MIRROR_OF = "notification.sluice.dev/mirror-of"  # addresses, by commas or blanks: hooks of theirs count as hooks of this object's
MOST_MIRRORS = 20
IMAGE_GROUP = "image.toolkit.fluxcd.io"
_REFERENCES = {
    "HelmChart": ("HelmRepository", "sourceRef"),
    "HelmRelease": ("HelmChart", "chartRef"),
    "ImagePolicy": ("ImageRepository", "imageRepositoryRef"),
    "ImageUpdateAutomation": ("GitRepository", "sourceRef"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What the graph knows of one object. `url` is in its normal form, "" for what has none; `source` is what it builds on.

    `includes` are sources that are a part of it. `mirrors` are addresses that its source is a copy of, as an annotation says. `place` is
    where sources that are no Git repositories get their content from. `metadata` is the object's own, for filters.
    """

    key: ObjectKey
    api_version: str
    labels: Mapping[str, str] = field(hash=False)
    suspended: bool = False
    url: str = ""
    ref: GitRef | None = None
    source: ObjectKey | None = None
    includes: tuple[ObjectKey, ...] = ()
    mirrors: tuple[str, ...] = ()
    place: Place = NOWHERE
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False, compare=False, repr=False)

    @property
    def sources(self) -> tuple[ObjectKey, ...]:
        """All that makes it new."""
        return self.includes if self.source is None else (self.source, *self.includes)


class Graph:
    """The objects of the kinds that are watched, named by `covers`."""

    def __init__(self, covers: Iterable[str] = ()) -> None:
        self.covers = frozenset(covers)
        self._nodes: dict[ObjectKey, Node] = {}
        self._members: dict[tuple[str, str], set[ObjectKey]] = defaultdict(set)
        self._consumers: dict[ObjectKey, set[ObjectKey]] = defaultdict(set)

    def seen(self, key: ObjectKey, object_: Mapping[str, Any] | None) -> None:
        """An object appeared, changed, or (None) is gone."""
        self._unlink(key)
        if object_ is not None:
            self._link(node_of(key, object_))

    def node(self, key: ObjectKey) -> Node | None:
        """What is known of the object, None where it is not there."""
        return self._nodes.get(key)

    def members(self, kind: str, namespace: str) -> Iterable[Node]:
        """All objects of a kind in a namespace, by name."""
        return (self._nodes[key] for key in sorted(self._members.get((kind, namespace), ())))

    def consumers(self, source: ObjectKey) -> frozenset[ObjectKey]:
        """Who builds from a source, or includes it."""
        return frozenset(self._consumers.get(source, ()))

    def _link(self, node: Node) -> None:
        key = node.key
        self._nodes[key] = node
        self._members[key.kind, key.namespace].add(key)
        for source in node.sources:
            self._consumers[source].add(key)

    def _unlink(self, key: ObjectKey) -> None:
        node = self._nodes.pop(key, None)
        if node is None:
            return
        _drop(self._members, (key.kind, key.namespace), key)
        for source in node.sources:
            _drop(self._consumers, source, key)


def node_of(key: ObjectKey, object_: Mapping[str, Any]) -> Node:
    """Return what the graph needs of an object of any kind; one that does not have the shape of its kind has no edges."""
    metadata, spec = object_.get("metadata") or {}, object_.get("spec") or {}
    labels = {str(name): str(value) for name, value in (metadata.get("labels") or {}).items()}
    common = Node(
        key=key,
        api_version=str(object_.get("apiVersion") or ""),
        labels=labels,
        suspended=spec.get("suspend") is True,
        mirrors=_mirrors(metadata),
        metadata=metadata,
    )
    try:
        match key.kind:
            case "GitRepository":
                return _of_repository(common, decode(GitRepository, object_))
            case "Kustomization":
                return _of_kustomization(common, decode(Kustomization, object_))
            case _:
                return replace(common, place=place_of(key.kind, spec), source=_source_of(key, spec))
    except Invalid:
        return common


def _source_of(key: ObjectKey, spec: Mapping[str, Any]) -> ObjectKey | None:
    """What an object of another kind builds on, as far as it is one object."""
    kind, field_name = _REFERENCES.get(key.kind, ("", ""))
    found = spec.get(field_name)
    name = found.get("name") if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping) or not isinstance(name, str) or not name:
        return None
    kind, namespace = str(found.get("kind") or kind), str(found.get("namespace") or key.namespace)
    group = IMAGE_GROUP if kind == "ImageRepository" else SOURCE_GROUP
    return ObjectKey(group=group, kind=kind, namespace=namespace, name=name)


def _mirrors(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    said = (metadata.get("annotations") or {}).get(MIRROR_OF)
    return tuple(said.replace(",", " ").split()[:MOST_MIRRORS]) if isinstance(said, str) else ()


def _of_repository(common: Node, found: GitRepository) -> Node:
    includes = tuple(replace(common.key, name=each.repository) for each in found.spec.include)
    return replace(common, suspended=found.spec.suspend, url=normal_url(found.spec.url), ref=found.spec.ref, includes=includes)


def _of_kustomization(common: Node, found: Kustomization) -> Node:
    return replace(common, suspended=found.spec.suspend, source=found.source_key)


def _drop(index: dict[K, set[ObjectKey]], at: K, key: ObjectKey) -> None:
    held = index.get(at)
    if held is not None:
        held.discard(key)
        if not held:
            del index[at]
