"""Foreign JSON, read through typed getters that name the place where it is not what it should be.

In: bytes of any sender. Out: text, flags and lists, or BadPayload with the path (`commits.3.added.0`). https://www.rfc-editor.org/rfc/rfc8259
"""

import json
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from receivers.contract import BadPayload

DEEPEST = 64
LONGEST = 4096
_FORM_FIELDS = 16
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_BRACKETS = b"[]{}"
_OTHERS = bytes(set(range(256)) - set(_BRACKETS))
_ALIKE = bytes.maketrans(b"{}", b"[]")

Json = object


def parse(body: bytes) -> Mapping[str, Json]:
    """Return the JSON object in `body`. Raises BadPayload: not UTF-8, not JSON, not an object, deeper than 64 levels."""
    _check_depth(body)
    try:
        value = json.loads(body.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadPayload("", f"the body is not JSON: {_where(error)}") from error
    if not isinstance(value, dict):
        raise BadPayload("", f"the body is JSON, but {_named(value)} instead of an object")
    return value


def form_field(body: bytes, name: str) -> bytes:
    """Return one field of a body that is `application/x-www-form-urlencoded`. Raises BadPayload where it is not there."""
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_FORM_FIELDS)
    except ValueError as error:
        raise BadPayload("", "the body is not a form: set the hook's content type to application/json at the sender") from error
    for key, value in fields:
        if key == name:
            return value.encode()
    raise BadPayload(name, "missing in the form; set the hook's content type to application/json at the sender")


def text(value: Json, *path: str | int) -> str:
    """Return the text at `path`. Raises BadPayload where there is none, or something else, or it is too long or not clean for UTF-8."""
    return _short(_text(_at(value, path), path), path)


def long_text(value: Json, *path: str | int) -> str:
    """Return the text at `path`, however long. Raises BadPayload where there is none, or something else, or it is not clean for UTF-8."""
    return _text(_at(value, path), path)


def text_or(value: Json, *path: str | int, default: str = "") -> str:
    """Return the text at `path`, or `default` where it or anything on the way is missing or null. Raises BadPayload otherwise."""
    found = _at(value, path)
    return default if found is None else _short(_text(found, path), path)


def texts(value: Json, *path: str | int) -> tuple[str, ...] | None:
    """Return the texts of the list at `path`, None where it is missing or null. Raises BadPayload for anything else, in its place."""
    found = _list(_at(value, path), path)
    return None if found is None else tuple(_text(each, (*path, number)) for number, each in enumerate(found))


def flag(value: Json, *path: str | int) -> bool:
    """Return the truth value at `path`, False where it is missing or null. Raises BadPayload for anything else."""
    found = _at(value, path)
    if found is None or isinstance(found, bool):
        return bool(found)
    raise BadPayload(_dotted(path), f"true or false is needed, not {_named(found)}")


def number_or(value: Json, *path: str | int, default: int) -> int:
    """Return the whole number at `path`, or `default` where it is missing or null. Raises BadPayload for anything else."""
    found = _at(value, path)
    if found is None:
        return default
    if isinstance(found, int) and not isinstance(found, bool):
        return found
    raise BadPayload(_dotted(path), f"a whole number is needed, not {_named(found)}")


def length_of(value: Json, *path: str | int) -> int | None:
    """Return the length of the list at `path`, None where it is missing or null. Raises BadPayload for anything else."""
    found = _list(_at(value, path), path)
    return None if found is None else len(found)


def _text(found: Json, path: tuple[str | int, ...]) -> str:
    if not isinstance(found, str):
        raise BadPayload(_dotted(path), f"text is needed, not {_named(found)}")
    if not found.isascii() and not _is_clean(found):
        raise BadPayload(_dotted(path), "the text holds half a surrogate pair")
    return found


def _short(found: str, path: tuple[str | int, ...]) -> str:
    if len(found) > LONGEST:
        raise BadPayload(_dotted(path), f"{len(found)} characters are too many, up to {LONGEST} are read")
    return found


def _list(found: Json, path: tuple[str | int, ...]) -> list[Json] | None:
    if found is None or isinstance(found, list):
        return found
    raise BadPayload(_dotted(path), f"a list is needed, not {_named(found)}")


def _at(value: Json, path: tuple[str | int, ...]) -> Json:
    """What stands at the path; None where a name on the way is missing. Raises BadPayload where the way leads through something else."""
    for place, step in enumerate(path):
        if value is None:
            return None
        if isinstance(step, str) and isinstance(value, dict):
            value = value.get(step)
        elif isinstance(step, int) and isinstance(value, list):
            value = value[step] if step < len(value) else None
        else:
            wanted = "an object" if isinstance(step, str) else "a list"
            raise BadPayload(_dotted(path[:place]), f"{wanted} is needed, not {_named(value)}")
    return value


def _check_depth(body: bytes) -> None:
    """Python's parser recurses: what is too deep must not reach it. Most bodies have fewer brackets than levels are allowed.

    Each round takes the innermost pairs away, so that as many rounds as levels leave nothing. What does not pair is left to the parser.
    """
    if body.count(b"[") + body.count(b"{") <= DEEPEST:
        return
    brackets = _STRING.sub(b"", body).translate(_ALIKE, _OTHERS)
    for _ in range(DEEPEST):
        shorter = brackets.replace(b"[]", b"")
        if len(shorter) == len(brackets):
            break
        brackets = shorter
    if b"[]" in brackets or brackets.count(b"[") > DEEPEST:
        raise BadPayload("", f"the body is nested deeper than {DEEPEST} levels")


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


def _where(error: Exception) -> str:
    """What is wrong, without any of the body."""
    match error:
        case json.JSONDecodeError():
            return f"{error.msg} at byte {error.pos}"
        case UnicodeDecodeError():
            return f"byte {error.start} is not UTF-8"
        case RecursionError():
            return "it is nested too deeply"
        case _:
            return "a number or constant in it is not one of JSON's"


def _is_clean(found: str) -> bool:
    try:
        found.encode()
    except UnicodeEncodeError:
        return False
    return True


def _named(value: Json) -> str:
    """JSON's word for the kind of a value."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "a truth value"
        case str():
            return "text"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"


def _dotted(path: tuple[str | int, ...]) -> str:
    return ".".join(map(str, path))
