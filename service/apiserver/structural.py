"""Objects against their schema: defaults, pruning of unknown fields, validation.

A compiled schema and plain JSON in; changed copies, field paths and causes out. The rules are those of structural schemas:
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
Not carried out: CEL (`x-kubernetes-validations`), `not`, and formats other than date-time and byte.
"""

import base64
import binascii
import copy
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from service.apiserver.refusal import Cause
from service.apiserver.schema import ANY, Node

MOST_CAUSES = 32
_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
_EMBEDDED = frozenset(("apiVersion", "kind", "metadata"))


def prune(node: Node, value: Any, unknown: list[str], where: str = "") -> Any:
    """Return `value` without fields that the schema does not know; their paths (`spec.foo`) are appended to `unknown`."""
    if isinstance(value, dict) and node.shape in ("map", "any"):
        if node.shape == "any" and not node.fields:
            return value
        out, changed = {}, False
        for key, inner in value.items():
            child = node.fields.get(key) or node.element
            path = f"{where}.{key}" if where else key
            if child is not None:
                out[key] = prune(child, inner, unknown, path)
            elif node.open or (node.embedded and key in _EMBEDDED):
                out[key] = inner
            else:
                unknown.append(path)
            changed = changed or key not in out or out[key] is not inner
        return out if changed else value
    if isinstance(value, list) and node.shape == "list":
        element = node.element or ANY
        items = [prune(element, item, unknown, f"{where}[{at}]") for at, item in enumerate(value)]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    return value


