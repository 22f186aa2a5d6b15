"""What server-side apply does with values: the field set of one, the difference of two, the merge of two, removal of fields.

Values are plain JSON; nothing here changes its arguments. Behaviour of sigs.k8s.io/structured-merge-diff v6 package `typed`.
"""

import json
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.apiserver.fieldset import FieldSet, readable
from service.apiserver.schema import ANY, Node

Path = tuple[str, ...]


class Untyped(ValueError):
    """A value that does not fit the schema's merge topology; `missing` is the path of a list item's key that is not there."""

    def __init__(self, message: str, missing: str = "") -> None:
        super().__init__(message)
        self.missing = missing


@dataclass(slots=True)
class Difference:
    """Paths that were added, changed and taken away between two values."""

    added: FieldSet = field(default_factory=FieldSet)
    modified: FieldSet = field(default_factory=FieldSet)
    removed: FieldSet = field(default_factory=FieldSet)


def element_of(node: Node, item: Any, where: str = "") -> str:
    """Return the path element of an item of a list by keys or of a set. Raises Untyped when a key is missing."""
    if node.set:
        return "v:" + json.dumps(item, separators=(",", ":"), ensure_ascii=False)
    if not isinstance(item, Mapping):
        raise Untyped(f"{where}: element of an associative list with keys may not have non-map elements")
    keys = {}
    for key in sorted(node.keys):
        value = item.get(key, node.key_defaults.get(key))
        if value is not None:
            keys[key] = value
    if not keys:
        raise Untyped(
            f"{where}: associative list with keys has an element that omits key field {json.dumps(node.keys[0])}",
            f"{where}.{node.keys[0]}".lstrip("."),
        )
    return "k:" + json.dumps(keys, separators=(",", ":"), ensure_ascii=False)


def _is_granular_map(node: Node, value: Any) -> bool:
    return isinstance(value, Mapping) and not node.atomic and node.shape in ("map", "any")


