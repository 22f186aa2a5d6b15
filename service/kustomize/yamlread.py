"""YAML bytes in, plain values out (dict, list, str, int, float, bool, None), in one of kustomize's two dialects.

Resources and strategic merge patches: kyaml's ByteReader over go.yaml.in/yaml/v3. Kustomization files and the like: sigs.k8s.io/yaml.
libyaml parses, values are built from its events in one pass. Bounds: size, depth, alias expansion. What comes out is fresh: no two parts
are one (aliases are copied), so the caller may edit it.
"""

import base64
import re
from collections.abc import Callable
from typing import Any

import yaml
from yaml._yaml import CParser
from yaml.events import AliasEvent, DocumentStartEvent, MappingEndEvent, MappingStartEvent, ScalarEvent, SequenceEndEvent

from service.kustomize import nulls
from service.kustomize.errors import BuildError
from service.kustomize.scalars import HINTS, Dialect, NotFinite, plain, text_of

MAX_BYTES = 32 * 2**20
MAX_DEPTH = 200
MAX_NODES = 2_000_000
"""Values of one document with its aliases written out."""

_SEPARATOR = re.compile(rb"\n---.*\n")
_TAG = "tag:yaml.org,2002:"
_END = object()
_MERGE = "<<"


def read_objects(data: bytes, file: str | None) -> list[Any]:
    """Return the documents of a file of resources or strategic merge patches; empty ones are left out.

    A lone List comes back as its items. Raises BuildError with file and line.
    """
    text = _checked(data, file).replace(b"\r\n", b"\n")
    documents, line, start = [], 0, 0
    for found in _SEPARATOR.finditer(text):
        rest = found[0][4:].strip()
        if rest and not rest.startswith(b"#"):
            raise BuildError(f"invalid document separator: {_shown(found[0])}", file, line + text.count(b"\n", start, found.start()) + 2)
        documents.append((text[start : found.start()] + b"\n", line))
        line += text.count(b"\n", start, found.end())
        start = found.end()
    documents.append((text[start:], line))
    values = [_object(part, file, first) for part, first in documents]
    if len(values) == 1 and _is_wrapped(values[0]):
        items = values[0].get("items")
        values = items if isinstance(items, list) else []
    return [value for value in values if value is not None]


def _object(data: bytes, file: str | None, first: int) -> Any:
    reader = _Reader(data, "1.2", file, first)
    value = reader.document()
    if reader.has_odd_nulls and isinstance(value, dict):
        nulls.note(value, data)
    return value


def _is_wrapped(value: Any) -> bool:
    return isinstance(value, dict) and value.get("kind") in ("List", "ResourceList") and ("items" in value or "functionConfig" in value)


def read_value(data: bytes | str, file: str | None, *, unique: bool = False) -> Any:
    """Return the first document in YAML 1.1, as YAMLToJSON reads it: keys become strings, a later key wins. Raises BuildError.

    `unique` reads as YAMLToJSONStrict does: a key twice is an error.
    """
    reader = _Reader(_checked(data.encode() if isinstance(data, str) else data, file), "1.1", file, 0)
    reader.keeps_last = not unique
    return reader.document()


def read_node(text: str) -> Any:
    """Return one YAML 1.2 document out of a text. Raises BuildError."""
    return _Reader(_checked(text.encode("utf-8", "surrogatepass"), None), "1.2", None, 0).document()


def copied(value: Any) -> Any:
    """Return a deep copy of a plain value."""
    if type(value) is dict:
        return {key: copied(item) for key, item in value.items()}
    if type(value) is list:
        return [copied(item) for item in value]
    return value


def _checked(data: bytes, file: str | None) -> bytes:
    if len(data) > MAX_BYTES:
        raise BuildError(f"the file has {len(data)} bytes, more than the {MAX_BYTES} that one file may have", file)
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise BuildError("MalformedYAMLError: the text is not UTF-8", file, data.count(b"\n", 0, error.start) + 1) from error
    return data.removeprefix(b"\xef\xbb\xbf")


def _shown(data: bytes) -> str:
    return data.decode("utf-8", "replace").strip()[:80]


