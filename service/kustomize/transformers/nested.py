"""Replacements inside texts that are themselves YAML or JSON, as a ConfigMap's `config.yaml` (kustomize 5.8 and later)."""

import json
from typing import Any

from service.kustomize.errors import BuildError
from service.kustomize.scalars import text_of
from service.kustomize.transformers.fieldpath import Create, lookup, places, retyped
from service.kustomize.yamlread import read_node
from service.kustomize.yamlwrite import dump_node


def set_in_text(body: dict[str, Any], path: list[str], value: Any, create: Create) -> bool:
    """Write a value at a path that leads into a text; return whether there is such a text and place."""
    for length in range(1, len(path)):
        holder, text = _text_at(body, path[:length])
        if text is None:
            continue
        try:
            document = read_node(text)
            root = {"": document}
            found = places(document, path[length:], create)
        except BuildError:
            return False
        if not found:
            return False
        for place in found:
            if isinstance(place.value, dict | list):
                place.put(value)
            else:
                place.put(retyped(place.value, text_of(value)))
        holder[0][holder[1]] = _written(root[""], text)
        return True
    return False


def _text_at(body: dict[str, Any], path: list[str]) -> tuple[Any, str | None]:
    try:
        value = lookup(body, path)
        parent = lookup(body, path[:-1]) if len(path) > 1 else body
    except BuildError:
        return None, None
    if not isinstance(value, str) or not isinstance(parent, dict):
        return None, None
    return (parent, path[-1]), value


def _written(document: Any, original: str) -> str:
    """JSON stays JSON, indented if it was."""
    if original.strip()[:1] in ("{", "["):
        if "\n" in original and "  " in original:
            return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False)
        return json.dumps(document, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return dump_node(document).strip()
