"""What can be said of a CEL expression without running it: its names, what its macros bind, and whether it gives true or false.

In: the source. Out: the code that the library understands, and facts for the checks that cel-go makes with its types.
https://github.com/google/cel-spec/blob/master/doc/langdef.md
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from service.celfunctions import NAMESPACES, TRUTHS

TYPES = {"bool", "bytes", "double", "duration", "dyn", "int", "list", "map", "null_type", "optional", "string", "timestamp", "type", "uint"}
BUILT_IN = {
    "bool", "bytes", "contains", "double", "duration", "dyn", "endsWith", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear",
    "getFullYear", "getHours", "getMilliseconds", "getMinutes", "getMonth", "getSeconds", "hasValue", "int", "matches", "none", "of",
    "ofNonZeroValue", "or", "orValue", "size", "startsWith", "string", "timestamp", "type", "uint", "value",
}  # fmt: skip
_TOKEN = re.compile(
    r"""(?P<string>[rRbB]{0,2}(?:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))"""
    r"|(?P<comment>//[^\n]*)|(?P<space>\s+)|(?P<word>[A-Za-z_]\w*|[0-9][\w.]*)|(?P<sign>\|\||&&|==|!=|<=|>=|.)",
    re.DOTALL,
)
_BINDERS = {"all", "exists", "exists_one", "existsOne", "filter", "map"}
_RELATIONS = {"||", "&&", "==", "!=", "<", "<=", ">", ">=", "in"}
_OPEN, _CLOSE = set("([{"), set(")]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An expression as text: `code` is what the library gets, `bound` the names that macros bind, `signs` its words and signs."""

    code: str
    bound: frozenset[str]
    signs: tuple[str, ...]

    def is_truth(self) -> bool:
        """Whether it gives true or false, whatever it is about. Only of what parses: the library bounds the depth, this recurses."""
        return _is_truth(self.signs)


def source_of(text: str) -> Source:
    """Return what stands in an expression, also in one that does not parse."""
    tokens = list(_tokens(text))
    signs = [sign for kind, sign in tokens if kind not in ("space", "comment")]
    return Source(code=_code(tokens), bound=frozenset(_bound(signs)), signs=tuple(signs))


def _tokens(source: str) -> Iterator[tuple[str, str]]:
    for found in _TOKEN.finditer(source):
        yield str(found.lastgroup), found[0]


def _code(tokens: Sequence[tuple[str, str]]) -> str:
    """The library takes `sets.contains(a, b)` for a method of `sets`: such functions are called by a name of their own."""
    said = [(kind, text) for kind, text in tokens if kind != "comment"]
    made: list[str] = []
    for kind, text in said:
        if kind == "word" and len(made) > 1 and made[-1] == "." and text in NAMESPACES.get(made[-2], ()) and not _is_member(made):
            made[-2:] = [f"{made[-2]}_{text}"]
        else:
            made.append(text)
    return "".join(made)


def _is_member(made: Sequence[str]) -> bool:
    return len(made) > 2 and made[-3] == "."


def _bound(signs: Sequence[str]) -> set[str]:
    """The names that macros bind: `x` in `list.all(x, ...)`."""
    return {signs[at + 2] for at in range(len(signs) - 3) if signs[at] in _BINDERS and signs[at + 1] == "(" and signs[at + 3] == ","}


def _is_truth(signs: Sequence[str]) -> bool:
    """Whether an expression gives true or false whatever it is about, which Flux demands before it runs it."""
    outer = [at for at, depth in _depths(signs) if depth == 0]
    split = next((at for at in outer if signs[at] == "?"), None)
    if split is not None:
        colon = _colon(signs, split)
        return colon is not None and _is_truth(signs[split + 1 : colon]) and _is_truth(signs[colon + 1 :])
    if any(signs[at] in _RELATIONS for at in outer):
        return True
    if not signs or any(signs[at] in "+-*/%" for at in outer):
        return False
    if signs[0] == "!" or list(signs) in (["true"], ["false"]):
        return True
    if signs[-1] != ")":
        return False
    start = max(at for at in outer if signs[at] == "(")
    if start == 0:
        return _is_truth(signs[1:-1])
    name = signs[start - 1]
    return name in TRUTHS or (start >= 3 and f"{signs[start - 3]}_{name}" in TRUTHS)


def _depths(signs: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Each sign with how many brackets are open around it; an opening bracket counts outside, a closing one inside."""
    depth = 0
    for at, sign in enumerate(signs):
        yield at, depth
        depth += (sign in _OPEN) - (sign in _CLOSE)


def _colon(signs: Sequence[str], question: int) -> int | None:
    """Where the second branch of a `?` begins."""
    open_ = 0
    for at, depth in _depths(signs):
        if at > question and depth == 0 and signs[at] in "?:":
            if signs[at] == ":" and open_ == 0:
                return at
            open_ += 1 if signs[at] == "?" else -1
    return None
