"""Go's regular expressions, as Alerts use them, written as Python's.

In: an RE2 pattern. Out: an equal pattern for `re`, or BadPattern where RE2 refuses it or `re` has no equal. The two languages share most
of their syntax; what differs is translated or refused here, nothing is passed on that would mean something else.
https://github.com/google/re2/wiki/Syntax
"""

import re
from dataclasses import dataclass, field

LONGEST = 2_000
_POSIX = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": r"\x00-\x7f", "blank": r"\t ", "cntrl": r"\x00-\x1f\x7f", "digit": "0-9",
    "graph": "!-~", "lower": "a-z", "print": " -~", "punct": r"!-/:-@\[-`{-~", "space": r"\t\n\v\f\r ", "upper": "A-Z",
    "word": "0-9A-Za-z_", "xdigit": "0-9A-Fa-f",
}  # fmt: skip
_CLASSES = {
    "d": "0-9", "w": "0-9A-Za-z_", "s": r"\t\n\f\r ",  # RE2's are ASCII, and \s has no \v
    "D": r"\x00-/:-\U0010ffff", "W": r"\x00-/:-@\[-^`{-\U0010ffff", "S": r"\x00-\x08\x0b\x0e-\x1f!-\U0010ffff",
}  # fmt: skip
_ANCHORS = {("^", False): r"\A", ("^", True): "(?m:^)", ("$", False): r"\Z", ("$", True): "(?m:$)"}
_PLACES = {"A": r"\A", "z": r"\Z", "b": r"(?a:\b)", "B": r"(?a:\B)"}
_SAME = frozenset("afnrtv")
_OPENING = re.compile(r"\(\?(?:(?P<name>P?<[A-Za-z_]\w*>)|(?P<on>[ims]*)(?:-(?P<off>[ims]+))?(?P<end>[:)]))", re.ASCII)
_COUNT = re.compile(r"\{(\d+)(?:,(\d*))?\}", re.ASCII)
_HEX = re.compile(r"x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,6})\})")
_POSIX_CLASS = re.compile(r"\[:(\^?)([a-z]+):\]")
_MOST_REPEATS = 1_000


class BadPattern(ValueError):
    """RE2 refuses the pattern, or it has no equal here."""


@dataclass(slots=True)
class _Scan:
    """The state while a pattern is read.

    `flags`: what opened for each `(?i)` of the present group, repeated in each alternative; `groups`: both outside of each open group.
    """

    text: str
    at: int = 0
    out: list[str] = field(default_factory=list)
    groups: list[tuple[list[str], bool]] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    multiline: bool = False
    repeatable: bool = False


def translate(pattern: str) -> str:
    """Return a pattern for `re.compile` that finds what Go's regexp finds. Raises BadPattern."""
    if len(pattern) > LONGEST:
        raise BadPattern(f"longer than {LONGEST} characters")
    scan = _Scan(pattern)
    while scan.at < len(pattern):
        _step(scan)
    if scan.groups:
        raise BadPattern("missing closing )")
    return "".join(scan.out) + ")" * len(scan.flags)


def _step(scan: _Scan) -> None:
    match scan.text[scan.at]:
        case "\\":
            _escape(scan)
        case "[":
            _class(scan)
        case "(":
            _open(scan)
        case ")":
            _close(scan)
        case "*" | "+" | "?" | "{":
            _repeat(scan)
        case "|":
            scan.out.append(")" * len(scan.flags) + "|" + "".join(scan.flags))
            scan.at, scan.repeatable = scan.at + 1, False
        case "^" | "$" as anchor:
            _emit(scan, _ANCHORS[anchor, scan.multiline], 1)
        case other:
            _emit(scan, other if other == "." else re.escape(other), 1)


def _emit(scan: _Scan, text: str, taken: int) -> None:
    scan.out.append(text)
    scan.at, scan.repeatable = scan.at + taken, True


def _escape(scan: _Scan) -> None:
    text, at = scan.text, scan.at
    following = text[at + 1 : at + 2]
    if following == "Q":
        end = text.find(r"\E", at + 2)
        quoted = text[at + 2 : end if end >= 0 else len(text)]
        for each in quoted:
            _emit(scan, re.escape(each), 0)
        scan.at = end + 2 if end >= 0 else len(text)
        return
    if following in _PLACES:
        _emit(scan, _PLACES[following], 2)
    elif following in _CLASSES:
        _emit(scan, f"[{_CLASSES[following]}]", 2)
    else:
        shown, taken = _character(text, at)
        _emit(scan, shown, taken)


