"""Substitution of shell variables as Flux does it: a text with `${name}` forms and a lookup in, bytes out.

The dialect is not bash's: see the table of forms in fluxcd/pkg/envsubst v1.9.0 (`parse/`, `funcs.go`), whose behaviour, slips included, is
the format here: lengths and offsets count bytes, `:+` and `:?` are defaults, `$name` stays, `$$` is `$`.
https://fluxcd.io/flux/components/kustomize/kustomizations/#post-build-variable-substitution
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from service.kustomize.shellglob import trim_longest, trim_shortest

DEFAULTS = frozenset(("-", "+", "=", "?", ":-", ":+", ":=", ":?"))
_NUMBER = re.compile(rb"[+-]?[0-9]{1,19}")
_END = "\0"  # upstream's end of the text too

Lookup = Callable[[str], str | None]
"""The value of a variable, None where it must be set and is not (strict mode)."""


class BadTemplate(ValueError):
    """The text cannot be read or a variable is not set; the message is Flux's."""


@dataclass(frozen=True, slots=True)
class _Call:
    """`${param OPERATION arguments}`; each argument is text or a call."""

    param: str
    operation: str = ""
    arguments: "list[str | _Call]" = field(default_factory=list)


def substitute(text: str, lookup: Lookup) -> bytes:
    """Replace every `${...}`. Raises BadTemplate."""
    return b"".join(_value(node, lookup) for node in _Parser(text).nodes())


def _value(node: "str | _Call", lookup: Lookup) -> bytes:
    if isinstance(node, str):
        return node.encode(errors="surrogatepass")
    arguments = [_value(argument, lookup) for argument in node.arguments]
    found = lookup(node.param)
    if found is None and node.operation not in DEFAULTS:
        raise BadTemplate(f'variable not set (strict mode): "{node.param}"')
    value = (found or "").encode(errors="surrogatepass")
    if node.operation == "#" and not arguments:
        return str(len(value)).encode()
    return FUNCTIONS.get(node.operation, _default)(value, arguments)


def _default(value: bytes, arguments: Sequence[bytes]) -> bytes:
    return value or b"".join(arguments)


def _substring(value: bytes, arguments: Sequence[bytes]) -> bytes:
    start = _number(arguments[0])
    if start is None:
        return value
    if start < 0:
        start = max(0, len(value) + start)
    if len(arguments) == 1:
        return value[start:]
    length = _number(arguments[1])
    if length is None:
        return value
    return value[start : max(start, len(value) + length) if length < 0 else start + length]


def _number(text: bytes) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) and -(2**63) <= int(text) < 2**63 else None


def _replaced(count: int) -> Callable[[bytes, Sequence[bytes]], bytes]:
    def replace(value: bytes, arguments: Sequence[bytes]) -> bytes:
        new = arguments[1] if len(arguments) > 1 else b""
        if arguments[0]:
            return value.replace(arguments[0], new, count)
        text = value.decode(errors="replace")  # an empty text stands before each character
        return text.replace("", new.decode(errors="replace"), count).encode()

    return replace


def _replace_prefix(value: bytes, arguments: Sequence[bytes]) -> bytes:
    return arguments[1] + value[len(arguments[0]) :] if len(arguments) == 2 and value.startswith(arguments[0]) else value


def _replace_suffix(value: bytes, arguments: Sequence[bytes]) -> bytes:
    return value.removesuffix(arguments[0]) + arguments[1] if len(arguments) == 2 and value.endswith(arguments[0]) else value


def _cased(change: Callable[[str], str], *, first: bool) -> Callable[[bytes, Sequence[bytes]], bytes]:
    def cased(value: bytes, _arguments: Sequence[bytes]) -> bytes:
        text = value.decode(errors="replace")
        changed = "".join(new if len(new := change(char)) == 1 else char for char in (text[:1] if first else text))  # one for one, as Go
        return (changed + text[1:] if first else changed).encode(errors="surrogatepass")

    return cased


def _reversed(trim: Callable[[bytes, bytes], bytes]) -> Callable[[bytes, Sequence[bytes]], bytes]:
    return lambda value, arguments: _backwards(trim(_backwards(value), _backwards(arguments[0])))


def _backwards(text: bytes) -> bytes:
    return text.decode(errors="replace")[::-1].encode()


FUNCTIONS: Mapping[str, Callable[[bytes, Sequence[bytes]], bytes]] = {
    ",": _cased(str.lower, first=True),
    ",,": _cased(str.lower, first=False),
    "^": _cased(str.upper, first=True),
    "^^": _cased(str.upper, first=False),
    "#": lambda value, arguments: trim_shortest(value, arguments[0]),
    "##": lambda value, arguments: trim_longest(value, arguments[0]),
    "%": _reversed(trim_shortest),
    "%%": _reversed(trim_longest),
    ":": _substring,
    "/": _replaced(1),
    "//": _replaced(-1),
    "/#": _replace_prefix,
    "/%": _replace_suffix,
}
"""By operation; whatever else there is gives a default."""


