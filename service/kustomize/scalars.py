"""Plain YAML scalars in, values out, as the two Go libraries read them that one kustomize build uses.

YAML 1.1 (kustomization files, JSON6902 patches): go.yaml.in/yaml/v2 below sigs.k8s.io/yaml. YAML 1.2-like (resources, strategic merge
patches): go.yaml.in/yaml/v3 below kyaml. Both resolve numbers alike; they differ in boolean words and in dates (resolve.go of both).

kustomize edits texts, not values: a number whose text is not its canonical one keeps the text (`WrittenInt` and its like), since a
replacement may copy `1.10` into a string.
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, Literal

Dialect = Literal["1.1", "1.2"]

TRUE = {"true", "True", "TRUE"}
FALSE = {"false", "False", "FALSE"}
TRUE_WORDS = {"y", "Y", "yes", "Yes", "YES", "on", "On", "ON"}
FALSE_WORDS = {"n", "N", "no", "No", "NO", "off", "Off", "OFF"}
NULL = {"", "~", "null", "Null", "NULL"}
NOT_FINITE = {f"{sign}.{word}" for sign in ("", "+", "-") for word in ("inf", "Inf", "INF")} | {".nan", ".NaN", ".NAN"}
HINTS = frozenset("0123456789+-.yYnNtTfFoO~")
"""Whatever begins with another character is a string."""

_INT = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+|0[0-7]*|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_DATE = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})"
    r"(?:(?P<sep>[Tt ])(?P<hour>\d{1,2}):(?P<minute>\d{1,2}):(?P<second>\d{1,2})(?P<fraction>\.\d+)?(?P<zone>Z|[-+]\d{2}:\d{2})?)?\Z"
)
_INT64, _UINT64 = 2**63, 2**64


class NotFinite(ValueError):
    """`.inf` and `.nan` have no JSON form."""


class WrittenInt(int):
    """An integer that was not written in plain decimal."""

    text: str


class WrittenFloat(float):
    """A fraction whose text is not the shortest one."""

    text: str


class WrittenDate(str):
    """A date: the value is RFC 3339, the text is what stands in the file."""

    text: str


class Loose(str):
    """A text that a replacement has put where nothing was: it has no type yet. In the end it is what it reads as ("3" is a number), but
    a strategic merge that passes by makes it a string."""


def settle(value: Any, *, as_text: bool) -> None:
    """Give the loose texts in a value a type, in place: strings (in maps only, as a strategic merge walks), or what they read as."""
    if type(value) is dict or (type(value) is list and not as_text):
        for key, item in value.items() if type(value) is dict else enumerate(value):
            if type(item) is Loose:
                value[key] = str(item) if as_text else plain(str(item), "1.2")
            else:
                settle(item, as_text=as_text)


def text_of(value: Any) -> str:
    """Return the text that stands for a scalar in the file; "" for null, maps and lists, as kyaml's Node.Value."""
    if type(value) is str:
        return value
    if isinstance(value, str | WrittenInt | WrittenFloat):
        return getattr(value, "text", None) or str(value)
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int):
        return str(value)
    return go_float(value) if isinstance(value, float) else ""


def go_float(value: float) -> str:
    """Return a float in its shortest form, whole ones without a fraction: 1e+21, 1e-05, 0.1, 3."""
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    return repr(value)


@lru_cache(maxsize=8192)
def plain(text: str, dialect: Dialect) -> Any:
    """Return the value of an unquoted scalar. Raises NotFinite."""
    if text and text[0] not in HINTS:
        return text
    if text in NULL:
        return None
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    if text in NOT_FINITE:
        raise NotFinite(text)
    if dialect == "1.1":
        if text in TRUE_WORDS:
            return True
        if text in FALSE_WORDS:
            return False
    first = text[0]
    if first == ".":
        return _fraction(text, text) if _FLOAT.match(text) else text
    return _number(text, dialect) if first in "0123456789+-" else text


def reads_as_text(key: str) -> bool:
    """Return whether a new key is a text to upstream, which does not quote it: `1` and `true` are none, and cannot be written as JSON."""
    try:
        return type(plain(key, "1.2")) is str
    except NotFinite:
        return False


def _number(text: str, dialect: Dialect) -> Any:
    if text[4:5] == "-":
        date = _timestamp(text)
        if date is not None:
            return text if dialect == "1.1" else date
    digits = text.replace("_", "")
    if _INT.match(digits):
        number = _integer(digits)
        if -_INT64 <= number < _UINT64 and not (number >= _INT64 and digits[0] in "+-"):
            return number if str(number) == text else _written(WrittenInt(number), text)
    return _fraction(digits, text) if _FLOAT.match(digits) else text


def _integer(digits: str) -> int:
    bare = digits.lstrip("+-")
    if len(bare) > 1 and bare[0] == "0" and bare[1] in "01234567":
        bare = "0o" + bare
    number = int(bare, 0)
    return -number if digits[0] == "-" else number


def _fraction(digits: str, text: str) -> Any:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        return text
    # JSON knows one kind of number: 1.0 comes out as 1
    value: int | float = int(number) if number == int(number) and abs(number) < 1e21 else number
    if text_of(value) == text:
        return value
    return _written(WrittenInt(value) if isinstance(value, int) else WrittenFloat(value), text)


def _written(value: Any, text: str) -> Any:
    value.text = text
    return value


def _timestamp(text: str) -> WrittenDate | None:
    """The formats of parseTimestamp: RFC 3339 with short fields, a space and no zone, or a bare date."""
    found = _DATE.match(text)
    if found is None or (found["sep"] in ("T", "t")) != (found["zone"] is not None):
        return None
    zone = UTC
    try:
        if found["zone"] not in (None, "Z"):
            hours, minutes = found["zone"][1:].split(":")
            offset = timedelta(hours=int(hours), minutes=int(minutes))
            zone = timezone(offset if found["zone"][0] == "+" else -offset)
        parts = [int(found[name] or 0) for name in ("year", "month", "day", "hour", "minute", "second")]
        moment = datetime(*parts, tzinfo=zone)  # type: ignore[arg-type,misc]  # six ints
    except ValueError:
        return None
    shown = moment.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    fraction = (found["fraction"] or "")[:10].rstrip("0").rstrip(".")
    suffix = "Z" if not moment.utcoffset() else found["zone"]
    date: WrittenDate = _written(WrittenDate(f"{shown}{fraction}{suffix}"), text)
    return date