def fill(node: Node, value: Any) -> Any:
    """Return `value` with the schema's defaults where fields are missing, and nulls dropped where the schema has a default."""
    if isinstance(value, dict) and node.fields | ({"": node.element} if node.element else {}):
        out, changed = dict(value), False
        for key, child in node.fields.items():
            given = out.get(key)
            if given is None and "default" in child.raw and (key not in out or not child.raw.get("nullable")):
                out[key] = copy.deepcopy(child.raw["default"])
                changed = True
        for key, inner in out.items():
            if isinstance(inner, (dict, list)):
                out[key] = fill(node.field(key), inner)
                changed = changed or out[key] is not inner
        return out if changed else value
    if isinstance(value, list) and node.element is not None:
        items = [fill(node.element, item) for item in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    return value


def drop_nulls(node: Node, value: Any, *, builtin: bool = False) -> Any:
    """Return `value` without null fields, except where the schema says nullable or does not say anything.

    Builtin kinds also lose empty lists and maps of free keys, as Go's `omitempty` does; required ones stay.
    """
    if isinstance(value, dict) and node.shape == "map":
        out = {}
        for key, inner in value.items():
            child = node.field(key)
            if inner is None and not child.raw.get("nullable") and child.shape != "any":
                continue
            kept = drop_nulls(child, inner, builtin=builtin)
            if builtin and kept in ({}, []) and key not in node.required and _omitted(child, key):
                continue
            out[key] = kept
        return out
    if isinstance(value, list) and node.element is not None:
        return [drop_nulls(node.element, item, builtin=builtin) for item in value]
    return value


def _omitted(node: Node, key: str) -> bool:
    return (node.shape == "list" or (node.element is not None and not node.fields)) and key != "rules"


def validate(node: Node, value: Any) -> list[Cause]:
    """Return what is wrong with an object, at most MOST_CAUSES causes."""
    causes: list[Cause] = []
    _check(node, value, "", causes)
    return causes[:MOST_CAUSES]


def _check(node: Node, value: Any, where: str, causes: list[Cause]) -> None:
    if len(causes) >= MOST_CAUSES:
        return
    if value is None and (node.raw.get("nullable") or node.shape == "any"):
        return
    if not _check_type(node, value, where, causes):
        return
    _check_enum(node, value, where, causes)
    if isinstance(value, dict):
        _check_map(node, value, where, causes)
    elif isinstance(value, list):
        _check_list(node, value, where, causes)
    elif isinstance(value, str):
        _check_text(node.raw, value, where, causes)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        _check_number(node.raw, value, where, causes)
    for branch in node.raw.get("allOf", ()):
        _check(_branch(json.dumps(branch)), value, where, causes)
    _check_choice(node, value, where, causes)


@lru_cache(maxsize=1024)
def _branch(text: str) -> Node:
    """Compile one branch of allOf/anyOf/oneOf; branches of structural schemas only state value checks."""
    from service.apiserver.schema import Definitions

    return Definitions({}).compile(json.loads(text))


def _check_choice(node: Node, value: Any, where: str, causes: list[Cause]) -> None:
    if node.raw.get("x-kubernetes-int-or-string"):
        return
    for word, most in (("anyOf", 1_000), ("oneOf", 1)):
        branches = node.raw.get(word)
        if not branches:
            continue
        fits = 0
        for branch in branches:
            found: list[Cause] = []
            _check(_branch(json.dumps(branch)), value, where, found)
            fits += not found
        if not 1 <= fits <= most:
            many = "must validate one and only one schema (oneOf)" if word == "oneOf" else "must validate at least one schema (anyOf)"
            causes.append(Cause(reason="FieldValueInvalid", field=where or "<nil>", message=f"Invalid value: {_shown(value)}: {many}"))


def _shown(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return json.dumps(value, separators=(",", ":"))[:200]
    return json.dumps(value, ensure_ascii=False)[:200]


def _word(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case str():
            return "string"
        case int():
            return "integer"
        case float():
            return "number"
        case list():
            return "array"
        case _:
            return "object"


def _check_type(node: Node, value: Any, where: str, causes: list[Cause]) -> bool:
    raw = node.raw
    if raw.get("x-kubernetes-int-or-string") or raw.get("format") == "int-or-string":
        wanted, fits = "integer,string", isinstance(value, (int, str)) and not isinstance(value, bool)
    elif raw.get("format") == "quantity":
        wanted, fits = "string,number", isinstance(value, (int, float, str)) and not isinstance(value, bool)
    else:
        wanted = str(raw.get("type", "object" if node.shape == "map" and "properties" in raw and "type" in raw else ""))
        types = _JSON_TYPES.get(wanted)
        fits = types is None or (isinstance(value, types) and (not isinstance(value, bool) or wanted == "boolean"))
        if wanted == "integer" and isinstance(value, float):
            fits = value.is_integer()
    if not fits:
        message = f'Invalid value: "{_word(value)}": {where or "<nil>"} in body must be of type {wanted}: "{_word(value)}"'
        causes.append(Cause(reason="FieldValueTypeInvalid", field=where or "<nil>", message=message))
    return fits


def _check_enum(node: Node, value: Any, where: str, causes: list[Cause]) -> None:
    allowed = node.raw.get("enum")
    if allowed is not None and value not in allowed and value != "":
        words = ", ".join(json.dumps(word) for word in allowed)
        causes.append(
            Cause(reason="FieldValueNotSupported", field=where, message=f"Unsupported value: {_shown(value)}: supported values: {words}")
        )
    elif allowed is not None and value == "" and "" not in allowed and not node.raw.get("x-empty-is-unset"):
        words = ", ".join(json.dumps(word) for word in allowed)
        causes.append(Cause(reason="FieldValueNotSupported", field=where, message=f'Unsupported value: "": supported values: {words}'))


def _check_map(node: Node, value: Mapping[str, Any], where: str, causes: list[Cause]) -> None:
    for name in node.required:
        if name not in value:
            path = f"{where}.{name}" if where else name
            causes.append(Cause(reason="FieldValueRequired", field=path, message="Required value"))
    raw = node.raw
    if len(value) > raw.get("maxProperties", len(value)):
        message = f"Too many: {len(value)}: must have at most {raw['maxProperties']} items"
        causes.append(Cause(reason="FieldValueTooMany", field=where, message=message))
    if len(value) < raw.get("minProperties", 0):
        message = f"Invalid value: {len(value)}: {where} in body should have at least {raw['minProperties']} properties"
        causes.append(Cause(reason="FieldValueInvalid", field=where, message=message))
    for key, inner in value.items():
        child = node.fields.get(key) or node.element
        if child is not None:
            _check(child, inner, f"{where}.{key}" if where else key, causes)


def _check_list(node: Node, value: Sequence[Any], where: str, causes: list[Cause]) -> None:
    raw = node.raw
    if len(value) > raw.get("maxItems", len(value)):
        message = f"Too many: {len(value)}: must have at most {raw['maxItems']} items"
        causes.append(Cause(reason="FieldValueTooMany", field=where, message=message))
    if len(value) < raw.get("minItems", 0):
        message = f"Invalid value: {len(value)}: {where} in body should have at least {raw['minItems']} items"
        causes.append(Cause(reason="FieldValueInvalid", field=where, message=message))
    element = node.element or ANY
    for at, item in enumerate(value):
        _check(element, item, f"{where}[{at}]", causes)
    if (node.set or node.keys) and not node.merge_key:  # builtin lists may hold twins: only apply refuses them
        _check_twins(node, value, where, causes)


def _check_twins(node: Node, value: Sequence[Any], where: str, causes: list[Cause]) -> None:
    seen: set[str] = set()
    for at, item in enumerate(value):
        keyed = {key: item.get(key, node.key_defaults.get(key)) for key in node.keys} if isinstance(item, dict) and node.keys else item
        text = json.dumps(keyed, sort_keys=True, separators=(",", ":"))
        if text in seen:
            causes.append(Cause(reason="FieldValueDuplicate", field=f"{where}[{at}]", message=f"Duplicate value: {text}"))
        seen.add(text)


def _check_text(raw: Mapping[str, Any], value: str, where: str, causes: list[Cause]) -> None:
    if len(value) > raw.get("maxLength", len(value)):
        message = f"Too long: may not be more than {raw['maxLength']} bytes"
        causes.append(Cause(reason="FieldValueTooLong", field=where, message=message))
    if len(value) < raw.get("minLength", 0):
        message = f"Invalid value: {_shown(value)}: {where} in body should be at least {raw['minLength']} chars long"
        causes.append(Cause(reason="FieldValueInvalid", field=where, message=message))
    pattern = raw.get("pattern")
    if pattern and not _pattern(pattern).search(value):
        message = f"Invalid value: {_shown(value)}: {where} in body should match '{pattern}'"
        causes.append(Cause(reason="FieldValueInvalid", field=where, message=message))
    if raw.get("format") == "date-time" and not _is_time(value):
        message = f"Invalid value: {_shown(value)}: {where} in body must be of type date-time: {_shown(value)}"
        causes.append(Cause(reason="FieldValueInvalid", field=where, message=message))
    elif raw.get("format") == "byte" and not _is_base64(value):
        causes.append(Cause(reason="FieldValueInvalid", field=where, message="Invalid value: illegal base64 data"))


@lru_cache(maxsize=1024)
def _pattern(pattern: str) -> re.Pattern[str]:
    """Compile a Go pattern; `\\z` and POSIX classes are the differences that occur in CRDs."""
    return re.compile(pattern.replace("\\z", "\\Z").replace("[[:alnum:]]", "[0-9A-Za-z]"), re.ASCII)


def _is_time(value: str) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _is_base64(value: str) -> bool:
    try:
        base64.b64decode(value.replace("\n", "").replace("\r", ""), validate=True)  # Go skips line ends
    except (binascii.Error, ValueError):
        return False
    return True


def _check_number(raw: Mapping[str, Any], value: float, where: str, causes: list[Cause]) -> None:
    low, high = raw.get("minimum"), raw.get("maximum")
    if low is not None and (value < low or (raw.get("exclusiveMinimum") is True and value == low)):
        word = "greater than" if raw.get("exclusiveMinimum") is True else "greater than or equal to"
        message = f"Invalid value: {_shown(value)}: {where} in body should be {word} {low:g}"
        causes.append(Cause(reason="FieldValueInvalid", field=where, message=message))
    if high is not None and (value > high or (raw.get("exclusiveMaximum") is True and value == high)):
        word = "less than" if raw.get("exclusiveMaximum") is True else "less than or equal to"
        message = f"Invalid value: {_shown(value)}: {where} in body should be {word} {high:g}"
        causes.append(Cause(reason="FieldValueInvalid", field=where, message=message))
    step = raw.get("multipleOf")
    if step and value % step:
        causes.append(
            Cause(reason="FieldValueInvalid", field=where, message=f"Invalid value: {_shown(value)}: should be a multiple of {step}")
        )
