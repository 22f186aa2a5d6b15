"""A chart's .helmignore in, which files of its folder are no part of it out.

Helm's own rules, not Git's: the first pattern that matches leaves a file out, `!` leaves out all that does not match, `**` is an error;
one without a slash is for the last part of a path. Always there: `templates/.?*`. https://helm.sh/docs/chart_template_guide/helm_ignore_file/
"""

import re
from dataclasses import dataclass

DEFAULTS = ("templates/.?*",)


class BadPattern(ValueError):
    """The file holds a pattern that Helm does not know; the message quotes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    pattern: re.Pattern[str]
    negated: bool
    folders_only: bool
    whole_path: bool

    def leaves_out(self, path: str, is_folder: bool) -> bool:
        matched = self.pattern.fullmatch(path if self.whole_path else path.rpartition("/")[2]) is not None
        if self.negated:
            return (self.folders_only and not is_folder) or not matched
        return matched and (is_folder or not self.folders_only)


class HelmIgnore:
    """The rules of one chart."""

    def __init__(self, text: str = "") -> None:
        """Raises BadPattern."""
        lines = [line.strip() for line in (*text.removeprefix("\ufeff").splitlines(), *DEFAULTS)]
        self._rules = [_rule(line) for line in lines if line and not line.startswith("#")]

    def ignored(self, path: str, is_folder: bool) -> bool:
        """Whether a path below the chart is left out; what is below a folder that is left out goes with it."""
        return any(rule.leaves_out(path, is_folder) for rule in self._rules)


def _rule(line: str) -> _Rule:
    if "**" in line:
        raise BadPattern(f"the pattern '{line}' of .helmignore: double-star (**) syntax is not supported")
    negated, folders_only = line.startswith("!"), line.endswith("/")
    bare = line[1 if negated else 0 :].removesuffix("/")
    try:
        pattern = re.compile(_expression(bare.removeprefix("/")), re.DOTALL)
    except re.error as error:
        raise BadPattern(f"the pattern '{line}' of .helmignore cannot be read") from error
    return _Rule(pattern=pattern, negated=negated, folders_only=folders_only, whole_path="/" in bare)


def _expression(glob: str) -> str:
    """Go's filepath.Match as a regular expression: neither * nor ? is a slash."""
    made, at = "", 0
    while at < len(glob):
        letter = glob[at]
        end = glob.find("]", at + 2) if letter == "[" else -1
        if end > 0:
            inner = re.sub(r"([\[\\&~|]|-(?=-))", r"\\\1", glob[at + 1 : end])
            made += f"[{inner}]"
            at = end
        elif letter == "\\" and at + 1 < len(glob):
            at += 1
            made += re.escape(glob[at])
        else:
            made += {"*": "[^/]*", "?": "[^/]"}.get(letter, re.escape(letter))
        at += 1
    return made