class _Reader:
    """One document. `first` is the number of lines before it in its file."""

    def __init__(self, data: bytes, dialect: Dialect, file: str | None, first: int) -> None:
        self._parser = CParser(data)
        self._next: Callable[[], Any] = self._parser.get_event
        self._dialect = dialect
        self._file = file
        self._first = first
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._nodes = 0
        self.keeps_last = dialect == "1.1"
        """Whether a key may stand twice in a map."""
        self.has_odd_nulls = False
        """Whether there are nulls that are not written as null."""
        self._slashes = data if b"\\/" in data else None

    def document(self) -> Any:
        """The first document, None if there is none."""
        try:
            self._next()
            if not isinstance(self._next(), DocumentStartEvent):
                return None
            return self._value(self._next(), 0)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            what = getattr(error, "problem", None) or str(error)
            raise self._error(f"MalformedYAMLError: {what}", mark) from error
        except NotFinite as error:
            raise self._error(f"{error} has no JSON form", None) from error
        finally:
            self._parser.dispose()

    def _error(self, message: str, mark: Any) -> BuildError:
        return BuildError(message, self._file, None if mark is None else self._first + mark.line + 1)

    def _value(self, event: Any, depth: int) -> Any:
        kind = type(event)
        if kind is ScalarEvent:
            self._nodes += 1
            value = self._scalar(event)
            if event.anchor:
                self._anchors[event.anchor] = (value, 1)
            return value
        if kind is AliasEvent:
            return self._alias(event)
        if depth >= MAX_DEPTH:
            raise self._error(f"nested deeper than {MAX_DEPTH} levels", event.start_mark)
        before = self._nodes
        self._nodes += 1
        value = self._map(depth + 1) if kind is MappingStartEvent else self._list(depth + 1)
        if event.anchor:
            self._anchors[event.anchor] = (value, self._nodes - before)
        return value

    def _alias(self, event: Any) -> Any:
        found = self._anchors.get(event.anchor)
        if found is None:
            raise self._error(f"MalformedYAMLError: unknown anchor '{event.anchor}' referenced", event.start_mark)
        self._nodes += found[1]
        if self._nodes > MAX_NODES:
            raise self._error(f"document contains excessive aliasing: more than {MAX_NODES} values", event.start_mark)
        return copied(found[0])

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        if event.implicit[0]:
            if event.tag is None:
                if text and text[0] not in HINTS:
                    return text
                value = plain(text, self._dialect)
                if value is None and text != "null":
                    self.has_odd_nulls = True
                return value
        elif event.implicit[1]:
            if self._slashes is not None and event.style == '"':
                self._check_slash(event)
            return text
        return self._tagged(event, text)

    def _check_slash(self, event: Any) -> None:
        """Go's parser does not know the escape \\/ that JSON has."""
        assert self._slashes is not None
        raw = self._slashes.decode()[event.start_mark.index : event.end_mark.index]
        if re.search(r"(?<!\\)(?:\\\\)*\\/", raw):
            raise self._error("MalformedYAMLError: found unknown escape character", event.start_mark)

    def _tagged(self, event: Any, text: str) -> Any:
        tag = (event.tag or "").removeprefix(_TAG)
        if tag in ("str", "!", ""):
            return text
        if tag == "binary":
            try:
                return base64.b64decode(text, validate=False).decode()
            except ValueError as error:
                raise self._error("!!binary value contains invalid base64 data, or is no text", event.start_mark) from error
        value = plain(text, self._dialect)
        kinds = {"int": int, "float": (int, float), "bool": bool, "null": type(None), "timestamp": str}
        wanted = kinds.get(tag)
        if wanted is None:
            return text if self._dialect == "1.1" else value
        if not isinstance(value, wanted) or (tag in ("int", "float") and isinstance(value, bool)):  # type: ignore[arg-type]  # a type or a tuple of types
            raise self._error(f"cannot decode `{text}` as a !!{tag}", event.start_mark)
        return value

    def _list(self, depth: int) -> list[Any]:
        items, read, take = [], self._next, self._value
        while type(event := read()) is not SequenceEndEvent:
            items.append(take(event, depth))
        return items

    def _map(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merges: list[Any] | None = None
        read, take, lenient = self._next, self._value, self._dialect == "1.1"
        while type(event := read()) is not MappingEndEvent:
            if type(event) is ScalarEvent and event.value == _MERGE and event.implicit[0]:
                sources = self._merge_sources(take(read(), depth), event)
                if lenient:
                    for source in sources:
                        found.update(source)
                elif merges is not None:
                    raise self._error("duplicate merge key", event.start_mark)
                else:
                    merges = sources
                continue
            key = take(event, depth)
            if type(key) is not str:
                key = self._key(key, event)
            value = take(read(), depth)
            if key in found and not self.keeps_last:
                raise self._error(f'mapping key "{key}" already defined', event.start_mark)
            found[key] = value
        if merges:
            merged: dict[str, Any] = {}
            for source in merges:
                merged.update(source)
            merged.update(found)
            return merged
        return found

    def _key(self, key: Any, event: Any) -> str:
        if self._dialect == "1.1" and isinstance(key, bool | int | float):
            return "true" if key is True else "false" if key is False else text_of(key + 0)
        if isinstance(key, str):  # a date
            return text_of(key)
        raise self._error(f"the key {key!r} is not a string; put it in quotes", event.start_mark)

    def _merge_sources(self, value: Any, event: Any) -> list[Any]:
        """Maps in the order in which they are written: earlier ones of a list win, so they come last."""
        sources = value[::-1] if isinstance(value, list) else [value]
        if not all(isinstance(source, dict) for source in sources):
            raise self._error("map merge requires map or sequence of maps as the value", event.start_mark)
        return sources


__all__ = ["copied", "read_node", "read_objects", "read_value"]
