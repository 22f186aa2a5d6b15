"""The versions of one chart in a Helm index, from YAML to JSON: at the speed of text for what Helm writes, by PyYAML for anything else.

In: the block of one chart, as Helm's own writer indents it. Out: a JSON list. PyYAML reads 1 MB a second, and indexes have 25: but nearly
each field of a version is the same as in the version before, so a field is read once and known by its text then.
https://helm.sh/docs/topics/chart_repository/#the-index-file
"""

import json
import re
from collections.abc import Iterator

from service.sources.plainyaml import BadYaml, json_of, read_yaml

MOST_KNOWN = 50_000
_PLAIN = r"[A-Za-z_/.][^\s:#\"'\[\]{},&*!|>%@`]*(?:[ :/#,][^\s:#\"'{}&*!|>%@`]+)*"
_VERSION = r"v?[0-9]+\.[0-9]+\.[0-9]+[0-9A-Za-z.+-]*|(?=[0-9]*[a-f])[0-9a-f]{64}"
_SCALAR = re.compile(
    rf"(?P<plain>(?!(?:true|false|yes|no|on|off|null|y|n)$|\.)(?![^\n]*(?:: |:$| #)){_PLAIN}|{_VERSION})"
    r"|\"(?P<double>[^\"\\\n]*)\"|'(?P<single>[^'\n]*)'",
    re.IGNORECASE,
)
_FIELD = re.compile(r"([A-Za-z_][\w./-]*):(?: ([^\n]*))?")
_BEGINS_MAPPING = re.compile(r"[A-Za-z_][\w./-]*:(?: |$)")
_LITERAL = re.compile(r"\|([-+]?)$")
_SAFE = re.compile(r"[ -!#-\[\]-~]*")  # what JSON has as it is


class Unusual(Exception):
    """Not written as Helm does; PyYAML reads it."""


class Blocks:
    """Reads blocks; what it has read it knows."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def versions(self, block: str) -> str:
        """Return the JSON list that a block of items `- name: value` stands for. Raises BadYaml."""
        first = len(block) - len(block.lstrip(" "))
        dash = " " * first + "- "
        if not block.startswith(dash):
            return json_of(read_yaml(block))
        try:
            fields = _splitter(first + 2)
            return "[" + ",".join([self._version(fields.split(item)) for item in _items(block, dash)]) + "]"
        except (Unusual, BadYaml):
            return json_of(read_yaml(block))

    def _version(self, fields: list[str]) -> str:
        known, made = self._known, []
        for field in fields:
            found = known.get(field)
            if found is None:
                if len(known) >= MOST_KNOWN:
                    known.clear()
                found = known[field] = _field(field)
            made.append(found)
        return "{" + ",".join(made) + "}"


_SPLITTERS = {indent: re.compile(rf"\n {{{indent}}}(?![ \-#\n])") for indent in range(2, 12)}


def _splitter(indent: int) -> re.Pattern[str]:
    found = _SPLITTERS.get(indent)
    if found is None:
        raise BadYaml("the list of a chart's versions is indented too far")
    return found


def _items(block: str, dash: str) -> list[str]:
    return block.rstrip("\n")[len(dash) :].split("\n" + dash)


def _field(text: str) -> str:
    """`"name":value` of one field with all its lines. Raises Unusual, BadYaml."""
    try:
        return _written(text)
    except Unusual:
        found = read_yaml(text)
        if not isinstance(found, dict) or len(found) != 1:
            raise Unusual from None
        return json_of(found)[1:-1]


def _written(text: str) -> str:
    head, newline, rest = text.partition("\n")
    found = _FIELD.fullmatch(head)
    if found is None:
        raise Unusual
    if not newline:
        return f'"{found[1]}":{_scalar(found[2])}'
    lines = rest.split("\n")
    indent = len(lines[0]) - len(lines[0].lstrip(" "))
    if found[2]:
        return f'"{found[1]}":{_literal(found[2], lines, indent)}'
    if lines[0].startswith("- ", indent):
        return f'"{found[1]}":{_list(lines, indent)}'
    return f'"{found[1]}":{{{",".join(_fields(lines, indent))}}}'


def _list(lines: list[str], indent: int) -> str:
    dash = " " * indent + "- "
    if all(line.startswith(dash) and not _BEGINS_MAPPING.match(line, indent + 2) for line in lines):
        return "[" + ",".join([_scalar(line[indent + 2 :]) for line in lines]) + "]"
    made: list[str] = []
    for item in _items("\n".join(lines), dash):
        first, *others = item.split("\n")
        made.append("{" + ",".join(_fields([" " * (indent + 2) + first, *others], indent + 2)) + "}")
    return "[" + ",".join(made) + "]"


def _fields(lines: list[str], indent: int) -> Iterator[str]:
    """Fields of a mapping whose lines begin at `indent`, each with what is indented further."""
    start = 0
    for at in range(1, len(lines) + 1):
        if at == len(lines) or (lines[at][:indent].strip() == "" and lines[at][indent : indent + 1] not in ("", " ", "-", "#")):
            if lines[start][:indent].strip() or lines[start][indent : indent + 1] in ("", " ", "-", "#"):
                raise Unusual
            yield _written("\n".join([lines[start][indent:], *lines[start + 1 : at]]))
            start = at


def _literal(mark: str, lines: list[str], indent: int) -> str:
    """The text of a block `|`. Raises Unusual."""
    found = _LITERAL.match(mark)
    if found is None or found[1] == "+" or not lines[0].strip():
        raise Unusual
    space = " " * indent
    if any(line.strip() and not line.startswith(space) for line in lines):
        raise Unusual
    text = "\n".join(line[indent:] for line in lines).rstrip("\n")
    return json.dumps(text if found[1] else f"{text}\n")


def _scalar(text: str | None) -> str:
    found = _SCALAR.fullmatch(text or "")
    if found is None:
        raise Unusual
    value = found[found.lastgroup or "plain"]
    return f'"{value}"' if _SAFE.fullmatch(value) else json.dumps(value)
