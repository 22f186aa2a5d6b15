"""Nodes of a YAML text, and how one of them is written: as go.yaml.in/yaml/v3 encode.go does it for nodes."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from yaml._yaml import CEmitter
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from service.kustomize.scalars import NotFinite, WrittenDate, plain, text_of

SHORT = "tag:yaml.org,2002:"
_ENDLESS = 2**31 - 1
_INT = re.compile(r"[-+]?(?:0[xXbBoO])?[0-9a-fA-F_]+\Z")


@dataclass(slots=True)
class Node:
    """A scalar (text), an alias (text is its name), or a collection: `children` are values, `keys` stand beside them in a map."""

    kind: str
    text: str = ""
    style: str | None = None
    tag: str = ""
    explicit: bool = False
    anchor: str | None = None
    flow: bool = False
    line: int = -1
    keys: list["Node"] = field(default_factory=list)
    children: list["Node"] = field(default_factory=list)


def new_node(value: Any) -> Node:
    """Return a plain value as nodes in block style."""
    if isinstance(value, dict):
        return Node("map", keys=[new_node(key) for key in value], children=[new_node(item) for item in value.values()], flow=not value)
    if isinstance(value, list):
        return Node("list", children=[new_node(item) for item in value], flow=not value)
    text = "null" if value is None else text_of(value)
    return Node("scalar", text, tag="!!str" if type(value) is str else tag_of(text))


def tag_of(text: str) -> str:
    """Return the type that a plain text reads as, as a short tag."""
    try:
        value = plain(text, "1.2")
    except NotFinite:
        return "!!float"
    if value is None:
        return "!!null"
    if isinstance(value, bool):
        return "!!bool"
    if isinstance(value, WrittenDate):
        return "!!timestamp"
    if isinstance(value, int | float):
        return "!!int" if _INT.match(text) else "!!float"
    return "!!str"


def written(node: Node) -> list[str]:
    """Return the lines of a node."""
    output = io.StringIO()
    emitter = CEmitter(output, width=_ENDLESS, allow_unicode=True, indent=2)
    emitter.emit(StreamStartEvent())
    emitter.emit(DocumentStartEvent(explicit=False))
    for event in _events(node, False):
        emitter.emit(event)
    emitter.emit(DocumentEndEvent(explicit=False))
    emitter.emit(StreamEndEvent())
    emitter.dispose()
    return output.getvalue().removesuffix("...\n").rstrip("\n").split("\n")


def _events(node: Node, in_flow: bool) -> Iterator[Any]:
    flow = in_flow or node.flow
    match node.kind:
        case "alias":
            yield AliasEvent(node.text)
        case "map":
            yield MappingStartEvent(node.anchor, None, True, flow_style=flow or not node.children)
            for key, child in zip(node.keys, node.children, strict=True):
                yield from _events(key, flow)
                yield from _events(child, flow)
            yield MappingEndEvent()
        case "list":
            yield SequenceStartEvent(node.anchor, None, True, flow_style=flow or not node.children)
            for child in node.children:
                yield from _events(child, flow)
            yield SequenceEndEvent()
        case _:
            yield _scalar(node, flow)


def _scalar(node: Node, flow: bool) -> ScalarEvent:
    """A word that is written into a number's place keeps the number's tag; a number in a text's place gets quotes."""
    tag, style = node.tag, node.style
    reads_as = tag_of(node.text) if style is None else "!!str"
    forced = False
    if not node.explicit:
        forced = tag == "!!str" and reads_as != "!!str"
        tag = "" if forced or tag == reads_as else tag
    if style is None:
        style = ('"' if flow else "|") if "\n" in node.text else '"' if forced else None
    long = tag.replace("!!", SHORT, 1) if tag else None
    return ScalarEvent(node.anchor, long, (not tag, not tag), node.text, style=style)
