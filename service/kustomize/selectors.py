"""Patch and replacement targets: anchored regular expressions, label and annotation selectors.

Behaviour: kustomize api v0.21.0 types/selector.go; the selector language is Kubernetes'
(https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors). Patterns are RE2's; what Python reads otherwise
is translated, what RE2 does not have is refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from service.kustomize.errors import BuildError
from service.kustomize.fieldspecs import Gvk

_POSIX = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": "\\x00-\\x7F", "blank": "\\t ", "cntrl": "\\x00-\\x1F\\x7F", "digit": "0-9",
    "graph": "!-~", "lower": "a-z", "print": " -~", "punct": "!-/:-@\\[-`{-~", "space": "\\t\\n\\v\\f\\r ", "upper": "A-Z",
    "word": "0-9A-Za-z_", "xdigit": "0-9A-Fa-f",
}  # fmt: skip
_NOT_RE2 = re.compile(r"\(\?(?:[=!#>(]|<[=!]|P=)|(?<!\\)(?:\\\\)*\\[1-9]")


@lru_cache(maxsize=1024)
def go_regexp(pattern: str) -> re.Pattern[str]:
    """Return a Go (RE2) pattern as Python's. Raises BuildError for one that RE2 refuses."""
    text = re.sub(r"\[:(\^?)(\w+):\]", lambda found: _POSIX.get(found[2], found[0]), pattern)
    text = text.replace(r"\z", r"\Z")
    text = re.sub(r"(?<!\\)((?:\\\\)*)\$(?!\w)", r"\1\\Z", text) if "[" not in text else text
    flags = re.match(r"(\^?(?:\(\?:)*)\(\?([imsU]+)\)", text)
    if flags and "U" not in flags[2]:
        text = f"{flags[1]}(?{flags[2]}:{text[flags.end() :]}"
        closing = len(text) - len(text.rstrip(")")) if flags[1].endswith("(?:") else 0
        text = f"{text})" if not closing else f"{text[: text.rindex(')')]}){text[text.rindex(')') :]}"
    if _NOT_RE2.search(text):
        raise BuildError(f"error parsing regexp: {pattern!r} uses what RE2 does not have")
    try:
        return re.compile(text, re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        raise BuildError(f"error parsing regexp: {pattern!r}: {error}") from error


def anchored(pattern: str, text: str) -> bool:
    """Return whether the whole text matches; an empty pattern matches all."""
    return not pattern or go_regexp(f"^(?:{pattern})$").search(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """A target: patterns for identity, selectors for labels and annotations. Empty parts match any."""

    group: str = ""
    version: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""
    labels: str = ""
    annotations: str = ""

    @classmethod
    def of(cls, target: Mapping[str, Any]) -> "Selector":
        """Return the selector of a decoded `target`, `select` or `reject`."""
        identity = {field: target.get(field) or "" for field in ("group", "version", "kind", "name", "namespace")}
        return cls(**identity, labels=target.get("labelSelector") or "", annotations=target.get("annotationSelector") or "")

    @property
    def has_identity(self) -> bool:
        """Whether any pattern is set."""
        return any((self.group, self.version, self.kind, self.name, self.namespace))

    def matches_gvk(self, gvk: Gvk) -> bool:
        """Return whether the patterns match group, version and kind."""
        return anchored(self.group, gvk.group) and anchored(self.version, gvk.version) and anchored(self.kind, gvk.kind)


_REQUIREMENT = re.compile(
    r"\s*(?:(?P<not>!)\s*(?P<absent>[^\s,!=<>()]+)"
    r"|(?P<key>[^\s,!=<>()]+)\s*(?:(?P<set>in|notin)\s*\((?P<values>[^()]*)\)|(?P<op>==|=|!=|>|<)\s*(?P<value>[^\s,!=<>()]*))?)\s*"
)
_NAME = re.compile(r"(?:[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")
_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?\Z")

Requirement = tuple[str, str, tuple[str, ...]]


@lru_cache(maxsize=1024)
def parse_selector(selector: str) -> tuple[Requirement, ...]:
    """Return (key, operator, values) of a label selector. Raises BuildError."""
    requirements: list[Requirement] = []
    position = 0
    while position < len(selector.rstrip()):
        found = _REQUIREMENT.match(selector, position)
        if found is None or (found.end() < len(selector) and selector[found.end()] != ","):
            raise BuildError(f"unable to parse the selector {selector!r}: see character {position + 1}")
        requirements.append(_requirement(found, selector))
        position = found.end() + 1
        if found.end() < len(selector) and not selector[position:].strip():
            raise BuildError(f"unable to parse the selector {selector!r}: nothing follows the last comma")
    return tuple(requirements)


def _requirement(found: re.Match[str], selector: str) -> Requirement:
    key = found["absent"] or found["key"]
    operator = "exists"
    values: tuple[str, ...] = ()
    if found["not"]:
        operator = "absent"
    elif found["set"]:
        operator, values = found["set"], tuple(value.strip() for value in found["values"].split(","))
    elif found["op"]:
        operator = {"=": "in", "==": "in", "!=": "notin"}.get(found["op"], found["op"])
        values = (found["value"],)
    if not _NAME.match(key) or not all(_VALUE.match(value) for value in values):
        raise BuildError(f"unable to parse the selector {selector!r}: {found[0].strip()!r} is not valid")
    if operator in (">", "<") and not re.match(r"-?\d+\Z", values[0]):
        raise BuildError(f"unable to parse the selector {selector!r}: for {operator} the value must be an integer")
    return key, operator, values


def selects(selector: str, labels: Mapping[str, str]) -> bool:
    """Return whether a selector matches; an empty one matches all. Raises BuildError."""
    return all(_holds(requirement, labels) for requirement in parse_selector(selector)) if selector else True


def _holds(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    key, operator, values = requirement
    value = labels.get(key)
    match operator:
        case "exists":
            return value is not None
        case "absent":
            return value is None
        case "in":
            return value in values
        case "notin":
            return value is None or value not in values
    if value is None or not re.match(r"-?\d+\Z", value):
        return False
    return int(value) > int(values[0]) if operator == ">" else int(value) < int(values[0])
