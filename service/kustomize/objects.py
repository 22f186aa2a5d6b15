"""The objects of a build while it goes on: each with the ids it had before, all with an index by name.

Behaviour: kustomize api v0.21.0 resource/resource.go and resmap/reswrangler.go, which keep in annotations what is kept in attributes here.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from service.kustomize.builtinschema import TYPES
from service.kustomize.errors import BuildError
from service.kustomize.fieldspecs import Gvk, Slot
from service.kustomize.nulls import take
from service.kustomize.scalars import settle, text_of
from service.kustomize.schema import Schema
from service.kustomize.selectors import Selector, anchored, selects

NO_NAMESPACE = "_non_namespaceable_"
MAX_OBJECTS = 100_000


class Id(NamedTuple):
    """What identifies an object: kind, name, namespace as written, and whether the kind is certainly cluster-scoped."""

    gvk: Gvk
    name: str
    namespace: str
    cluster: bool = False

    @property
    def effective(self) -> str:
        """The namespace that counts: an empty one is `default`."""
        return NO_NAMESPACE if self.cluster else self.namespace or "default"

    @property
    def key(self) -> tuple[Gvk, str, str]:
        """Equal for ids that name the same object."""
        return self.gvk, self.name, self.effective

    def __str__(self) -> str:
        return f"{self.gvk}/{self.name or '[noName]'}.{self.namespace or '[noNs]'}"


@lru_cache(maxsize=4096)
def _gvk(api_version: str, kind: str) -> Gvk:
    group, slash, version = api_version.partition("/")
    return Gvk(group, version, kind) if slash else Gvk("", group, kind)


class Shared:
    """Places of one object that hold one value together: whoever writes one writes all.

    That is how kustomize behaves: a label that one transformer adds in several places (metadata, selector, template) is one node of its
    tree, and a later label, patch, replacement or var that writes it in one place changes the others too. Selectors are immutable in a
    cluster, so it matters.
    """

    __slots__ = ("_groups",)

    def __init__(self) -> None:
        self._groups: dict[tuple[int, str], list[Slot]] = {}

    def join(self, places: list[Slot]) -> None:
        """Make places hold their value together."""
        if len(places) > 1:
            for holder, key in places:
                self._groups[id(holder), key] = places

    def write(self, holder: dict[str, Any], key: str, value: Any) -> None:
        """Write a value, wherever it is held."""
        for place, name in self._groups.get((id(holder), key)) or ((holder, key),):
            place[name] = value

    def leave(self, holder: Any, key: str) -> None:
        """Tell that a place is no more, or holds a value of its own."""
        group = self._groups.pop((id(holder), key), None)
        if group is not None:
            group[:] = [place for place in group if place[0] is not holder or place[1] != key]

    def leave_all(self) -> None:
        """Tell that each place holds a value of its own now."""
        self._groups = {}

    def leave_map(self, holder: Any) -> None:
        """Tell it of all places in a map; anything else has none."""
        if self._groups and isinstance(holder, dict):
            for key in holder:
                self.leave(holder, key)


class Resource:
    """One object and what the build knows of it. `body` may be edited; it is None once the object is deleted."""

    __slots__ = (
        "_known", "behavior", "body", "former", "history", "loose", "needs_hash",
        "nulls", "origin", "prefixes", "schema", "shared", "suffixes", "variables",
    )  # fmt: skip

    def __init__(self, body: dict[str, Any], schema: Schema) -> None:
        self.body: dict[str, Any] = body
        self.schema = schema
        self.nulls = take(body)
        self._known: tuple[tuple[Any, ...], Id] | None = None
        self.former: list[tuple[str, str, str]] = []
        """(name, effective namespace, kind) of each former id, oldest first."""
        self.shared = Shared()
        self.prefixes: list[str] = []
        self.suffixes: list[str] = []
        self.needs_hash = False
        self.loose = False
        """Whether the body may hold texts without a type (scalars.Loose)."""
        self.behavior = ""
        self.variables: list[str] = []
        self.origin: dict[str, Any] | None = None
        self.history: list[dict[str, Any]] = []

    @property
    def kind(self) -> str:
        """The kind as text."""
        return text_of(self.body.get("kind"))

    @property
    def api_version(self) -> str:
        """The apiVersion as text."""
        return text_of(self.body.get("apiVersion"))

    @property
    def gvk(self) -> Gvk:
        """Group, version and kind."""
        body = self.body
        return _gvk(text_of(body.get("apiVersion")), text_of(body.get("kind")))

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata, made if it is not there."""
        metadata = self.body.get("metadata")
        if not isinstance(metadata, dict):
            metadata = self.body["metadata"] = {}
        return metadata

    def _meta(self, field: str) -> str:
        metadata = self.body.get("metadata")
        return text_of(metadata.get(field)) if isinstance(metadata, dict) else ""

    @property
    def name(self) -> str:
        """metadata.name as text."""
        return self._meta("name")

    @property
    def namespace(self) -> str:
        """metadata.namespace as text."""
        return self._meta("namespace")

    @property
    def is_cluster_scoped(self) -> bool:
        """Whether the kind is certainly cluster-scoped."""
        return self.schema.is_cluster_scoped(self.api_version, self.kind)

    @property
    def id(self) -> Id:
        """The current id."""
        body = self.body
        metadata = body.get("metadata")
        if type(metadata) is dict:
            written = (body.get("apiVersion"), body.get("kind"), metadata.get("name"), metadata.get("namespace"))
        else:
            written = (body.get("apiVersion"), body.get("kind"), None, None)
        if self._known is not None and self._known[0] == written:
            return self._known[1]
        api_version, kind, name, namespace = map(text_of, written)
        found = Id(_gvk(api_version, kind), name, namespace, self.schema.is_cluster_scoped(api_version, kind))
        if f"{api_version} {kind}" in TYPES and all(value is None or type(value) is str for value in written):
            self._known = (written, found)  # of kinds that no other schema says anything about; not of numbers, where 1 is True
        return found

    def former_ids(self) -> list[Id]:
        """The ids before, oldest first; group and version are the current ones."""
        gvk = self.gvk
        return [Id(gvk if kind == gvk.kind else gvk._replace(kind=kind), name, namespace) for name, namespace, kind in self.former]

    @property
    def original_id(self) -> Id:
        """The first id."""
        if not self.former:
            return self.id
        name, namespace, kind = self.former[0]
        gvk = self.gvk
        return Id(gvk if kind == gvk.kind else gvk._replace(kind=kind), name, namespace)

    def remember(self) -> None:
        """Keep the current id as a former one: name, namespace or kind are about to change."""
        known = self.id
        self.former.append((known.name, known.effective, known.gvk.kind))

    @property
    def is_marked(self) -> bool:
        """Whether kustomize would have written a note into the annotations by now."""
        return bool(self.former or self.prefixes or self.suffixes or self.behavior or self.origin)

    def settle(self, *, as_text: bool) -> None:
        """Give loose texts their type."""
        if self.loose:
            settle(self.body, as_text=as_text)
            self.loose = as_text

    def texts(self, field: str) -> dict[str, str]:
        """Labels or annotations as texts."""
        metadata = self.body.get("metadata")
        found = metadata.get(field) if isinstance(metadata, dict) else None
        return {key: text_of(value) for key, value in found.items()} if isinstance(found, dict) else {}

    def set_texts(self, field: str, values: dict[str, str]) -> None:
        """Set labels or annotations; an empty map goes."""
        self.metadata.pop(field, None)
        if values:
            self.metadata[field] = values


