"""Patterns of paths, as Go reads them: `path.Match` by segments of a tree, and doublestar's with `**` and `{a,b}` as one expression.

In: a pattern. Out: what matches, or BadPattern. https://pkg.go.dev/path#Match and https://github.com/bmatcuk/doublestar#patterns
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from service.sources.tree import GitTree

MOST_ALTERNATIVES = 20
"""Commas within braces: each may double the work of a match."""
_META = re.compile(r"[*?\[\]]")


class BadPattern(ValueError):
    """The text is no pattern; the message says what is wrong with it."""


def is_pattern(path: str) -> bool:
    """Whether a path holds more than its own letters."""
    return _META.search(path) is not None


def literal_root(pattern: str) -> str:
    """The directories before the first segment that is a pattern; "" is the root."""
    found: list[str] = []
    for part in clean(pattern).split("/"):
        if is_pattern(part):
            break
        found.append(part)
    return "/".join(found)


def clean(path: str) -> str:
    """A path without `.`, empty segments and slashes around; "" is the root. Raises BadPattern where it leads out of the root."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise BadPattern("'..' leads out of the source")
    return "/".join(parts)


def found_in(tree: GitTree, pattern: str) -> Iterator[str]:
    """The files and directories that match segment by segment, where `**` is no more than `*`. Raises BadPattern."""
    parts = clean(pattern).split("/")
    plans = [segment(part) if is_pattern(part) or "\\" in part else None for part in parts]

    def below(folder: str, at: int) -> Iterator[str]:
        if at == len(parts):
            yield folder
            return
        plan, prefix = plans[at], f"{folder}/" if folder else ""
        if plan is None:
            if tree.kind(prefix + parts[at]) is not None:
                yield from below(prefix + parts[at], at + 1)
            return
        for name, kind in tree.list(folder):
            if plan.fullmatch(name) and (kind == "dir" or at == len(parts) - 1):
                yield from below(prefix + name, at + 1)

    return below("", 0)


@lru_cache(1024)
def segment(pattern: str) -> re.Pattern[str]:
    """The expression of one segment of `path.Match`. Raises BadPattern."""
    at, made = 0, []
    while at < len(pattern):
        text, at = _symbol(pattern, at)
        made.append(text)
    return re.compile("".join(made), re.DOTALL)


@lru_cache(1024)
def doublestar(pattern: str) -> re.Pattern[str]:
    """The expression of a whole path. Raises BadPattern."""
    at, depth, commas, made = 0, 0, 0, []
    while at < len(pattern):
        stars = _STARS.match(pattern, at)
        char = pattern[at]
        if stars is not None:
            made.append(_MEANING[stars.lastgroup or ""])
            at = stars.end()
        elif char in "{}" or (char == "," and depth):
            depth += {"{": 1, "}": -1, ",": 0}[char]
            commas += char == ","
            if depth < 0 or commas > MOST_ALTERNATIVES:
                raise BadPattern(f"'{pattern}' has a }} too many, or more than {MOST_ALTERNATIVES} alternatives")
            made.append({"{": "(?:", "}": ")", ",": "|"}[char])
            at += 1
        else:
            text, at = _symbol(pattern, at)
            made.append(text)
    if depth:
        raise BadPattern(f"'{pattern}' has a {{ that nothing closes")
    return re.compile("".join(made), re.DOTALL)


_STARS = re.compile(r"(?P<above>(?:(?<![^/{,])\*\*/)+)|(?P<below>/\*\*(?=$|[,}]))|(?P<all>(?<![^/{,])\*\*(?=$|[,}]))|(?P<some>\*+)")
_MEANING = {"above": "(?:[^/]+/)*", "below": "(?:/.*)?", "all": ".*", "some": "[^/]*"}


def _symbol(pattern: str, at: int) -> tuple[str, int]:
    """What stands at a place as an expression, and where the next begins."""
    match pattern[at]:
        case "*":
            return "[^/]*", at + 1
        case "?":
            return "[^/]", at + 1
        case "\\":
            if at + 1 == len(pattern):
                raise BadPattern(f"'{pattern}' ends with a backslash")
            return re.escape(pattern[at + 1]), at + 2
        case "[":
            return _class(pattern, at)
        case other:
            return re.escape(other), at + 1


_MEMBER = re.compile(r"(\\.|[^\\\]-])(?:-(\\.|[^\\\]-]))?", re.DOTALL)


def _class(pattern: str, at: int) -> tuple[str, int]:
    begin = at + 1
    negated = pattern[begin : begin + 1] in ("^", "!")
    here, members = begin + negated, []
    while (found := _MEMBER.match(pattern, here)) is not None:
        low, high = (text[-1] if text else "" for text in found.groups())
        if high and low > high:
            raise BadPattern(f"'{pattern}' has a range that goes backwards")
        members.append(re.escape(low) + (f"-{re.escape(high)}" if high else ""))
        here = found.end()
    if not members or pattern[here : here + 1] != "]":
        raise BadPattern(f"'{pattern}' has a [ that nothing closes")
    inside = "".join(members)
    return (f"[^/{inside}]" if negated else f"(?!/)[{inside}]"), here + 1
