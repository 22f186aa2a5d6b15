"""Compiled schemas: OpenAPI v3 in (builtin kinds' table or a CRD's `openAPIV3Schema`), nodes that walkers read quickly out.

The merge topology (granular map, atomic, list by keys, set) follows
https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy
"""

from collections.abc import Mapping
from typing import Any, Literal

Raw = Mapping[str, Any]
Shape = Literal["scalar", "map", "list", "any"]


class Node:
    """One place of a schema. `any` takes whatever comes: maps granular, lists atomic. Filled once, then read only."""

    __slots__ = ("atomic", "element", "embedded", "fields", "key_defaults", "keys", "merge_key", "open", "raw", "required", "set", "shape")

    def __init__(self, shape: Shape, raw: Raw) -> None:
        self.shape: Shape = shape
        self.raw = raw
        self.fields: dict[str, Node] = {}
        self.element: Node | None = None
        self.atomic = False
        self.keys: tuple[str, ...] = ()
        self.key_defaults: dict[str, Any] = {}
        self.set = False
        self.open = False
        self.embedded = False
        self.required: tuple[str, ...] = tuple(raw.get("required", ()))
        self.merge_key: str | None = raw.get("x-kubernetes-patch-merge-key")

    def field(self, name: str) -> "Node":
        """Return the node of a map's key: declared, else the one of all values, else ANY."""
        return self.fields.get(name) or self.element or ANY


ANY = Node("any", {})
ANY.open = True


class Definitions:
    """Named schemas that refer to each other by `$ref`, compiled when first asked for (they may be recursive)."""

    def __init__(self, raw: Mapping[str, Raw]) -> None:
        self._raw = raw
        self._nodes: dict[str, Node] = {}

    def node(self, name: str) -> Node:
        """Return the compiled node of a definition. Raises KeyError for a name that is not there."""
        if name not in self._nodes:
            raw = self._raw[name]
            node = self._nodes[name] = Node(_shape(raw), raw)
            _fill(node, raw, self)
        return self._nodes[name]

    def compile(self, raw: Raw) -> Node:
        """Compile a schema that may refer to these definitions."""
        if "$ref" in raw:
            node = self.node(str(raw["$ref"]))
            if len(raw) == 1:
                return node
            merged = {**node.raw, **{key: value for key, value in raw.items() if key != "$ref"}}
            local = Node(_shape(merged), merged)
            _fill(local, merged, self)
            return local
        node = Node(_shape(raw), raw)
        _fill(node, raw, self)
        return node


def _shape(raw: Raw) -> Shape:
    kind = raw.get("type")
    if kind == "array":
        return "list"
    if kind == "object" or "properties" in raw or raw.get("x-kubernetes-embedded-resource"):
        bare = "properties" not in raw and not isinstance(raw.get("additionalProperties"), Mapping)
        return "any" if bare and raw.get("x-kubernetes-map-type") != "atomic" else "map"
    if kind or raw.get("x-kubernetes-int-or-string") or raw.get("format"):
        return "scalar"
    return "any"


def _fill(node: Node, raw: Raw, definitions: Definitions) -> None:
    node.open = bool(raw.get("x-kubernetes-preserve-unknown-fields")) or node.shape == "any"
    node.embedded = bool(raw.get("x-kubernetes-embedded-resource"))
    if node.shape == "map" or node.embedded:
        node.atomic = raw.get("x-kubernetes-map-type") == "atomic"
        node.fields = {name: definitions.compile(value) for name, value in raw.get("properties", {}).items()}
        extra = raw.get("additionalProperties")
        node.element = definitions.compile(extra) if isinstance(extra, Mapping) else None
        node.open = node.open or extra is True
    elif node.shape == "list":
        node.element = definitions.compile(raw.get("items", {}))
        kind = raw.get("x-kubernetes-list-type", "atomic")
        node.atomic, node.set = kind == "atomic", kind == "set"
        node.keys = tuple(raw.get("x-kubernetes-list-map-keys", ())) if kind == "map" else ()
        for key in node.keys:
            default = node.element.field(key).raw.get("default")
            if default is not None:
                node.key_defaults[key] = default
