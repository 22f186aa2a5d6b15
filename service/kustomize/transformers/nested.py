"""Replacements inside texts that are themselves YAML or JSON, as a ConfigMap's `config.yaml` (kustomize 5.8 and later)."""

import json
from typing import Any

from service.kustomize.errors import BuildError
from service.kustomize.scalars import Loose, text_of
from service.kustomize.transformers.fieldpath import Create, Place, lookup, places, retyped
from service.kustomize.transformers.yamltext import YamlText
from service.kustomize.yamlread import read_node


def set_in_text(body: dict[str, Any], path: list[str], value: Any, create: Create) -> bool:
    """Write a value at a path that leads into a text; return whether there is such a text and place."""
    for length in range(1, len(path)):
        holder, text = _text_at(body, path[:length])
        if text is None:
            continue
        try:
            holder[0][holder[1]] = _edited(text, path[length:], value, create)
        except BuildError:
            return False
        return True
    return False


def _edited(text: str, path: list[str], value: Any, create: Create) -> str:
    """Return the text with the value at the path. Raises BuildError if there is no such place."""
    if text.strip()[:1] in ("{", "["):
        document = read_node(text)
        for place in _places(document, path, create):
            place.put(value if isinstance(place.value, dict | list) else retyped(place.value, text_of(value)))
        return _json(document, indented="\n" in text and "  " in text)
    source = YamlText(text)
    for place in _places(source.document, path, create):
        if place.is_new or not source.set(place.holder, place.key, value):
            place.put(value if isinstance(value, dict | list) else Loose(text_of(value)))
    return source.dump()


def _places(document: Any, path: list[str], create: Create) -> list[Place]:
    found = places(document, path, create)
    if not found:
        raise BuildError("unable to find field in structured data")
    return found


def _json(document: Any, *, indented: bool) -> str:
    """JSON as Go writes it: keys sorted, < > & and the line separators of Unicode escaped; indented if it was."""
    text = json.dumps(
        document, indent=2 if indented else None, separators=None if indented else (",", ":"), sort_keys=True, ensure_ascii=False
    )
    return "".join(f"\\u{ord(letter):04x}" if letter in "<>&\u2028\u2029" else letter for letter in text)


def _text_at(body: dict[str, Any], path: list[str]) -> tuple[Any, str | None]:
    try:
        value = lookup(body, path)
        parent = lookup(body, path[:-1]) if len(path) > 1 else body
    except BuildError:
        return None, None
    if not isinstance(value, str) or not isinstance(parent, dict):
        return None, None
    return (parent, path[-1]), value
