"""Fields that are left to others: rules with JSON pointers in; which fields of an object they name, and it with the live values, out. Pure.

As fluxcd/pkg/ssa (manager_apply.go, DriftIgnoreRules) does it: what a rule names is left out of the comparison. When the object is written
for another reason, such a field is not sent where another server-side applier owns it, else it is sent as it is live. A field that Git has
dropped, or that somebody removed, stays as it is too, where Flux's apply fails or sends a null. https://www.rfc-editor.org/rfc/rfc6901
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.kustomize.errors import BuildError
from service.kustomize.selectors import Selector, anchored, go_regexp, parse_selector, selects

Pointer = tuple[str, ...]
_ABSENT = object()


class BadRule(Exception):
    """A rule that cannot be used; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoreRule:
    """`pointers` of the fields; `target` says of which objects."""

    pointers: tuple[Pointer, ...]
    target: Selector

    def __post_init__(self) -> None:
        """Raises BadRule for what is no pattern, or no selector."""
        for field in ("group", "version", "kind", "name", "namespace"):
            try:
                go_regexp(f"^(?:{getattr(self.target, field)})$")
            except BuildError as error:
                raise BadRule(f"invalid {field} regex: {error}") from error
        for field, selector in (("label", self.target.labels), ("annotation", self.target.annotations)):
            try:
                parse_selector(selector)
            except BuildError as error:
                raise BadRule(f"invalid {field} selector: {error}") from error

    def matches(self, obj: Mapping[str, Any]) -> bool:
        """Whether the rule is for this object."""
        group, _, version = str(obj.get("apiVersion", "")).rpartition("/")
        target, metadata = self.target, obj.get("metadata") or {}
        named = (
            (target.group, group),
            (target.version, version),
            (target.kind, str(obj.get("kind", ""))),
            (target.name, metadata.get("name") or ""),
            (target.namespace, metadata.get("namespace") or ""),
        )
        if not all(anchored(pattern, text) for pattern, text in named):
            return False
        return selects(target.labels, metadata.get("labels") or {}) and selects(target.annotations, metadata.get("annotations") or {})


def parse_pointer(text: str) -> Pointer:
    """`/spec/replicas` as ("spec", "replicas"). Raises BadRule for what names no field."""
    if not text.startswith("/"):
        raise BadRule(f"{text!r} is no JSON pointer to a field: it begins with a slash, such as /spec/replicas")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/"))


def named_by(rules: Iterable[IgnoreRule], obj: Mapping[str, Any]) -> tuple[Pointer, ...]:
    """The fields of this object that the rules leave to others."""
    return tuple(dict.fromkeys(pointer for rule in rules if rule.matches(obj) for pointer in rule.pointers))


def as_live(obj: Mapping[str, Any], live: Mapping[str, Any], pointers: Iterable[Pointer]) -> dict[str, Any]:
    """A copy of `obj` in which these fields are as they are in `live`."""
    result: Any = obj
    for pointer in pointers:
        result = _with(result, pointer, _at(live, pointer))
    return dict(result)


def payload(body: bytes, live: Mapping[str, Any], tried: Mapping[str, Any], *, pointers: Iterable[Pointer], theirs: Sequence[Any]) -> bytes:
    """The JSON to apply in place of `body`, where applying that (`tried`) would change a field that is left to others.

    `theirs` are the FieldsV1 of the other server-side appliers: what one of them owns is not sent.
    """
    result: Any = json.loads(body)
    for pointer in pointers:
        value = _at(live, pointer)
        if value == _at(tried, pointer):
            continue
        owned = any(_owns(fields, live, pointer) for fields in theirs)
        result = _with(result, pointer, _ABSENT if owned else value)
    return json.dumps(result, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def appliers_beside(entries: Iterable[Mapping[str, Any]], manager: str) -> list[Any]:
    """The FieldsV1 of everybody else who applies server-side, from managedFields."""
    others = (
        each for each in entries if each.get("operation") == "Apply" and not each.get("subresource") and each.get("manager") != manager
    )
    return [each.get("fieldsV1") or {} for each in others]


def _at(node: Any, pointer: Pointer) -> Any:
    for part in pointer:
        if isinstance(node, dict):
            node = node.get(part, _ABSENT)
        elif isinstance(node, list) and (index := _index(part, node)) is not None:
            node = node[index]
        else:
            return _ABSENT
    return node


def _index(part: str, items: Sequence[Any]) -> int | None:
    return int(part) if part.isascii() and part.isdecimal() and int(part) < len(items) else None


def _with(node: Any, pointer: Pointer, value: Any) -> Any:
    """A copy of a tree with another value at a place; maps on the way are made where they are missing, list items are not."""
    part, rest = pointer[0], pointer[1:]
    if isinstance(node, dict):
        if value is _ABSENT and part not in node:
            return node
        inside = node.get(part, {}) if rest else None
        inner = _with(inside, rest, value) if rest else value
        kept = {key: each for key, each in node.items() if key != part}
        return kept if inner is _ABSENT else {**kept, part: inner}
    if isinstance(node, list) and (index := _index(part, node)) is not None:
        inner = _with(node[index], rest, value) if rest else value
        return [*node[:index], *([] if inner is _ABSENT else [inner]), *node[index + 1 :]]
    return node


def _owns(fields: Any, live: Any, pointer: Pointer) -> bool:
    """Whether a set of fields (FieldsV1) has a field of the live object."""
    for part in pointer:
        if isinstance(live, list):
            index = _index(part, live)
            if index is None:
                return False
            live = live[index]
            fields = next((inside for key, inside in fields.items() if key.startswith("k:") and _is_keyed(live, key)), None)
        else:
            live = live.get(part) if isinstance(live, dict) else None
            fields = fields.get(f"f:{part}")
        if not isinstance(fields, dict):
            return False
    return True


def _is_keyed(item: Any, key: str) -> bool:
    return isinstance(item, dict) and all(item.get(name) == value for name, value in json.loads(key[2:]).items())
