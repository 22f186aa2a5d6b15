"""What each field of a kind says about itself: its JSON name, its schema facts, and whether this version of sluice carries it out.

In: dataclasses whose fields are `Annotated[type, Facts(...)]`. Out: `properties_of(cls)`, which the codec, the refusals and the
CustomResourceDefinitions are all made from. Schema facts: https://kubernetes.io/docs/reference/kubernetes-api/extend-resources/
"""

import dataclasses
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin, get_type_hints

Verdict = Literal["honoured", "refused", "ignored"]
Json = Any  # arbitrary JSON: patches and operations of the user, which no type can describe

GO_DURATION = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"
SHORT_DURATION = r"^([0-9]+(\.[0-9]+)?(ms|s|m))+$"


class Invalid(Exception):
    """An object does not have the shape of its kind. `field` is the path of the offending field, such as `spec.interval`."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.field = path
        self.message = message

    def below(self, name: str) -> "Invalid":
        """Return the same error seen from one step further up: `interval` below `spec` is `spec.interval`."""
        joint = "" if self.field.startswith("[") or not self.field else "."
        return Invalid(f"{name}{joint}{self.field}", self.message)

    def __reduce__(self) -> tuple[type["Invalid"], tuple[str, str]]:
        return (Invalid, (self.field, self.message))


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a field says about itself.

    `verdict`: honoured; refused: an object that sets it is not reconciled; ignored: accepted without effect, exactly as Flux does.
    `honours` is a regular expression of the values that are carried out, any other value is refused. `inside` names the one key of a JSON
    object that the Python value is taken out of: `{"name": "x"}` is "x" with `inside="name"`.
    `default` is the CRD's default. `always` makes the CRDs require a field that Python may leave out.
    `segment` marks names that become a part of a URL's path: not empty, no `/`.
    """

    description: str = field(kw_only=False)
    name: str | None = None
    verdict: Verdict = "honoured"
    honours: str | None = None
    pattern: str | None = None
    enum: tuple[str, ...] = ()
    min_length: int | None = None
    max_length: int | None = None
    min_items: int | None = None
    minimum: int | None = None
    default: Json = None
    inside: str | None = None
    always: bool = False
    segment: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Property:
    """One field of a kind, resolved: `type` is without None, `required` means that the CRDs of all versions require it."""

    attribute: str
    name: str
    type: Any
    optional: bool
    required: bool
    facts: Facts


@cache
def properties_of(cls: type) -> tuple[Property, ...]:
    """Return the fields of a dataclass that carry Facts, in the order of their definition."""
    hints = get_type_hints(cls, include_extras=True)
    found = []
    for each in dataclasses.fields(cls):
        form, facts = unwrap(hints[each.name])
        if facts is None:
            continue
        bare, optional = without_none(form)
        found.append(
            Property(
                attribute=each.name,
                name=facts.name or camel_case(each.name),
                type=bare,
                optional=optional,
                required=facts.always or (each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING),
                facts=facts,
            )
        )
    return tuple(found)


@cache
def named_properties(cls: type) -> dict[str, Property]:
    """Return the same fields by their JSON names."""
    return {each.name: each for each in properties_of(cls)}


def unwrap(form: Any) -> tuple[Any, Facts | None]:
    """Return a type without its annotation, and the Facts of that annotation if there are any."""
    if get_origin(form) is Annotated:
        bare, *extras = get_args(form)
        return bare, next((each for each in extras if isinstance(each, Facts)), None)
    return form, None


def without_none(form: Any) -> tuple[Any, bool]:
    """Return `X` and True of `X | None`, otherwise the type itself and False."""
    if get_origin(form) in (Union, UnionType):
        rest = [each for each in get_args(form) if each is not NoneType]
        return rest[0], True
    return form, False


def plain(form: Any) -> Any:
    """Return what stands behind a NewType, or the type itself."""
    return form.__supertype__ if isinstance(form, NewType) else form


def is_model(form: Any) -> bool:
    """Whether the type is one of our dataclasses."""
    return isinstance(form, type) and dataclasses.is_dataclass(form)


def camel_case(name: str) -> str:
    """Return the JSON name of an attribute: `secret_ref` -> `secretRef`."""
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)


SCALARS: dict[Any, str] = {str: "string", bool: "boolean", int: "integer", timedelta: "string", datetime: "string"}