class Objects:
    """The objects in order."""

    def __init__(self, rows: Iterable[Resource] = ()) -> None:
        self.rows = list(rows)
        self._by_name: dict[str, list[Resource]] | None = None
        self._taken: Counter[tuple[Gvk, str, str]] | None = None

    def changed(self) -> None:
        """Tell that ids or rows were edited."""
        self._by_name = self._taken = None

    def append(self, row: Resource) -> None:
        """Add an object. Raises BuildError if its id is there already."""
        if self._taken is None:
            self._taken = Counter(known.id.key for known in self.rows if known.body)
        known = row.id
        if self._taken[known.key]:
            raise BuildError(f"may not add resource with an already registered id: {known}")
        if len(self.rows) >= MAX_OBJECTS:
            raise BuildError(f"more than {MAX_OBJECTS} objects")
        self._taken[known.key] += 1
        self.rows.append(row)
        self._by_name = None

    def extend(self, rows: Iterable[Resource]) -> None:
        """Add objects. Raises BuildError if an id is there already."""
        for row in rows:
            self.append(row)

    def replace(self, rows: Iterable[Resource]) -> None:
        """Take other rows. Raises BuildError if two have one id."""
        rows = list(rows)
        self.rows = []
        self.changed()
        self.extend(rows)

    def drop_deleted(self) -> None:
        """Forget deleted objects."""
        if not all(row.body for row in self.rows):
            self.rows = [row for row in self.rows if row.body]
            self.changed()

    def named(self, name: str) -> list[Resource]:
        """Return the objects that have or had a name, in order."""
        if self._by_name is None:
            self._by_name = {}
            for row in self.rows:
                if row.body:
                    for known in {row.name, *(former[0] for former in row.former)}:
                        self._by_name.setdefault(known, []).append(row)
        return self._by_name.get(name, [])

    def matching(self, matches: Callable[[Id], bool], name: str) -> list[Resource]:
        """Return the objects of which any id matches; ids of another name are not asked."""
        return [row for row in self.named(name) if any(known.name == name and matches(known) for known in (*row.former_ids(), row.id))]

    def with_id(self, wanted: Id) -> list[Resource]:
        """Return the objects that have or had an id."""
        return self.matching(lambda known: known.key == wanted.key, wanted.name)

    def select(self, selector: Selector) -> list[Resource]:
        """Return what a patch target selects: namespace and name by the original or the current one."""
        return [row for row in self.rows if row.body and _selected(row, selector)]


