"""Sets of field paths, as managedFields keeps them: FieldsV1 JSON in and out, and the algebra between.

A path is a chain of elements: `f:name` (a field), `k:{"name":"a"}` (a list item by its keys), `v:"x"` (a set item), `i:0` (a place).
Behaviour of sigs.k8s.io/structured-merge-diff v6 fieldpath/set.go and serialize.go.
Format: https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.34/#fieldsv1-v1-meta
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any


class FieldSet:
    """A trie: `members` are the elements that are in the set here, `children` lead to longer paths. Treated as immutable once built."""

    __slots__ = ("children", "members")

    def __init__(self, members: set[str] | None = None, children: dict[str, "FieldSet"] | None = None) -> None:
        self.members: set[str] = members if members is not None else set()
        self.children: dict[str, FieldSet] = children if children is not None else {}

    def __bool__(self) -> bool:
        return bool(self.members) or any(self.children.values())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FieldSet) or self.members != other.members:
            return False
        mine = {key: child for key, child in self.children.items() if child}
        theirs = {key: child for key, child in other.children.items() if child}
        return mine == theirs

    __hash__ = None  # type: ignore[assignment]  # compared by value and filled while it is built

    def __or__(self, other: "FieldSet") -> "FieldSet":
        children = dict(self.children)
        for key, child in other.children.items():
            children[key] = children[key] | child if key in children else child
        return FieldSet(self.members | other.members, children)

    def __and__(self, other: "FieldSet") -> "FieldSet":
        children = {}
        for key, child in self.children.items():
            theirs = other.children.get(key)
            if theirs is not None and (both := child & theirs):
                children[key] = both
        return FieldSet(self.members & other.members, children)

    def __sub__(self, other: "FieldSet") -> "FieldSet":
        children = {}
        for key, child in self.children.items():
            theirs = other.children.get(key)
            left = child - theirs if theirs is not None else child
            if left:
                children[key] = left
        return FieldSet(self.members - other.members, children)

    def without(self, other: "FieldSet") -> "FieldSet":
        """Return the set without `other`'s members and everything below them (`RecursiveDifference`)."""
        children = {}
        for key, child in self.children.items():
            if key in other.members:
                continue
            theirs = other.children.get(key)
            left = child.without(theirs) if theirs is not None else child
            if left:
                children[key] = left
        return FieldSet(self.members - other.members, children)

    def only(self, other: "FieldSet") -> "FieldSet":
        """Return what stands at or below `other`'s members."""
        children = {}
        for key, child in self.children.items():
            if key in other.members:
                children[key] = child
            elif key in other.children and (kept := child.only(other.children[key])):
                children[key] = kept
        return FieldSet(self.members & other.members, children)

    def insert(self, path: tuple[str, ...]) -> None:
        """Add one path of at least one element; only while the set is being built."""
        here = self
        for element in path[:-1]:
            here = here.children.setdefault(element, FieldSet())
        here.members.add(path[-1])

    def paths(self, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        """Yield every path in order: members first, then what is below, each sorted."""
        for member in sorted(self.members):
            yield (*prefix, member)
        for key in sorted(self.children):
            yield from self.children[key].paths((*prefix, key))

    def encode(self) -> dict[str, Any]:
        """Return the FieldsV1 form, keys sorted as the real server writes them."""
        out: dict[str, Any] = {}
        for key in sorted(self.members | self.children.keys()):
            child = self.children.get(key)
            below = child.encode() if child else {}
            if key in self.members:
                out[key] = {".": {}, **below} if below else {}
            elif below:
                out[key] = below
        return out


def decode(fields: Mapping[str, Any]) -> FieldSet:
    """Read FieldsV1 JSON. Raises ValueError for what is no path element or no object."""
    out = FieldSet()
    for key, value in fields.items():
        if key == ".":
            continue
        if key[:2] not in ("f:", "k:", "v:", "i:") or not isinstance(value, dict):
            raise ValueError(f"no path element: {key[:80]!r}")
        if not value or "." in value:
            out.members.add(key)
        if any(name != "." for name in value):
            out.children[key] = decode(value)
    return out


def readable(path: tuple[str, ...]) -> str:
    """Return a path in the words of a conflict: `.spec.containers[name="a"].image`."""
    out = ""
    for element in path:
        sort, value = element[:2], element[2:]
        if sort == "f:":
            out += f".{value}"
        elif sort == "k:":
            keys = json.loads(value)
            out += "[" + ",".join(f"{key}={json.dumps(keys[key])}" for key in sorted(keys)) + "]"
        elif sort == "v:":
            out += f"[={value}]"
        else:
            out += f"[{value}]"
    return out
