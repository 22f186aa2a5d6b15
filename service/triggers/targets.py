"""A delivery -> the objects it concerns. Pure: what was listed goes in, what runs comes out, with why an entry gives nothing.

What `spec.resources` names always runs. Only `*` entries are narrowed by the payload, and only when one of their objects is at an address
of the payload: an unknown spelling of an address must never hide a push. A payload never adds anything.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from receivers.contract import Event, GitPush, ImagePush, Ping, Unchanged
from service.kinds.meta import KUSTOMIZE_GROUP, SOURCE_GROUP, ObjectKey
from service.kinds.notification import Receiver, ResourceRef
from service.triggers.giturl import follows, normal_url
from service.triggers.graph import Node
from service.triggers.places import NOWHERE, Relation, moved, normal_image, relation

GROUPS: Mapping[str, str] = {
    "GitRepository": SOURCE_GROUP,
    "OCIRepository": SOURCE_GROUP,
    "Bucket": SOURCE_GROUP,
    "HelmRepository": SOURCE_GROUP,
    "HelmChart": SOURCE_GROUP,
    "ExternalArtifact": SOURCE_GROUP,
    "Kustomization": KUSTOMIZE_GROUP,
    "HelmRelease": "helm.toolkit.fluxcd.io",
    "ImageRepository": "image.toolkit.fluxcd.io",
    "ImagePolicy": "image.toolkit.fluxcd.io",
    "ImageUpdateAutomation": "image.toolkit.fluxcd.io",
    "ArtifactGenerator": "source.extensions.fluxcd.io",
}
ALL = "*"
_STRONGEST = (Relation.FOLLOWS, Relation.HERE, Relation.UNKNOWN, Relation.ELSEWHERE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of `spec.resources`: what it refers to, or `problem`, why it refers to nothing."""

    ref: ResourceRef
    group: str
    namespace: str
    problem: str = ""

    @property
    def is_wide(self) -> bool:
        """Whether it stands for all objects of the kind that carry its labels."""
        return self.ref.name == ALL

    @property
    def key(self) -> ObjectKey:
        """The one object that it names."""
        return ObjectKey(group=self.group, kind=self.ref.kind, namespace=self.namespace, name=self.ref.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a delivery runs. `narrowed` counts the objects that the payload took out, `filtered` those that filters did.

    `problems` are for the delivery log, and so is `unjudged`: objects whose filter could not be evaluated, with why.
    """

    targets: tuple[ObjectKey, ...]
    narrowed: int = 0
    problems: tuple[str, ...] = ()
    filtered: int = 0
    unjudged: Mapping[ObjectKey, str] = field(default_factory=dict, hash=False)

    @property
    def nothing(self) -> str:
        """Why there are no targets."""
        told = [*self.problems, *list(dict.fromkeys(self.unjudged.values()))[:3]]
        if self.filtered:
            told.insert(0, f"{self.filtered} objects left out by filters")
        if self.narrowed:
            told.insert(0, f"{self.narrowed} objects left out, none follows what was pushed")
        return "; ".join(told) or "no object is meant"


def entries(receiver: Receiver, *, no_cross_namespace: bool) -> tuple[Entry, ...]:
    """Return the entries of `spec.resources` with their group and namespace filled in."""
    return tuple(_entry(receiver, ref, no_cross_namespace) for ref in receiver.spec.resources)


def _entry(receiver: Receiver, ref: ResourceRef, no_cross_namespace: bool) -> Entry:
    here = receiver.metadata.namespace
    namespace = ref.namespace or here
    group = (ref.api_version or "").rpartition("/")[0] or GROUPS.get(ref.kind, "")
    named = f"{ref.kind}/{namespace}/{ref.name}"
    problem = ""
    if not group:
        problem = f"{named}: apiVersion is missing, and {ref.kind} is not a kind that it can be filled in for"
    elif no_cross_namespace and namespace != here:
        problem = f"can't access '{named}', cross-namespace references have been blocked"
    elif ref.name == ALL and not ref.match_labels:
        problem = f"{named}: matchLabels is needed with the name *"
    return Entry(ref=ref, group=group, namespace=namespace, problem=problem)


Find = Callable[[ObjectKey], Node | None]


def choose(listed: Sequence[tuple[Entry, Sequence[Node]]], events: Sequence[Event], find: Find) -> Choice:
    """Return what runs.

    `listed` holds the entries with the objects that a `*` entry stands for (labels already matched); `find` looks up the sources, by which
    Kustomizations are narrowed.
    """
    problems = tuple(entry.problem for entry, _ in listed if entry.problem)
    usable = [(entry, nodes) for entry, nodes in listed if not entry.problem]
    targets = {entry.key: None for entry, _ in usable if not entry.is_wide}
    wide = {node.key: node for entry, nodes in usable if entry.is_wide for node in nodes}
    chosen = _narrowed(wide, events, find)
    taken_out = len(wide.keys() - chosen.keys() - targets.keys())
    return Choice(targets=tuple({**targets, **dict.fromkeys(chosen)}), narrowed=taken_out, problems=problems)


def _narrowed(wide: Mapping[ObjectKey, Node], events: Sequence[Event], find: Find) -> Mapping[ObjectKey, Node]:
    """Those of a `*` that the events can concern; all of a kind where an event names nothing, or none of the kind is at its address."""
    if not events or any(isinstance(event, Ping | Unchanged) for event in events):
        return wide
    chosen: set[ObjectKey] = set()
    for kind in {key.kind for key in wide}:
        nodes = {key: node for key, node in wide.items() if key.kind == kind}
        for event in events:
            relations = {key: _relation(node, event, find) for key, node in nodes.items()}
            if not {Relation.HERE, Relation.FOLLOWS} & set(relations.values()):
                chosen.update(nodes)
                break
            chosen.update(key for key, each in relations.items() if each in (Relation.FOLLOWS, Relation.UNKNOWN))
    return {key: node for key, node in wide.items() if key in chosen}


def _relation(node: Node, event: Event, find: Find) -> Relation:
    """What an event means to an object."""
    origin = _origin(node, find)
    if not isinstance(event, GitPush):
        return _to_place(node, origin, event)
    if origin is None or not origin.url:
        return Relation.UNKNOWN
    if not {origin.url, *map(normal_url, origin.mirrors)} & ({normal_url(url) for url in event.urls} - {""}):
        return Relation.ELSEWHERE
    return Relation.FOLLOWS if follows(origin.ref, event.ref) else Relation.HERE


def _to_place(node: Node, origin: Node | None, event: Event) -> Relation:
    """What is not in Git: by the object's own place, else by that of what it builds on."""
    if node.place == NOWHERE:
        return Relation.UNKNOWN if origin is None else _best(origin, event)
    found = _best(node, event)
    if node.place.chart and origin is not None and origin is not node and _best(origin, event) is Relation.ELSEWHERE:
        return Relation.ELSEWHERE  # a chart of the same name in another repository
    return found


def _best(node: Node, event: Event) -> Relation:
    """The relation that says most, of the object's own address and of those that it is a mirror of."""
    found = {relation(place, event) for place in (node.place, *(moved(node.place, address) for address in node.mirrors))}
    return next(each for each in _STRONGEST if each in found)


def pushed_commit(node: Node, events: Sequence[Event]) -> str:
    """Return the commit that the newest push says a repository's ref has now; "" if no push is to its path and ref.

    The host may have another name in the payload than in the cluster; it is a hint only, so the path is enough.
    """
    path = node.url.partition("/")[2]
    for event in reversed(events):
        if not isinstance(event, GitPush) or not path or not follows(node.ref, event.ref):
            continue
        if path in {normal_url(url).partition("/")[2] for url in event.urls}:
            return "" if event.deleted else event.after
    return ""


def pushed_image(node: Node, events: Sequence[Event]) -> str:
    """Return the newest image that an object follows, as `name:tag@digest` with the last part of its name; "" if there is none."""
    for event in reversed(events):
        if isinstance(event, ImagePush) and event.tag and not event.deleted and _best(node, event) is Relation.FOLLOWS:
            name = normal_image(event.names[0]).rpartition("/")[2] if event.names else ""
            return f"{name}:{event.tag}@{event.digest}"
    return ""


def _origin(node: Node, find: Find) -> Node | None:
    """The source whose address decides; None where there is none to compare, so that the object always runs."""
    return node if node.url or (node.place != NOWHERE and not node.place.chart) else find(node.source) if node.source is not None else None
