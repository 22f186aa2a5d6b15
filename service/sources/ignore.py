"""Which paths of a source are left out: .sourceignore files and spec.ignore in, a verdict per path out.

Flux's own rules, which differ from git's: the last pattern that matches a path or any directory above it wins, so a file can be taken back
in below a directory that is left out (`/*` then `!/apps/staging`). A segment is a glob of Go's filepath.Match; `**` counts only as a
whole segment. Flux keeps this matcher as it is on purpose: https://github.com/fluxcd/pkg/tree/sourceignore/v0.19.0/sourceignore
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

IGNORE_FILE = ".sourceignore"
VCS = (".git/", ".gitignore", ".gitmodules", ".gitattributes")
EXTRAS = (
    *("*.jpg", "*.jpeg", "*.gif", "*.png", "*.wmv", "*.flv", "*.tar.gz", "*.zip"),
    *(".github/", ".circleci/", ".travis.yml", ".gitlab-ci.yml", "appveyor.yml", ".drone.yml", "cloudbuild.yaml"),
    *("codeship-services.yml", "codeship-steps.yml", "**/.goreleaser.yml", "**/.sops.yaml", "**/.flux.yaml"),
)

Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One pattern. `names` holds a regular expression per segment, None for `**`, "" for an empty segment."""

    scope: Parts
    names: tuple[str | None, ...]
    anchored: bool
    keeps: bool
    folders_only: bool

    def matches(self, path: Parts, is_folder: bool) -> bool:
        """Return whether the pattern says something about the path, by its own name or a directory above it."""
        depth = len(self.scope)
        if len(path) <= depth or path[:depth] != self.scope:
            return False
        return self._by_segments(path[depth:], is_folder) if self.anchored else self._by_name(path[depth:], is_folder)

    def _by_name(self, path: Parts, is_folder: bool) -> bool:
        pattern = self.names[0] or ""
        for index, name in enumerate(path):
            if _full(pattern, name):
                return is_folder or not self.folders_only or index < len(path) - 1
        return False

    def _by_segments(self, path: Parts, is_folder: bool) -> bool:
        at, matched, leap = 0, False, False
        for index, pattern in enumerate(self.names):
            if pattern == "":
                leap = False
            elif pattern is None:
                if index == len(self.names) - 1:
                    break
                leap = True
            else:
                if at == len(path):
                    return False
                if leap:
                    hit = next((step for step in range(at, len(path)) if _full(pattern, path[step])), None)
                    matched, leap = hit is not None, False
                    at = len(path) if hit is None else hit + 1
                elif _full(pattern, path[at]):
                    matched = True
                    at += 1
                else:
                    return False
        return matched and not (self.folders_only and not is_folder and at == len(path))


class Ignore:
    """All patterns of a source, first to last; with `only`, nothing is in but what is below one of these directories."""

    def __init__(self, rules: Iterable[Rule], only: tuple[str, ...] = ()) -> None:
        self._only = tuple(f"{folder}/" for folder in only)
        self._rules = tuple(rules)[::-1]
        self.can_keep = any(rule.keeps for rule in self._rules)
        """Whether something below a directory that is left out may still be in."""
        loose = {rule.names[0] or "" for rule in self._rules if not rule.anchored}
        self._loose = re.compile("|".join(sorted(loose)) or "(?!)", re.DOTALL)
        self._anchored = tuple(rule for rule in self._rules if rule.anchored)

    def ignored(self, path: str, is_folder: bool) -> bool:
        """Return whether a path, relative to the root and not "", is left out."""
        if self._only and not self._is_chosen(path, is_folder):
            return True
        parts = tuple(path.split("/"))
        rules = self._rules if any(map(self._loose.fullmatch, parts)) else self._anchored
        for rule in rules:
            if rule.matches(parts, is_folder):
                return not rule.keeps
        return False

    def _is_chosen(self, path: str, is_folder: bool) -> bool:
        here = f"{path}/"
        return any(here.startswith(folder) or (is_folder and folder.startswith(here)) for folder in self._only)


