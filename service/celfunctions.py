"""The functions that Flux's expressions have beyond CEL's own: cel-go's extensions for strings, sets and base64, and first and last.

In: values of an evaluation. Out: values; what does not fit raises TypeError or ValueError, which ends the evaluation with an error.
https://pkg.go.dev/github.com/google/cel-go/ext and https://github.com/fluxcd/pkg/tree/main/runtime/cel
"""

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from service.cellibrary import cel

LONGEST_TEXT = 1_000_000  # of one result: doubling a text in a loop must end
_VERB = re.compile(r"%(?:\.(?P<precision>\d{1,2}))?(?P<verb>[a-zA-Z%])")
_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_UPPER = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
NAMESPACES = {"sets": ("contains", "equivalent", "intersects"), "base64": ("encode", "decode")}
"""Functions with a dot in their name, which the library takes for methods: `sets.contains` is called `sets_contains` in it."""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no such overload: a text is needed")
    if len(value) > LONGEST_TEXT:
        raise ValueError(f"a text is longer than {LONGEST_TEXT} characters")
    return value


def _listed(value: Any) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise TypeError("no such overload: a list is needed")
    return value


def _index(value: Any, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("no such overload: a whole number is needed")
    if not 0 <= value <= most:
        raise ValueError(f"index out of range: {value}")
    return value


def _char_at(text: str, at: int) -> str:
    found = _text(text)
    at = _index(at, len(found))
    return found[at : at + 1]


def _index_of(text: str, part: str, start: int = 0) -> int:
    return _text(text).find(_text(part), _index(start, len(text)))


def _last_index_of(text: str, part: str, before: int | None = None) -> int:
    found, part = _text(text), _text(part)
    return found.rfind(part) if before is None else found.rfind(part, 0, _index(before, len(found)) + len(part))


def _join(parts: Sequence[str], between: str = "") -> str:
    return _text(_text(between).join(_text(part) for part in _listed(parts)))


def _replace(text: str, old: str, new: str, most: int = -1) -> str:
    return _text(_text(text).replace(_text(old), _text(new), most))


def _split(text: str, between: str, most: int = -1) -> list[str]:
    if most == 0:
        return []
    if _text(between) == "":
        return list(_text(text)) if most < 0 else [*text[: most - 1], *([text[most - 1 :]] if text[most - 1 :] else [])]
    return _text(text).split(between, most - 1 if most > 0 else -1)


def _substring(text: str, start: int, end: int | None = None) -> str:
    found = _text(text)
    until = len(found) if end is None else _index(end, len(found))
    return found[_index(start, until) : until]


def _reverse(value: Any) -> Any:
    return value[::-1] if isinstance(value, list) else _text(value)[::-1]


def _format(text: str, values: Sequence[Any]) -> str:
    left = list(_listed(values))

    def one(found: re.Match[str]) -> str:
        verb, precision = found["verb"], int(found["precision"] or 6)
        if verb == "%":
            return "%"
        if not left or verb not in "sdfexXob":
            raise ValueError(f"the format has no value for, or does not know, %{verb}")
        value = left.pop(0)
        if verb == "s":
            return value if isinstance(value, str) else json.dumps(value, default=str)
        return format(value, f".{precision}{verb}" if verb in "fe" else verb)

    return _text(_VERB.sub(one, _text(text)))


def _equal(one: Any, other: Any) -> bool:
    """CEL's: a truth value is no number."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _is_in(value: Any, items: Sequence[Any]) -> bool:
    return any(_equal(value, each) for each in items)


def _sets_contains(whole: Sequence[Any], part: Sequence[Any]) -> bool:
    return all(_is_in(each, _listed(whole)) for each in _listed(part))


def _sets_intersects(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return any(_is_in(each, _listed(other)) for each in _listed(one))


def _decode(text: str) -> bytes:
    return base64.b64decode(_text(text) + "=" * (-len(text) % 4), validate=True)


def _end_of(items: Sequence[Any], at: int) -> cel.OptionalValue:
    return cel.OptionalValue.of(_listed(items)[at]) if _listed(items) else cel.OptionalValue.none()


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "charAt": _char_at,
    "indexOf": _index_of,
    "lastIndexOf": _last_index_of,
    "join": _join,
    "lowerAscii": lambda text: _text(text).translate(_LOWER),
    "upperAscii": lambda text: _text(text).translate(_UPPER),
    "replace": _replace,
    "split": _split,
    "substring": _substring,
    "trim": lambda text: _text(text).strip(),
    "reverse": _reverse,
    "format": _format,
    "sets_contains": _sets_contains,
    "sets_equivalent": lambda one, other: _sets_contains(one, other) and _sets_contains(other, one),
    "sets_intersects": _sets_intersects,
    "base64_encode": lambda value: base64.b64encode(value if isinstance(value, bytes) else _text(value).encode()).decode(),
    "base64_decode": _decode,
    "first": lambda items: _end_of(items, 0),
    "last": lambda items: _end_of(items, -1),
}
TRUTHS = frozenset({"contains", "startsWith", "endsWith", "matches", "exists", "all", "exists_one", "has", "bool", "hasValue"}) | {
    "sets_contains", "sets_equivalent", "sets_intersects",
}  # fmt: skip
"""Those of all functions and macros that answer yes or no."""
