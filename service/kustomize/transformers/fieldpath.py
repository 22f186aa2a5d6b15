"""Paths of replacements: `a.b.[name=web].c`, `[a.b/c]`, `0`, `*`, in sources exact, in targets as patterns.

Behaviour: kyaml v0.21.0 utils/pathsplitter.go, yaml/fns.go (PathGetter), yaml/match.go (PathMatcher).
"""

from dataclasses import dataclass
from typing import Any, Literal

from service.kustomize.errors import BuildError
from service.kustomize.fieldspecs import split_path
from service.kustomize.scalars import Loose, WrittenDate, WrittenFloat, WrittenInt, plain, text_of
from service.kustomize.selectors import go_regexp
from service.kustomize.yamlread import read_node

Create = Literal["map", "list", "scalar"] | None
MAX_INDEX = 100_000


def smart_split(path: str) -> list[str]:
    """Return the parts of a dotted path; brackets hold a part together."""
    result: list[str] = []
    parts = iter(split_path(path, "."))
    for part in parts:
        if part.startswith("[") and not part.endswith("]"):
            bracketed = [part]
            for more in parts:
                bracketed.append(more)
                if more.endswith("]"):
                    break
            joined = ".".join(bracketed)
            result.append(joined if "=" in joined else joined.strip("[]"))
        else:
            result.append(part)
    return result


def _is_index(part: str) -> bool:
    return part.lstrip("+").isdecimal() and part.isascii()


def _is_element(part: str) -> bool:
    return part.startswith("[") and part.endswith("]")


def _element(part: str) -> tuple[str, str]:
    name, equals, value = part.removesuffix("]").removeprefix("[").partition("=")
    if not equals:
        raise BuildError(f"list path element must contain fieldName=fieldValue for element to match: {part}")
    return name, value


def lookup(node: Any, path: list[str]) -> Any:
    """Return the value at a source's path, None if it is not there. Raises BuildError where the path does not fit."""
    for part in (part.strip() for part in path):
        if node is None:
            return None
        if part:
            node = _step(node, part)
    return node


def _step(node: Any, part: str) -> Any:
    if part == "*":
        raise BuildError("wildcard is not supported in the path of a source")
    if _is_index(part) or part == "-":
        if not isinstance(node, list):
            raise BuildError(f"wrong node kind: expected a list at '{part}'")
        index = len(node) - 1 if part == "-" else int(part)
        return node[index] if 0 <= index < len(node) else None
    if _is_element(part):
        name, value = _element(part)
        if not isinstance(node, list):
            raise BuildError(f"wrong node kind: expected a list at '{part}'")
        if not name:
            return next((item for item in node if text_of(item) == value), None)
        return next((item for item in node if isinstance(item, dict) and name in item and text_of(item[name]) == value), None)
    if not isinstance(node, dict):
        raise BuildError(f"wrong node kind: expected a map at '{part}'")
    return node.get(part)


@dataclass(slots=True)
class Place:
    """Where a value stands: a map or list and the key or index."""

    holder: Any
    key: Any
    is_new: bool = False

    @property
    def value(self) -> Any:
        """The value now."""
        return self.holder[self.key]

    def put(self, value: Any) -> None:
        """Write another value."""
        self.holder[self.key] = value


def places(node: Any, path: list[str], create: Create) -> list[Place]:
    """Return all places of a target's path; `create` makes maps, elements and one more index. Raises BuildError."""
    root = {"": node}
    return _follow(Place(root, ""), path, create)


def _follow(place: Place, path: list[str], create: Create) -> list[Place]:
    if not path:
        return [place]
    part = path[0]
    node = place.value
    if _is_index(part):
        return _at_index(node, int(part), path, create)
    if _is_element(part):
        return _at_elements(place, node, path, create)
    if part == "*":
        if node is None:
            return []
        if not isinstance(node, list):
            raise BuildError("wrong node kind: expected a list at '*'")
        return [found for index in range(len(node)) for found in _follow(Place(node, index), path[1:], create)]
    return _at_field(place, node, path, create)


def _new(path: list[str], create: Create) -> Any:
    """What stands for a missing value: by what the path wants of it next, else by what is going to be written."""
    if len(path) > 1:
        return [] if _is_element(path[1]) or _is_index(path[1]) else {}
    return {} if create == "map" else [] if create == "list" else ""


def _at_field(place: Place, node: Any, path: list[str], create: Create) -> list[Place]:
    if node is None and not create:
        return []
    if not isinstance(node, dict):
        raise BuildError(f"wrong node kind: expected a map at '{path[0]}'")
    is_new = path[0] not in node
    if is_new:
        if not create:
            return []
        node[path[0]] = _new(path, create)
    found = Place(node, path[0], is_new)
    if len(path) > 1 and not isinstance(found.value, dict | list):
        return _in_scalar(found.value, path, create)
    return _follow(found, path[1:], create)


def _in_scalar(value: Any, path: list[str], create: Create) -> list[Place]:
    """A path that goes on behind a scalar is followed in what its text reads as; what is written there is lost, as upstream."""
    if value is None and create:
        raise BuildError(f"wrong node kind: expected a map or list at '{path[0]}', but it is null")
    if value is None:
        return []
    found = places(read_node(text_of(value)), path[1:], create)
    return [Place({"": ""}, "", is_new=True)] if found else []


def _at_index(node: Any, index: int, path: list[str], create: Create) -> list[Place]:
    if not isinstance(node, list):
        raise BuildError(f"wrong node kind: expected a list at '{path[0]}'")
    is_new = create is not None and index == len(node) < MAX_INDEX
    if is_new:
        node.append(_new(path, create))
    if index >= len(node):
        raise BuildError(f"index {index} specified but only {len(node)} elements found")
    return _follow(Place(node, index, is_new), path[1:], create)


def _at_elements(place: Place, node: Any, path: list[str], create: Create) -> list[Place]:
    name, pattern = _element(path[0])
    if node is None and not create:
        return []
    if not isinstance(node, list):
        raise BuildError(f"wrong node kind: expected a list at '{path[0]}'")
    found = _matching(node, name, pattern, path, create)
    if found or create is None:
        return found
    value = Loose(pattern)
    node.append({name: value} if name else value)
    return _matching(node, name, pattern, path, create)


def _matching(node: list[Any], name: str, pattern: str, path: list[str], create: Create) -> list[Place]:
    wanted = go_regexp(pattern)
    found: list[Place] = []
    for index, item in enumerate(node):
        if not name:
            if not isinstance(item, dict | list) and wanted.search(text_of(item)):
                found.append(Place(node, index))
        elif isinstance(item, dict) and name in item and wanted.search(text_of(item[name])):
            found += _follow(Place(node, index), path[1:], create)
    return found


def retyped(old: Any, text: str) -> Any:
    """Return a text as a value of the type of `old`. Raises BuildError if it does not read as one."""
    if isinstance(old, str) and not isinstance(old, WrittenDate):
        return Loose(text) if isinstance(old, Loose) else text
    value = plain(text, "1.2")
    if old is None and value is None:
        return None
    kinds: dict[type, type | tuple[type, ...]] = {bool: bool, int: int, WrittenInt: int, float: (int, float), WrittenFloat: (int, float)}
    wanted = kinds.get(type(old), WrittenDate)
    if old is None or not isinstance(value, wanted) or (isinstance(value, bool) and not isinstance(old, bool)):
        raise BuildError(f"replacements: cannot write `{text}` into a field that holds `{text_of(old)}`; put that one in quotes")
    return value