def make_ignore(files: Iterable[tuple[str, str]], spec_ignore: str | None, only: tuple[str, ...] = ()) -> Ignore:
    """Return the rules of a source: `files` are (directory, text) of each .sourceignore, "" is the root.

    The built-in extras count only while nobody writes a pattern of his own.
    """
    own = [rule for folder, text in sorted(files, key=lambda file: _parts(file[0])) for rule in read_rules(text, _parts(folder))]
    own += read_rules(spec_ignore or "", ())
    built_in = VCS if own else VCS + EXTRAS
    return Ignore([*read_rules("\n".join(built_in), ()), *own], only)


def own_rules(text: str, spec_ignore: str | None) -> Ignore:
    """Return the rules of a root's .sourceignore and spec.ignore alone, as they count for buckets."""
    return Ignore([*read_rules(text, ()), *read_rules(spec_ignore or "", ())])


def _parts(folder: str) -> Parts:
    return tuple(folder.split("/")) if folder else ()


def read_rules(text: str, scope: Parts) -> list[Rule]:
    """Return the patterns of one file or of spec.ignore that can match anything."""
    lines = (line.removesuffix("\r") for line in text.split("\n"))
    found = (_rule(line, scope) for line in lines if line.strip() and not line.startswith("#"))
    return list(found)


def _rule(line: str, scope: Parts) -> Rule:
    keeps = line.startswith("!")
    text = line[1:] if keeps else line
    if not text.endswith("\\ "):
        text = text.rstrip(" ")
    folders_only = text.endswith("/")
    segments = text.removesuffix("/").split("/")
    anchored = len(segments) > 1
    if len(segments) == 2 and segments[0] == "**" and segments[1] and "**" not in segments[1]:
        segments, anchored = segments[1:], False  # the same, and quick to rule out
    names = tuple(_name(segment, anchored) for segment in segments)
    return Rule(scope=scope, names=names, anchored=anchored, keeps=keeps, folders_only=folders_only)


def _name(segment: str, anchored: bool) -> str | None:
    if anchored and segment in ("", "**"):
        return None if segment else ""
    if anchored and "**" in segment:
        return "(?!)"
    return _expression(segment)


def _expression(glob: str) -> str:
    """The regular expression of a glob of https://pkg.go.dev/path/filepath#Match; a malformed one matches nothing."""
    out, at = ["(?s:"], 0
    try:
        while at < len(glob):
            letter = glob[at]
            at += 1
            if letter == "*":
                out.append(".*")
            elif letter == "?":
                out.append(".")
            elif letter == "[":
                text, at = _class(glob, at)
                out.append(text)
            else:
                if letter == "\\":
                    letter, at = glob[at], at + 1
                out.append(re.escape(letter))
    except IndexError:
        return "(?!)"
    return "".join(out) + ")"


def _class(glob: str, at: int) -> tuple[str, int]:
    """The class that begins after `[` at `at`, and where it ends. Raises IndexError if it is malformed."""
    ranges: list[str] = []
    negated = glob[at] == "^"
    at += negated
    while glob[at] != "]" or not ranges:
        low, at = _member(glob, at)
        high = low
        if glob[at] == "-":
            high, at = _member(glob, at + 1)
        ranges.append(f"{re.escape(low)}-{re.escape(high)}" if low <= high else "")
    inside = "".join(ranges)
    if not inside:
        return ("." if negated else "(?!)"), at + 1
    return f"[{'^' if negated else ''}{inside}]", at + 1


def _member(glob: str, at: int) -> tuple[str, int]:
    if glob[at] in "-]":
        raise IndexError
    at += glob[at] == "\\"
    return glob[at], at + 1


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _full(pattern: str, name: str) -> bool:
    return _compiled(pattern).fullmatch(name) is not None