def _character(text: str, at: int) -> tuple[str, int]:
    """One escaped character at `at`: how `re` writes it, and how long it is in the pattern."""
    following = text[at + 1 : at + 2]
    found = _HEX.match(text, at + 1)
    if found is not None:
        code = int(found[1] or found[2], 16)
        if code > 0x10FFFF:
            raise BadPattern(f"invalid escape {found[0]}")
        return f"\\U{code:08x}", 1 + len(found[0])
    if not following:
        raise BadPattern("trailing backslash")
    if following in _SAME:
        return "\\" + following, 2
    if following.isascii() and not following.isalnum():
        return re.escape(following), 2
    raise BadPattern(f"invalid or unsupported escape \\{following}")


def _class(scan: _Scan) -> None:
    text, at = scan.text, scan.at + 1
    negated = text.startswith("^", at)
    at += negated
    parts: list[str] = []
    while at < len(text):
        if text[at] == "]" and parts:
            _emit(scan, f"[{'^' if negated else ''}{''.join(parts)}]", at + 1 - scan.at)
            return
        part, at = _class_part(text, at)
        parts.append(part)
    raise BadPattern("missing closing ]")


def _class_part(text: str, at: int) -> tuple[str, int]:
    posix = _POSIX_CLASS.match(text, at)
    if posix is not None:
        if posix[1] or posix[2] not in _POSIX:
            raise BadPattern(f"unsupported character class {posix[0]}")
        return _POSIX[posix[2]], posix.end()
    following = text[at + 1 : at + 2]
    if text[at] == "\\" and following in _CLASSES:
        return _CLASSES[following], at + 2
    first, at = _class_character(text, at)
    if text.startswith("-", at) and text[at + 1 : at + 2] not in ("", "]"):
        last, at = _class_character(text, at + 1)
        return f"{first}-{last}", at
    return first, at


def _class_character(text: str, at: int) -> tuple[str, int]:
    if text[at] == "\\":
        shown, taken = _character(text, at)
        return shown, at + taken
    return ("\\" + text[at] if text[at] in r"[]^-&~|\\" else text[at]), at + 1


def _open(scan: _Scan) -> None:
    if not scan.text.startswith("(?", scan.at):
        scan.groups.append((scan.flags, scan.multiline))
        scan.flags = []
        scan.out.append("(?:")
        scan.at, scan.repeatable = scan.at + 1, False
        return
    found = _OPENING.match(scan.text, scan.at)
    if found is None or (found["end"] == ")" and not (found["on"] or found["off"])):
        raise BadPattern("a group of a kind that Go's regexp does not have, such as (?= or (?<!, or an unsupported flag")
    on, off = found["on"] or "", found["off"] or ""
    if found["end"] != ")":
        scan.groups.append((scan.flags, scan.multiline))
        scan.flags = []
    scan.multiline = (scan.multiline or "m" in on) and "m" not in off
    flags = "".join(sorted(set(on) - set(off) - {"m"}))
    without = "".join(sorted(set(off) - {"m"}))
    opening = f"(?{flags}{'-' if without else ''}{without}:"
    scan.out.append(opening)
    if found["end"] == ")":
        scan.flags.append(opening)  # `(?i)` holds to the end of the group around it
    scan.at, scan.repeatable = found.end(), False


def _close(scan: _Scan) -> None:
    if not scan.groups:
        raise BadPattern("unexpected )")
    closing = len(scan.flags) + 1
    scan.flags, scan.multiline = scan.groups.pop()
    _emit(scan, ")" * closing, 1)


def _repeat(scan: _Scan) -> None:
    text, at = scan.text, scan.at
    if text[at] == "{":
        found = _COUNT.match(text, at)
        if found is None:
            _emit(scan, r"\{", 1)
            return
        counts = [int(each) for each in found.groups() if each]
        if max(counts) > _MOST_REPEATS or counts != sorted(counts):
            raise BadPattern(f"invalid repeat count {found[0]}")
        shown = found[0]
    else:
        shown = text[at]
    if not scan.repeatable:
        raise BadPattern(f"nothing to repeat, or a repeated repeat: {shown}")
    lazy = "?" if text.startswith("?", at + len(shown)) else ""
    scan.out.append(shown + lazy)
    scan.at, scan.repeatable = at + len(shown) + len(lazy), False
