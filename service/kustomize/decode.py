"""Strict decoding of kustomize's own YAML, as encoding/json does it with unknown fields disallowed.

Types are data: `record({"name": text})`. Field names are matched whatever their case, nothing is coerced, null counts as not given.
Unknown fields are errors, except where a plugin's configuration is read (`strict=False`).
"""

from collections.abc import Callable, Mapping
from typing import Any

from service.kustomize.errors import BuildError
from service.kustomize.scalars import text_of

Type = Callable[[Any, str, bool], Any]
"""(value, path, strict) -> decoded value. Raises BuildError."""


def decode(kind: Type, value: Any, path: str, *, strict: bool = True) -> Any:
    """Return the decoded value. Raises BuildError that names the field."""
    return kind(value, path, strict)


def _wrong(value: Any, path: str, wanted: str) -> BuildError:
    shown = "a map" if isinstance(value, dict) else "a list" if isinstance(value, list) else f"{text_of(value)!r} ({_name(value)})"
    hint = "; put it in quotes" if wanted == "string" and not isinstance(value, dict | list) else ""
    return BuildError(f"{path} must be a {wanted}, but is {shown}{hint}")


def _name(value: Any) -> str:
    return "bool" if isinstance(value, bool) else "number" if isinstance(value, int | float) else "string"


def text(value: Any, path: str, _strict: bool) -> str:
    """A string; null is the empty one."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong(value, path, "string")
    return value


def scalar(value: Any, path: str, strict: bool) -> str:
    """A string; in a plugin's configuration a number or bool counts as its text (1.50 as 1.5, as encoding/json would write it)."""
    if strict or value is None or isinstance(value, dict | list):
        return text(value, path, strict)
    return str(value) if isinstance(value, str) else text_of(value if isinstance(value, bool) else value + 0)


def scalars(value: Any, path: str, strict: bool) -> dict[str, str]:
    """A map of such strings."""
    if not isinstance(value, dict):
        raise _wrong(value, path, "map of strings")
    return {key: scalar(item, f"{path}.{key}", strict) for key, item in value.items()}


def boolean(value: Any, path: str, _strict: bool) -> bool:
    """true or false; null is false."""
    if value is None:
        return False
    if not isinstance(value, bool):
        raise _wrong(value, path, "bool")
    return value


def integer(value: Any, path: str, _strict: bool) -> int:
    """A whole number of 64 bits; null is 0."""
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise _wrong(value, path, "whole number")
    return int(value)


def anything(value: Any, _path: str, _strict: bool) -> Any:
    """Any value, as it is."""
    return value


def mapping(value: Any, path: str, _strict: bool) -> dict[str, Any]:
    """Any map."""
    if value is not None and not isinstance(value, dict):
        raise _wrong(value, path, "map")
    return value or {}


def texts(value: Any, path: str, strict: bool) -> dict[str, str]:
    """A map of strings."""
    if not isinstance(value, dict):
        raise _wrong(value, path, "map of strings")
    return {key: text(item, f"{path}.{key}", strict) for key, item in value.items()}


def listing(item: Type) -> Type:
    """A list of one type."""

    def read(value: Any, path: str, strict: bool) -> list[Any]:
        if not isinstance(value, list):
            raise _wrong(value, path, "list")
        return [item(entry, f"{path}[{index}]", strict) for index, entry in enumerate(value)]

    return read


def record(fields: Mapping[str, Type]) -> Type:
    """A map of known fields."""
    folded = {name.lower(): name for name in fields}

    def read(value: Any, path: str, strict: bool) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise _wrong(value, path, "map")
        found: dict[str, Any] = {}
        for key, item in value.items():
            name = key if key in fields else folded.get(key.lower())
            if name is None:
                if strict:
                    raise BuildError(f'unknown field "{key}" in {path}')
                continue
            if item is not None:
                found[name] = fields[name](item, f"{path}.{name}", strict)
        return found

    return read


GVK_FIELDS: dict[str, Type] = {"group": text, "version": text, "kind": text}
ID_FIELDS: dict[str, Type] = {**GVK_FIELDS, "name": text, "namespace": text}
SELECTOR = record({**ID_FIELDS, "labelSelector": text, "annotationSelector": text})
