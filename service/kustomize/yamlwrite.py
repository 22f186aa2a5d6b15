"""Objects in, YAML out in kustomize's own style: keys in natural order, dashes at the parent's indent, lines folded at 80 characters.

As sigs.k8s.io/yaml writes it (go.yaml.in/yaml/v2 encode.go, sorter.go): the emitter there is a port of libyaml, which is used here.
"""

import io
import re
from collections.abc import Iterable
from decimal import Decimal
from functools import cmp_to_key, lru_cache
from typing import Any

from yaml._yaml import CEmitter
from yaml.events import (
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from service.kustomize.errors import BuildError
from service.kustomize.scalars import HINTS, NotFinite, plain

_BASE60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?\Z")
_DATE = re.compile(r"\d{4}-")
_CONTROLS = re.compile("[\x7f-\x84\x86-\x9f]")
_FOLDED = re.compile(" *\x85[ \x85]*")
_BREAK_AT_END = re.compile("([\u2028\u2029]) +'$", re.MULTILINE)
_DIGITS = re.compile(r"[0-9]*")
_MAP, _END_MAP = MappingStartEvent(None, None, True, flow_style=False), MappingEndEvent()
_LIST, _END_LIST = SequenceStartEvent(None, None, True, flow_style=False), SequenceEndEvent()
_EMPTY_MAP, _EMPTY_LIST = MappingStartEvent(None, None, True, flow_style=True), SequenceStartEvent(None, None, True, flow_style=True)
_IMPLICIT = (True, True)


def dump(objects: Iterable[Any]) -> str:
    """Return the objects as one stream of documents, `---` between them. Raises BuildError for a text with control characters."""
    return "---\n".join(_document(value, sort=True) for value in objects)


def dump_node(value: Any) -> str:
    """Return one document with its keys as they are."""
    return _document(value, sort=False)


def _document(value: Any, *, sort: bool) -> str:
    output = io.StringIO()
    emitter = CEmitter(output, width=80, allow_unicode=True)
    emit = emitter.emit
    emit(StreamStartEvent())
    emit(DocumentStartEvent(explicit=False))
    _emit(value, emit, sort)
    emit(DocumentEndEvent(explicit=False))
    emit(StreamEndEvent())
    emitter.dispose()
    text = output.getvalue().removesuffix("...\n")
    return _BREAK_AT_END.sub(r"\1'", text) if "\u2028" in text or "\u2029" in text else text  # libyaml indents behind the break


def _emit(value: Any, emit: Any, sort: bool) -> None:
    if isinstance(value, dict):
        emit(_MAP if value else _EMPTY_MAP)
        for key in sorted(value, key=natural) if sort else value:
            emit(_text(key))
            _emit(value[key], emit, sort)
        emit(_END_MAP)
    elif isinstance(value, list):
        emit(_LIST if value else _EMPTY_LIST)
        for item in value:
            _emit(item, emit, sort)
        emit(_END_LIST)
    elif isinstance(value, str):
        emit(_text(value))
    else:
        emit(ScalarEvent(None, None, _IMPLICIT, _scalar(value)))


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, float) or not -(2**63) <= value < 2**64:
        return _go_g(float(value))
    return int.__repr__(value)


def _go_g(value: float) -> str:
    """A float in Go's format g: an exponent of two digits or more from a million on and below 0.0001."""
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    power = len(digits) + exponent - 1
    if -4 <= power < 21 if value == int(value) and abs(value) < 2**64 else -4 <= power < 6:
        return format(Decimal(repr(value)).normalize(), "f")
    mantissa = "".join(map(str, digits))
    return f"{'-' if sign else ''}{mantissa[0]}{'.' + mantissa[1:] if len(mantissa) > 1 else ''}e{'-' if power < 0 else '+'}{abs(power):02}"


def _text(value: str) -> ScalarEvent:
    if not value.isprintable():
        value = _through_json(value)
    style = "|" if "\n" in value else None if _reads_as_text(value) else '"'
    return ScalarEvent(None, None, _IMPLICIT, str.__str__(value), style=style)


def _through_json(value: str) -> str:
    """What is left of a text after upstream's way over JSON, which is read as YAML: NEL is a line break there and folds."""
    if _CONTROLS.search(value):
        raise BuildError(f"yaml: control characters are not allowed: {value[:60]!r}")
    return _FOLDED.sub(lambda found: "\n" * (found[0].count("\x85") - 1) or " ", value) if "\x85" in value else value


@lru_cache(maxsize=8192)
def _reads_as_text(value: str) -> bool:
    """Whether the plain text is a string to a YAML 1.1 reader."""
    if value and value[0] not in HINTS:
        return True
    if _BASE60.match(value):
        return False
    if _DATE.match(value) and plain(value, "1.2") != value:
        return False
    try:
        return isinstance(plain(value, "1.1"), str) and isinstance(plain(value, "1.2"), str) and not hasattr(plain(value, "1.2"), "text")
    except NotFinite:
        return False


def _compare(one: str, other: str) -> int:
    """The order of keyList.Less: characters that are no letters before letters, runs of digits by their value."""
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a == b:
            continue
        if a.isalpha() and b.isalpha():
            return -1 if a < b else 1
        if a.isalpha() or b.isalpha():
            return -1 if b.isalpha() else 1
        start = 0
        if "0" in (a, b):
            before = one[:index]
            digits = before[len(before.rstrip("0123456789")) :]
            start = 1 if digits.strip("0") else 0
        mine, theirs = _DIGITS.match(one, index), _DIGITS.match(other, index)
        assert mine is not None
        assert theirs is not None
        numbers = [int(f"{start}{run[0]}") if run[0] else start for run in (mine, theirs)]
        if numbers[0] != numbers[1]:
            return -1 if numbers[0] < numbers[1] else 1
        if mine.end() != theirs.end():
            return -1 if mine.end() < theirs.end() else 1
        return -1 if a < b else 1
    return len(one) - len(other)


natural = cmp_to_key(_compare)
"""The sort key of a map key."""
