"""Two states of one object in; whether an apply would change it, and which fields, by whom, out. Pure.

As fluxcd/pkg/ssa compares a dry run's answer with the live object, but exactly where Flux overlooks a label or annotation that git dropped.
Who owns a field is written in `metadata.managedFields`, see
https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.kinds.meta import APPLY_MANAGER

_META = ("labels", "annotations", "finalizers", "ownerReferences")
_APART = frozenset({"metadata", "status"})
MOST_FIELDS = 10
LONGEST_VALUE = 80
ABSENT = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldDrift:
    """One field that is not as Git has it: `wanted` is Git's value as JSON, `found` what stood there, "" where there is none."""

    path: str
    wanted: str = field(repr=False)
    found: str = field(repr=False)
    manager: str

    def words(self, *, masked: bool) -> str:
        """`spec.replicas 3 -> 5 by kubectl`; the values as stars where they may be secret."""
        wanted, found = ((_masked(each) if masked else each) or "none" for each in (self.wanted, self.found))
        return f"{self.path} {wanted} -> {found} by {self.manager or 'someone who left no name'}"


def same(live: Mapping[str, Any], tried: Mapping[str, Any]) -> bool:
    """True when labels, annotations, finalizers, owners and all but metadata and status are equal."""
    old, new = live.get("metadata") or {}, tried.get("metadata") or {}
    if any((old.get(key) or None) != (new.get(key) or None) for key in _META):
        return False
    return {key: live[key] for key in live if key not in _APART} == {key: tried[key] for key in tried if key not in _APART}


def differences(live: Mapping[str, Any], tried: Mapping[str, Any]) -> tuple[FieldDrift, ...]:
    """The fields (at most ten) in which a live object differs from what applying its manifest makes of it."""
    entries = [each for each in live["metadata"].get("managedFields") or () if each.get("subresource") != "status"]
    found = []
    for path, now, then in _differing(_compared(live), _compared(tried), ()):
        found.append(FieldDrift(path=_text(path), wanted=_shown(then), found=_shown(now), manager=_manager(entries, path)))
        if len(found) == MOST_FIELDS:
            break
    return tuple(found)


def _compared(obj: Mapping[str, Any]) -> dict[str, Any]:
    metadata = obj.get("metadata") or {}
    about = {key: metadata[key] for key in _META if metadata.get(key)}
    return {"metadata": about} | {key: obj[key] for key in obj if key not in _APART}


Step = str | int | tuple[str, str]
"""A field's name, an index, or the name of an item in a list of named things."""


def _differing(now: Any, then: Any, path: tuple[Step, ...]) -> Iterator[tuple[tuple[Step, ...], Any, Any]]:
    if now == then:
        return
    now, then = ({} if now is ABSENT and isinstance(then, dict) else now), ({} if then is ABSENT and isinstance(now, dict) else then)
    if isinstance(now, dict) and isinstance(then, dict):
        for key in dict.fromkeys([*then, *now]):
            yield from _differing(now.get(key, ABSENT), then.get(key, ABSENT), (*path, key))
        return
    if isinstance(now, list) and isinstance(then, list):
        if (old := _by_name(now)) is not None and (new := _by_name(then)) is not None:
            for name in dict.fromkeys([*new, *old]):
                yield from _differing(old.get(name, ABSENT), new.get(name, ABSENT), (*path, ("name", name)))
            return
        if len(now) == len(then):
            for index, (one, two) in enumerate(zip(now, then, strict=True)):
                yield from _differing(one, two, (*path, index))
            return
    yield path, now, then


def _by_name(items: Sequence[Any]) -> dict[str, Any] | None:
    """The items of a list by name, None where it is no list of distinct named things, or only their order differs."""
    named = {item["name"]: item for item in items if isinstance(item, dict) and isinstance(item.get("name"), str)}
    return named if items and len(named) == len(items) else None


def _text(path: Sequence[Step]) -> str:
    """`spec.template.spec.containers[web].image`, `metadata.labels[app.kubernetes.io/name]`."""
    text = ""
    for step in path:
        if isinstance(step, str) and all(c.isalnum() or c in "-_" for c in step):
            text += f".{step}" if text else step
        else:
            text += f"[{step[1] if isinstance(step, tuple) else step}]"
    return text


def _shown(value: Any) -> str:
    if value is ABSENT:
        return ""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 3] + "..."


def _masked(text: str) -> str:
    return "***" if text else ""


def _manager(entries: Sequence[Mapping[str, Any]], path: Sequence[Step]) -> str:
    """Who owns the field now: the deepest and newest entry that has it; ours only where nobody else's does; "" where none does."""
    best: tuple[int, bool, str] | None = None
    name = ""
    for entry in entries:
        depth = _depth(entry.get("fieldsV1") or {}, path)
        rank = (depth, entry.get("manager") != APPLY_MANAGER, str(entry.get("time", "")))
        if depth and (best is None or rank > best):
            best, name = rank, str(entry.get("manager", ""))
    return name


def _depth(fields: Mapping[str, Any], path: Sequence[Step]) -> int:
    """How far a set of fields goes along a path: to its end, or to a field that is owned as a whole; 0 where it turns off before."""
    depth = 0
    for step in path:
        inside = _inside(fields, step)
        if inside is None:
            return depth if not fields and depth else 0
        fields, depth = inside, depth + 1
    return depth


def _inside(fields: Mapping[str, Any], step: Step) -> Mapping[str, Any] | None:
    if isinstance(step, str):
        return fields.get(f"f:{step}")
    if isinstance(step, int):
        return fields.get(f"i:{step}")
    for key, value in fields.items():
        if key.startswith("k:") and json.loads(key[2:]).get("name") == step[1]:
            return value  # type: ignore[no-any-return]  # JSON
    return None