def _is_granular_list(node: Node, value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and node.shape == "list" and not node.atomic


def field_set(node: Node, value: Any, twins: list[str] | None = None) -> FieldSet:
    """Return the paths that somebody who states `value` (an object) owns. Raises Untyped.

    List items with the same keys are put in words into `twins`, if it is given.
    """
    out = FieldSet()
    if _is_granular_map(node, value):
        _map_fields(out, node, value, "", [] if twins is None else twins)
    return out


def _below(out: FieldSet, element: str, node: Node, value: Any, where: str, twins: list[str]) -> bool:
    """Add what `value` owns below `element`; True when the element itself is a leaf of the set."""
    if _is_granular_map(node, value):
        child = FieldSet()
        _map_fields(child, node, value, where, twins)
        if child.members or child.children:
            out.children[element] = child
        return not value
    if _is_granular_list(node, value):
        child = FieldSet()
        _list_fields(child, node, value, where, twins)
        if child.members or child.children:
            out.children[element] = child
        return False
    return True


def _map_fields(out: FieldSet, node: Node, value: Mapping[str, Any], where: str, twins: list[str]) -> None:
    fields = node.fields
    for key, inner in value.items():
        element = "f:" + key
        if _below(out, element, node.field(key), inner, f"{where}.{key}", twins) or key not in fields:
            out.members.add(element)


def _list_fields(out: FieldSet, node: Node, value: Sequence[Any], where: str, twins: list[str]) -> None:
    inner = node.element or ANY
    seen: set[str] = set()
    for at, item in enumerate(value):
        element = element_of(node, item, f"{where}[{at}]")
        out.members.add(element)
        if element in seen:
            out.children.pop(element, None)
            twins.append(f"{where}: duplicate entries for key {readable((element,))}")
            continue
        seen.add(element)
        _below(out, element, inner, item, where + readable((element,)) if node.keys else where, twins)


def difference(node: Node, old: Any, new: Any) -> Difference:
    """Return what changed between two objects, path by path. Raises Untyped."""
    out = Difference()
    _compare_maps(out, (), node, old, new)
    return out


_MISSING: Any = object()


def _compare(out: Difference, path: Path, node: Node, old: Any, new: Any) -> None:
    if old is _MISSING or new is _MISSING:
        given = new if old is _MISSING else old
        side = out.added if old is _MISSING else out.removed
        side.insert(path)
        empty = not given
        if not empty and _is_granular_map(node, given):
            _compare_maps(out, path, node, {} if old is _MISSING else old, {} if new is _MISSING else new)
        elif not empty and _is_granular_list(node, given):
            _compare_lists(out, path, node, [] if old is _MISSING else old, [] if new is _MISSING else new)
        return
    if old == new and type(old) is type(new):
        return
    both_empty = not old and not new
    if not both_empty and _is_granular_map(node, old or {}) and _is_granular_map(node, new or {}):
        _compare_maps(out, path, node, old or {}, new or {})
    elif not both_empty and _is_granular_list(node, old or []) and _is_granular_list(node, new or []):
        _compare_lists(out, path, node, old or [], new or [])
    elif old != new:
        out.modified.insert(path)


def _compare_maps(out: Difference, path: Path, node: Node, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for key in old.keys() | new.keys():
        before, after = old.get(key, _MISSING), new.get(key, _MISSING)
        if before is not after:
            _compare(out, (*path, "f:" + key), node.field(key), before, after)


def _compare_lists(out: Difference, path: Path, node: Node, old: Sequence[Any], new: Sequence[Any]) -> None:
    before = grouped(node, old)
    after = grouped(node, new)
    inner = node.element or ANY
    for element in before.keys() | after.keys():
        left, right = before.get(element, []), after.get(element, [])
        place = (*path, element)
        if len(left) < 2 and len(right) < 2:
            _compare(out, place, inner, left[0] if left else _MISSING, right[0] if right else _MISSING)
        elif left != right:
            (out.modified if left and right else out.added if right else out.removed).insert(place)


def grouped(node: Node, items: Sequence[Any]) -> dict[str, list[Any]]:
    """Return a list's items under their path elements, in order of first appearance. Raises Untyped."""
    out: dict[str, list[Any]] = {}
    for item in items:
        out.setdefault(element_of(node, item), []).append(item)
    return out


def merge(node: Node, live: Any, config: Any) -> Any:
    """Return `live` with everything that `config` states laid over it. Raises Untyped."""
    if _is_granular_map(node, live) and _is_granular_map(node, config):
        out = dict(live)
        for key, value in config.items():
            out[key] = merge(node.field(key), live[key], value) if key in live else value
        return out
    if _is_granular_list(node, live) and _is_granular_list(node, config):
        return _ListMerge(node, live, config).merged()
    return config


class _ListMerge:
    """One merge of two lists by path element: the config's order for what both have, the live one's around it.

    The walk is that of merge.go, visitListItems.
    """

    def __init__(self, node: Node, live: Sequence[Any], config: Sequence[Any]) -> None:
        self._inner, self._live = node.element or ANY, live
        self._left, self._right = [element_of(node, item) for item in live], [element_of(node, item) for item in config]
        if len(set(self._right)) != len(self._right):
            twin = next(element for element in self._right if self._right.count(element) > 1)
            raise Untyped(f"duplicate entries for key {readable((twin,))}")
        counts = Counter(self._left)
        self._by_left = {element: item for element, item in zip(self._left, live, strict=True) if counts[element] == 1}
        self._by_right = dict(zip(self._right, config, strict=True))
        self._shared = deque(element for element in self._right if element in counts)
        self._done: set[str] = set()
        self._out: list[Any] = []

    def merged(self) -> list[Any]:
        """Return the merged list."""
        at, to = 0, 0
        left, right = self._left, self._right
        while at < len(left) or to < len(right):
            if at < len(left) and to < len(right):
                if left[at] == right[to]:
                    self._take(right[to])
                    at, to = at + 1, to + 1
                    continue
                if left[at] in self._by_right and self._shared and self._shared[0] != left[at]:
                    at += 1
                    continue
            if at < len(left):
                if left[at] not in self._by_right:
                    self._out.append(self._live[at])
                    at += 1
                    continue
                at += left[at] in self._done
            if to < len(right):
                self._take(right[to])
                to += 1
        return self._out

    def _take(self, element: str) -> None:
        self._done.add(element)
        config = self._by_right[element]
        self._out.append(merge(self._inner, self._by_left[element], config) if element in self._by_left else config)
        if self._shared and self._shared[0] == element:
            self._shared.popleft()


def remove(node: Node, value: Any, gone: FieldSet) -> Any:
    """Return `value` without the paths in `gone`; a container that loses everything becomes None, as upstream."""
    if not value:
        return value
    if _is_granular_map(node, value):
        out = {}
        for key, inner in value.items():
            element = "f:" + key
            if element in gone.members:
                continue
            below = gone.children.get(element)
            out[key] = remove(node.field(key), inner, below) if below else inner
        return out or None
    if _is_granular_list(node, value):
        kept = []
        for item in value:
            element = element_of(node, item)
            if element in gone.members:
                continue
            below = gone.children.get(element)
            kept.append(remove(node.element or ANY, item, below) if below else item)
        return kept or None
    return value


def with_named(node: Node, fields: FieldSet) -> FieldSet:
    """Return the set with every declared field that leads somewhere as a member too (`EnsureNamedFieldsAreMembers`)."""
    members = set(fields.members)
    children = {}
    for element, child in fields.children.items():
        inner: Node = node.element or ANY
        if element.startswith("f:"):
            inner = node.field(element[2:])
            if element[2:] in node.fields:
                members.add(element)
        children[element] = with_named(inner, child)
    return FieldSet(members, children)
