"""Nulls that are not written as `null`: `a:` and `a: ~`. As values they are nulls; a merge that passes by, and texts made of them, tell.

A merge drops what is left empty and keeps `null` and `~` (kyaml v0.21.0 yaml/merge2). In flow style, `{a: }`, an empty one comes out as an
empty text: upstream's emitter puts quotes there. Parsing notes the paths in the document under a key
that no YAML text can hold.
"""

from typing import Any

from yaml._yaml import CParser
from yaml.events import MappingEndEvent, MappingStartEvent, ScalarEvent, SequenceEndEvent, SequenceStartEvent

from service.kustomize.schema import Shape

KEY = "\0nulls"
Path = tuple[str | int, ...]
Nulls = tuple[tuple[Path, str, bool], ...]
"""(path, text, whether it stands in flow style)"""
_TEXTS = ("", "~", "Null", "NULL")


def note(document: Any, data: bytes) -> None:
    """Note the nulls of a document that was parsed from valid YAML."""
    parser = CParser(data)
    try:
        parser.get_event()
        parser.get_event()
        walk = _Walk(parser)
        walk.follow(parser.get_event(), (), False)
        document[KEY] = tuple(walk.found)
    finally:
        parser.dispose()


def take(document: dict[str, Any]) -> Nulls:
    """Take the note out of a document."""
    found: Nulls = document.pop(KEY, ())
    return found


class _Walk:
    def __init__(self, parser: CParser) -> None:
        self._parser = parser
        self.found: list[tuple[Path, str, bool]] = []

    def follow(self, event: Any, path: Path, in_flow: bool) -> str:
        """Walk a node; return the text of a scalar, "" for others."""
        if isinstance(event, ScalarEvent):
            if event.implicit[0] and event.tag is None and event.value in _TEXTS:
                self.found.append((path, event.value, in_flow))
            return str(event.value)
        read = self._parser.get_event
        if isinstance(event, MappingStartEvent):
            flow = in_flow or bool(event.flow_style)
            while not isinstance(key := read(), MappingEndEvent):
                before = len(self.found)
                name = self.follow(key, path, flow)
                del self.found[before:]
                self.follow(read(), (*path, name), flow)
        elif isinstance(event, SequenceStartEvent):
            flow, index = in_flow or bool(event.flow_style), 0
            while not isinstance(item := read(), SequenceEndEvent):
                self.follow(item, (*path, index), flow)
                index += 1
        return ""


def drop(body: dict[str, Any], nulls: Nulls, shape: Shape | None) -> None:
    """Take the empty ones out of an object that is about to be merged into; of lists, only those that merge by key are walked."""
    for path, text, _ in nulls:
        if not text:
            _drop(body, path, shape)


def _drop(node: Any, path: Path, shape: Shape | None) -> None:
    for index, part in enumerate(path):
        if isinstance(node, dict) and part in node:
            if index == len(path) - 1:
                if node[part] is None:
                    del node[part]
                return
            node, shape = node[part], shape.field(str(part)) if shape is not None else None
        elif isinstance(node, list) and isinstance(part, int) and part < len(node) and shape is not None and shape.keys:
            node, shape = node[part], shape.elements()
        else:
            return


def text_at(nulls: Nulls, path: Path) -> str:
    """Return how the null at a path is written."""
    return next((text for known, text, _ in nulls if known == path), "null")


def quote(body: dict[str, Any], nulls: Nulls) -> None:
    """Make texts of the empty ones in flow style."""
    for path, text, in_flow in nulls:
        holder: Any = body if in_flow and not text else None
        for part in path[:-1]:
            holder = holder[part] if _has(holder, part) else None
        if _has(holder, path[-1]) and holder[path[-1]] is None:
            holder[path[-1]] = ""


def _has(holder: Any, part: str | int) -> bool:
    if isinstance(holder, list):
        return isinstance(part, int) and part < len(holder)
    return isinstance(holder, dict) and part in holder