def _selected(row: Resource, selector: Selector) -> bool:
    if not selector.matches_gvk(row.gvk):
        return False
    now, first = row.id, row.original_id
    if not (anchored(selector.name, first.name) or anchored(selector.name, now.name)):
        return False
    if not (anchored(selector.namespace, first.effective) or anchored(selector.namespace, now.effective)):
        return False
    return selects(selector.labels, row.texts("labels")) and selects(selector.annotations, row.texts("annotations"))


def expand_lists(documents: Iterable[Any], schema: Schema, file: str | None) -> list[Resource]:
    """Return documents as objects; those of a kind ...List that has items are replaced by them, at the end. Raises BuildError."""
    waiting = [_validated(document, file) for document in documents if document not in ({}, [])]
    rows: list[Resource] = []
    for document in waiting:  # grows while it is walked
        items = document.get("items", rows) if text_of(document.get("kind")).endswith("List") else rows
        if items is rows:
            rows.append(Resource(document, schema))
        elif isinstance(items, list):
            waiting.extend(_validated(item, file) for item in items if item not in (None, {}, []))
        elif items is not None:
            raise BuildError(f"expected array in {document.get('kind')}/items", file)
    return rows


def _validated(document: Any, file: str | None) -> dict[str, Any]:
    """What every object must have; apiVersion is not asked for."""
    if not isinstance(document, dict) or not any(document.get(field) not in (None, {}, []) for field in ("apiVersion", "kind", "metadata")):
        raise BuildError("missing Resource metadata: this is no Kubernetes object (apiVersion, kind, metadata)", file)
    kind = text_of(document.get("kind"))
    metadata = document.get("metadata")
    name = text_of(metadata.get("name")) if isinstance(metadata, dict) else ""
    if not kind:
        raise BuildError(f"missing kind in object {name or '{}'}", file)
    if not name and not kind.endswith("List"):
        raise BuildError(f"missing metadata.name in object of kind {kind}", file)
    return document