class _Parser:
    """Reads the text from left to right; only `_escaped` drops a character."""

    def __init__(self, text: str) -> None:
        self._text = text.partition(_END)[0]
        self._at = 0

    def nodes(self) -> "list[str | _Call]":
        """The texts and calls, in order. Raises BadTemplate."""
        found: list[str | _Call] = []
        text, begin = self._text, 0
        while (at := text.find("$", self._at)) >= 0:
            following = text[at + 1 : at + 2]
            self._at = at + 2 if following in ("$", "{") else at + 1
            if following == "$":
                found.append(text[begin:at])
                begin = at + 1
            elif following == "{":
                found.append(text[begin:at])
                found.append(self._call())
                begin = self._at
        return [*found, text[begin:]]

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1] or _END

    def _take(self, accept: Callable[[str, int], bool], *, escapes: bool = False, calls: bool = False) -> str:
        """The longest run of accepted characters; `accept` is given the character and its place, from 1."""
        taken: list[str] = []
        while (char := self._peek()) != _END:
            if calls and self._text.startswith("${", self._at):
                break
            if escapes and self._text[self._at : self._at + 2] in ("$$", "\\/", "\\\\"):
                taken.append(self._text[self._at + 1])
                self._at += 2
            elif accept(char, len(taken) + 1):
                taken.append(char)
                self._at += 1
            else:
                break
        return "".join(taken)

    def _call(self) -> _Call:
        """What follows `${`, with its closing brace."""
        if self._peek() == "#":
            self._at += 1
            return self._closed(_Call(self._name("bad substitution"), "#"))
        name = self._name("unable to parse variable name")
        match self._peek():
            case ":" if self._text[self._at + 1 : self._at + 2] not in ("=", "-", "?", "+"):
                return self._substring(name)
            case ":" | "=":
                return self._default(name)
            case "," | "^" as char:
                return self._closed(_Call(name, self._take(lambda each, place: each in ",^" and place < 3)))
            case "/":
                return self._replace(name)
            case "#" | "%" as char:
                operation = self._take(lambda each, place: each == char and place < 3)
                return self._closed(_Call(name, operation, [self._argument(lambda each, _: each != "}")]))
            case "}":
                self._at += 1
                return _Call(name)
        raise BadTemplate("missing closing brace")

    def _name(self, problem: str) -> str:
        name = self._take(lambda each, _: each.isalpha() or each.isdecimal() or each == "_")
        if not name:
            raise BadTemplate(problem)
        return name

    def _closed(self, call: _Call) -> _Call:
        if self._peek() != "}":
            raise BadTemplate("bad substitution")
        self._at += 1
        return call

    def _argument(self, accept: Callable[[str, int], bool], *, escapes: bool = False) -> "str | _Call":
        if self._text.startswith("${", self._at):
            self._at += 2
            return self._call()
        text = self._take(accept, escapes=escapes, calls=True)
        if not text:
            raise BadTemplate("unable to parse substitution within function")
        return text

    def _default(self, name: str) -> _Call:
        operation = "=" if self._peek() == "=" else self._text[self._at : self._at + 2]
        self._at += len(operation)
        call = _Call(name, operation)
        while self._peek() != "}":
            call.arguments.append(self._argument(lambda each, _: each != "}"))
        return self._closed(call)

    def _substring(self, name: str) -> _Call:
        self._at += 1
        if self._peek() == _END or not self._peek().isascii():  # upstream steps back too far over a character of several bytes
            raise BadTemplate("bad substitution")
        call = _Call(name, ":", [self._argument(lambda each, _: each not in ":}")])
        if self._peek() == "}":
            return self._closed(call)
        if not self._take(lambda each, _: each == ":"):
            raise BadTemplate("bad substitution")
        call.arguments.append(self._argument(lambda each, _: each != "}"))
        return self._closed(call)

    def _replace(self, name: str) -> _Call:
        operation = self._take(lambda each, place: (place == 1 and each == "/") or (place == 2 and each in "/#%"))
        call = _Call(name, operation, [self._argument(lambda each, _: each != "/", escapes=True)])
        if not self._take(lambda each, _: each == "/"):
            raise BadTemplate("bad substitution")
        if self._peek() != "}":
            call.arguments.append(self._argument(lambda each, _: each != "}", escapes=True))
        return self._closed(call)
