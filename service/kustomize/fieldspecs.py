"""Field specs: which field of which kind a transformer edits, and the walk that finds it.

A path is split at `/` (`\\/` stands for one); lists on the way are walked implicitly, `name[]` says that a list is meant. Missing maps are
made where `create` says so. Null ends the walk. Behaviour: kustomize api v0.21.0 filters/fieldspec and types/fieldspec.go.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from service.kustomize.errors import BuildError
from service.kustomize.kindorder import FIRST, LAST

Slot = tuple[dict[str, Any], str]
"""A place for a value: its map and its key."""


class Gvk(NamedTuple):
    """Group, version, kind; in a selector an empty part matches any."""

    group: str = ""
    version: str = ""
    kind: str = ""

    def selects(self, other: "Gvk") -> bool:
        """Return whether this selector matches."""
        return self.kind in ("", other.kind) and self.group in ("", other.group) and self.version in ("", other.version)

    def __str__(self) -> str:
        return f"{self.kind or '[noKind]'}.{self.version or '[noVer]'}.{self.group or '[noGrp]'}"


class FieldSpec(NamedTuple):
    """One field of the kinds that `gvk` selects."""

    path: str
    create: bool = False
    gvk: Gvk = Gvk()


Specs = tuple[FieldSpec, ...]


def merged(specs: Specs, incoming: Iterable[FieldSpec]) -> Specs:
    """Return the specs with those of `incoming` that are not there yet. Raises BuildError if both have one field with other `create`."""
    result = list(specs)
    for spec in incoming:
        same = next((known for known in result if known.path == spec.path and spec.gvk.selects(known.gvk)), None)
        if same is None:
            result.append(spec)
        elif same.create != spec.create:
            raise BuildError(f"conflicting fieldspecs: {spec.path} of {spec.gvk} is given with create true and false")
    return tuple(result)


_NONE = ("~G", "~V", "~K")
_FIRST = {kind: index - len(FIRST) for index, kind in enumerate(FIRST)}
_LAST = {kind: index + 1 for index, kind in enumerate(LAST)}


def gvk_order(gvk: Gvk) -> tuple[int, str]:
    """The order in which tables stand: by legacy kind order, then as text, with what is empty behind the letters (Gvk.IsLessThan)."""
    text = "_".join(part or none for part, none in zip((gvk.group, gvk.version, gvk.kind), _NONE, strict=True))
    return _FIRST.get(gvk.kind, _LAST.get(gvk.kind, 0)), text


@lru_cache(maxsize=256)
def extended(specs: Specs, incoming: Specs) -> Specs:
    """The same for tables that come again and again."""
    return merged(specs, incoming)


@lru_cache(maxsize=4096)
def matching(specs: Specs, gvk: Gvk) -> tuple[tuple[tuple[str, ...], bool], ...]:
    """Return (split path, create) of the specs for one kind, in order."""
    return tuple((split_path(spec.path), spec.create) for spec in specs if spec.gvk.selects(gvk))


def split_path(path: str, delimiter: str = "/") -> tuple[str, ...]:
    """Return the parts of a path; a backslash takes the delimiter into the part."""
    parts = path.split(delimiter)
    if len(parts) > 1 and not parts[0]:
        parts = parts[1:]
    result = [parts[0]]
    for part in parts[1:]:
        if result[-1].endswith("\\"):
            result[-1] = result[-1][:-1] + delimiter + part
        else:
            result.append(part)
    return tuple(result)


def slots(node: Any, path: tuple[str, ...], create: Literal["map", "scalar"] | None = None) -> list[Slot]:
    """Return where the values of the field stand; `create` makes what is missing on the way, the last one as an empty map or text.

    Raises BuildError where something that is neither map nor list stands in the way.
    """
    found: list[Slot] = []
    _descend(node, path, 0, create, found)
    return found


def _named(name: str, path: tuple[str, ...]) -> None:
    if not name:
        raise BuildError(f"cannot set or create an empty field name: a part of the path '{'/'.join(path)}' of a field spec is empty")


def _descend(node: Any, path: tuple[str, ...], at: int, create: Literal["map", "scalar"] | None, found: list[Slot]) -> None:
    """Follow the path from its part `at` on: maps in a loop, since most of a build's walks are here; lists branch."""
    last = len(path) - 1
    while type(node) is dict:
        name = path[at]
        if create is None or name[-2:] == "[]":
            name = name.removesuffix("[]")
            if name not in node:
                _named(name, path)
                return
            if node[name] is None and name != path[at]:
                node[name] = []
        elif node.get(name) is None:
            _named(name, path)
            node[name] = "" if at == last and create == "scalar" else {}
        if at == last:
            found.append((node, name))
            return
        node = node[name]
        at += 1
    if type(node) is list:
        for item in node:
            _descend(item, path, at, create, found)
    elif node is not None:
        raise BuildError(f"expected sequence or mapping node at {'/'.join(path[at:])}")
