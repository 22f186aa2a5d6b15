"""The hash that a generated ConfigMap's or Secret's name ends with; byte for byte kustomize's (api v0.21.0 hasher/hasher.go)."""

import hashlib
import json
from typing import Any

from service.kustomize.scalars import text_of

_LETTERS = str.maketrans({"0": "g", "1": "h", "3": "k", "a": "m", "e": "t"})
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def go_json(value: Any) -> str:
    """Return compact JSON as encoding/json writes it: sorted keys, <, >, & and line separators escaped."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for char, escape in _ESCAPES.items():
        text = text.replace(char, escape)
    return text


def name_hash(body: dict[str, Any]) -> str:
    """Return the ten characters for a ConfigMap or Secret. The name counts as empty, labels and annotations do not count."""
    kind = text_of(body.get("kind"))
    if kind == "ConfigMap":
        hashed = {"kind": kind, "name": "", "data": _field(body, "data"), **_map(body, "binaryData")}
    elif kind == "Secret":
        hashed = {"kind": kind, "type": _field(body, "type"), "name": "", "data": _field(body, "data"), **_map(body, "stringData")}
    else:
        hashed = body
    return hashlib.sha256(go_json(hashed).encode("utf-8", "surrogatepass")).hexdigest()[:10].translate(_LETTERS)


def _field(body: dict[str, Any], name: str) -> Any:
    value = body.get(name)
    return value if isinstance(value, dict) else text_of(value)


def _map(body: dict[str, Any], name: str) -> dict[str, Any]:
    return {name: body[name]} if isinstance(body.get(name), dict) else {}
