"""Readers of JSON, made once for each type from its fields.

In: a type of the kinds. Out: a function from JSON to a value of that type, which raises Invalid with a path relative to where it began.
Watches decode on the event loop, whole inventories too: so a reader makes no path and looks up no type unless something is wrong.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any, Literal, get_args, get_origin

from service.kinds.meta import Revision, normal_revision, parse_duration, parse_time
from service.kinds.schema import Facts, Invalid, Property, is_model, plain, properties_of, unwrap

Reader = Callable[[Any], Any]
_NO_FACTS = Facts("")
_SHOWN = 80
_MISSING, _NONE, _DEFAULT = range(3)


@cache
def reader(form: Any, facts: Facts = _NO_FACTS) -> Reader:
    """Return the reader of a type, with the limits that its Facts name."""
    if facts.inside is not None:
        return partial(_read_inside, facts.inside, _reader(form, facts))
    return _reader(form, facts)


def _reader(form: Any, facts: Facts) -> Reader:
    form, origin = form if form is Revision else plain(form), get_origin(form)
    if is_model(form):
        return _model_reader(form)
    if origin is tuple:
        inner, inner_facts = unwrap(get_args(form)[0])
        return partial(_read_list, reader(inner, inner_facts or _NO_FACTS))
    if origin is Literal:
        return partial(_read_checked, ((_one_of, get_args(form)),))
    if origin is not None:  # Mapping[str, X] is the only other generic form
        return _read_strings if get_args(form)[1] is str else read_mapping
    if form is str and (checks := _checks(facts)):
        return partial(_read_checked, checks)
    return _SCALARS[form]


def _model_reader(cls: type) -> Reader:
    plan = tuple(
        (prop.name, prop.attribute, reader(prop.type, prop.facts), _absent(prop), _may_be_empty(prop)) for prop in properties_of(cls)
    )

    def read(raw: Any) -> Any:
        raw = read_mapping(raw)
        values: dict[str, Any] = {}
        for name, attribute, inner, absent, may_be_empty in plan:
            value = raw.get(name)
            if value is None or (may_be_empty and value == ""):
                if absent == _MISSING:
                    raise Invalid(name, "is missing")
                if absent == _NONE:
                    values[attribute] = None
                continue
            try:
                values[attribute] = inner(value)
            except Invalid as error:
                raise error.below(name) from error.__cause__
        return cls(**values)

    return read


def _absent(prop: Property) -> int:
    if not prop.required:
        return _DEFAULT
    return _NONE if prop.optional else _MISSING


def _may_be_empty(prop: Property) -> bool:
    """Go reads no difference between an empty text and none."""
    return not prop.required and prop.facts.inside is None and plain(prop.type) is str


def _checks(facts: Facts) -> tuple[tuple[Callable[[Any, str], None], Any], ...]:
    found: list[tuple[Callable[[Any, str], None], Any]] = []
    if facts.enum and facts.honours is None:  # other values of such a field are refused, newer ones of Flux too
        found.append((_one_of, facts.enum))
    if facts.pattern is not None:
        found.append((_matches, re.compile(facts.pattern)))
    if facts.max_length is not None:
        found.append((_at_most, facts.max_length))
    if facts.segment or facts.inside == "name":
        found.append((_is_name, None))
    return tuple(found)


def _one_of(allowed: tuple[str, ...], value: str) -> None:
    if value not in allowed:
        raise Invalid("", f"{shown(value)} is not one of {', '.join(allowed)}")


def _matches(pattern: re.Pattern[str], value: str) -> None:
    if pattern.search(value) is None:
        raise Invalid("", f"{shown(value)} does not match {pattern.pattern}")


def _at_most(length: int, value: str) -> None:
    if len(value) > length:
        raise Invalid("", f"has {len(value)} characters, at most {length} are allowed")


def _is_name(_: None, value: str) -> None:
    """Names end up in the paths of requests, where an empty one or one with a slash would ask for something else."""
    if not value:
        raise Invalid("", "is missing")
    if value in (".", "..") or "/" in value or "%" in value:
        raise Invalid("", f"{shown(value)} is not a name")


def _read_checked(checks: tuple[tuple[Callable[[Any, str], None], Any], ...], raw: Any) -> str:
    value = _read_string(raw)
    for check, limit in checks:
        check(limit, value)
    return value


def _read_inside(name: str, inner: Reader, raw: Any) -> Any:
    value = read_mapping(raw).get(name)
    if value is None:
        raise Invalid(name, "is missing")
    try:
        return inner(value)
    except Invalid as error:
        raise error.below(name) from error.__cause__


def _read_list(inner: Reader, raw: Any) -> tuple[Any, ...]:
    if not isinstance(raw, list):
        raise Invalid("", "must be a list")
    found = []
    for each in raw:
        try:
            found.append(inner(each))
        except Invalid as error:
            raise error.below(f"[{len(found)}]") from error.__cause__
    return tuple(found)


def read_mapping(raw: Any) -> Mapping[str, Any]:
    """Return a JSON object as it is. Raises Invalid on anything else."""
    if not isinstance(raw, dict):
        raise Invalid("", "is missing" if raw is None else "must be an object")
    return raw


def _read_strings(raw: Any) -> dict[str, str]:
    for name, value in read_mapping(raw).items():
        if not isinstance(value, str):
            raise Invalid(str(name), "must be a string; put it in quotes")
    return dict(raw)


def _read_string(raw: Any) -> str:
    if not isinstance(raw, str):
        raise Invalid("", "must be a string; put it in quotes" if isinstance(raw, bool | int | float) else "must be a string")
    return raw


def _read_boolean(raw: Any) -> bool:
    if not isinstance(raw, bool):
        raise Invalid("", "must be true or false")
    return raw


def _read_integer(raw: Any) -> int:
    if not isinstance(raw, int) or isinstance(raw, bool):
        raise Invalid("", "must be a whole number")
    return raw


def _read_duration(raw: Any) -> timedelta:
    try:
        value = parse_duration(_read_string(raw))
    except ValueError as error:
        raise Invalid("", str(error)) from error
    if value < timedelta(0):
        raise Invalid("", f"{shown(raw)} is negative")
    return value


def _read_time(raw: Any) -> datetime:
    try:
        return parse_time(_read_string(raw))
    except ValueError as error:
        raise Invalid("", f"{shown(raw)} is not a time, write it like 2026-01-31T12:00:00Z") from error


def _read_revision(raw: Any) -> Revision:
    return normal_revision(_read_string(raw))


def shown(value: Any) -> str:
    """Return a value for a message, cut to a readable length."""
    return repr(value)[:_SHOWN]


_SCALARS: dict[Any, Reader] = {
    str: _read_string,
    bool: _read_boolean,
    int: _read_integer,
    timedelta: _read_duration,
    datetime: _read_time,
    Revision: _read_revision,
    Any: lambda raw: raw,
}
