"""A YAML text that is edited in place: quotes, flow style, anchors, number forms and comments stay; blank lines and indents are made anew.

So does upstream: it keeps go.yaml.in/yaml/v3 nodes, and writes them with two spaces, dashes at their parent's indent, endless lines.
"""

import re
from collections.abc import Iterator
from typing import Any

import yaml
from yaml._yaml import CParser
from yaml.events import AliasEvent, DocumentStartEvent, MappingEndEvent, MappingStartEvent, ScalarEvent, SequenceEndEvent

from service.kustomize.errors import BuildError
from service.kustomize.scalars import plain, text_of
from service.kustomize.transformers.yamlnodes import SHORT, Node, new_node, tag_of, written

_MAX_DEPTH = 100
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*")


class YamlText:
    """The text as nodes. Raises BuildError if it is no YAML."""

    def __init__(self, text: str) -> None:
        self._parser = CParser(text)
        self._anchors: dict[str, Node] = {}
        self._spans: list[tuple[int, int]] = []
        try:
            self._parser.get_event()
            self.root = self._node(self._parser.get_event(), 0) if isinstance(self._parser.get_event(), DocumentStartEvent) else None
        except yaml.YAMLError as error:
            raise BuildError(f"MalformedYAMLError: {error}") from error
        finally:
            self._parser.dispose()
        self._nodes: dict[int, tuple[Any, Node]] = {}
        self.document: Any = None if self.root is None else self._value(self.root, 0)
        """The plain value. New keys and elements may be put into its maps and lists; others are written with `set`."""
        self._head, self._beside, self._top, self._foot = _comments(text, self._spans, self._starts())

    def _node(self, event: Any, depth: int) -> Node:
        if depth > _MAX_DEPTH:
            raise BuildError(f"nested deeper than {_MAX_DEPTH} levels")
        line = event.start_mark.line
        if isinstance(event, AliasEvent):
            return Node("alias", event.anchor or "", line=line)
        if isinstance(event, ScalarEvent):
            assert event.start_mark is not None
            assert event.end_mark is not None
            self._spans.append((event.start_mark.index, event.end_mark.index))
            tag = event.tag.replace(SHORT, "!!") if event.tag else tag_of(event.value) if event.implicit[0] else "!!str"
            style = event.style if event.style in ("'", '"', "|", ">") else None
            node = Node("scalar", event.value, style, tag, bool(event.tag), event.anchor, line=line)
        elif isinstance(event, MappingStartEvent):
            node = Node("map", anchor=event.anchor, flow=bool(event.flow_style), line=line)
            while not isinstance(event := self._parser.get_event(), MappingEndEvent):
                node.keys.append(self._node(event, depth + 1))
                node.children.append(self._node(self._parser.get_event(), depth + 1))
        else:
            node = Node("list", anchor=event.anchor, flow=bool(event.flow_style), line=line)
            while not isinstance(event := self._parser.get_event(), SequenceEndEvent):
                node.children.append(self._node(event, depth + 1))
        if node.anchor:
            self._anchors[node.anchor] = node
        return node

    def _value(self, node: Node, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise BuildError(f"nested deeper than {_MAX_DEPTH} levels")
        made: Any
        match node.kind:
            case "alias":
                return self._value(self._anchors[node.text], depth + 1) if node.text in self._anchors else None
            case "map":
                made = {key.text: self._value(child, depth + 1) for key, child in zip(node.keys, node.children, strict=True)}
            case "list":
                made = [self._value(child, depth + 1) for child in node.children]
            case _:
                return plain(node.text, "1.2") if node.style is None and node.tag != "!!str" else node.text
        self._nodes[id(made)] = made, node
        return made

    def set(self, holder: Any, key: Any, value: Any) -> bool:
        """Write a value where one stands: a scalar keeps its style and type. Return whether it stands in the text."""
        _, node = self._nodes.get(id(holder), (None, None))
        if node is None:
            return False
        at = key if node.kind == "list" else next(index for index, name in enumerate(node.keys) if name.text == key)
        if node.children[at].kind == "scalar":
            node.children[at].text = text_of(value)
        else:
            node.children[at] = new_node(value)
        return True

    def _take_new(self) -> None:
        """Make nodes of what was put into the plain value."""
        for made, node in self._nodes.values():
            if node.kind == "list":
                node.children += [new_node(item) for item in made[len(node.children) :]]
                continue
            known = {key.text for key in node.keys}
            for key in made.keys() - known:
                node.keys.append(new_node(key))
                node.children.append(new_node(made[key]))

    # --- writing

    def dump(self) -> str:
        """Return the text."""
        self._take_new()
        if self.root is None:
            return ""
        lines = [*self._top, *self._block(self.root), *self._foot]
        return "\n".join(lines).strip()

    def _starts(self) -> list[int]:
        """The lines on which an entry of a block collection begins, in order."""
        found: list[int] = []

        def walk(node: Node) -> None:
            if not node.flow:
                for key, child in zip(node.keys or node.children, node.children, strict=True):
                    found.append(key.line)
                    walk(child)

        if self.root is not None:
            walk(self.root)
        return sorted(set(found))

    def _block(self, node: Node) -> Iterator[str]:
        if node.kind not in ("map", "list") or node.flow or not node.children:
            yield from written(node)
            return
        for key, child in zip(node.keys or node.children, node.children, strict=True):
            yield from self._head.pop(key.line, ())
            beside = self._beside.pop(key.line, "")
            is_block = child.kind in ("map", "list") and not child.flow and bool(child.children)
            if not is_block:
                pair = Node("map", keys=[key], children=[child]) if node.kind == "map" else Node("list", children=[child])
                first, *rest = written(pair)
                yield first + (f" {beside}" if beside else "")
                yield from rest
                continue
            anchor = f" &{child.anchor}" if child.anchor else ""
            inner = list(self._block(child))
            if node.kind == "map":
                name = next(iter(written(Node("map", keys=[key], children=[Node("scalar", "", None, "!!null")])))).rstrip()
                yield name + anchor + (f" {beside}" if beside else "")
                yield from ((f"  {line}" if line else line) for line in inner) if child.kind == "map" else inner
            else:
                if beside and not inner[0].endswith(beside):
                    inner[0] += f" {beside}"
                yield f"- {inner[0]}" if not anchor else f"-{anchor}"
                yield from (f"  {line}" if line else line for line in inner[0 if anchor else 1 :])


def _comments(
    text: str, spans: list[tuple[int, int]], starts: list[int]
) -> tuple[dict[int, list[str]], dict[int, str], list[str], list[str]]:
    """Comments by the entry that they stand above or beside, those at the top before a blank line, those at the end."""
    head: dict[int, list[str]] = {}
    beside: dict[int, str] = {}
    top: list[str] = []
    waiting: list[str] = []
    position, known, follows = 0, set(starts), False
    if "#" not in text:
        return head, beside, top, waiting
    previous = ""
    for number, line in enumerate(text.split("\n")):
        found = next((hit for hit in _COMMENT.finditer(line) if not _inside(position + hit.start(), spans)), None)
        bare = line.strip()
        if number in known and waiting:
            head[number], waiting = waiting, []
        if found is not None and bare == found[0]:
            follows = (bool(waiting) and follows) or (not waiting and bool(previous))
            waiting.append(bare)
        elif found is not None:
            beside[number] = found[0]
        elif not bare and waiting and not head and not any(start < number for start in starts):
            top, waiting = [*top, *waiting, ""], []
        elif not bare and waiting and follows:  # a comment right behind an entry belongs to it, and the blank line stays
            waiting, follows = [*waiting, ""], False
        position += len(line) + 1
        previous = bare
    return head, beside, top, waiting


def _inside(position: int, spans: list[tuple[int, int]]) -> bool:
    return any(start <= position < end for start, end in spans)
