""".gitmodules: its text in, the path and the address of each submodule out. Pure; a hostile file raises BadModules within its size.

The form is that of Git's configuration, without its includes: https://git-scm.com/docs/gitmodules, https://git-scm.com/docs/git-config
"""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from service.sources.gitref import InvalidUrl, checked_url

MOST_BYTES = 2**20
_BLANK = re.compile(r"(?:[ \t\r\n]|[#;][^\n]*)*")
_HEADER = re.compile(r'\[([A-Za-z0-9.-]+)(?:[ \t]+"((?:[^"\\\n]|\\[^\n])*)")?\]')
_KEY = re.compile(r"([A-Za-z][A-Za-z0-9-]*)[ \t]*(=?)[ \t]*")
_SCP = re.compile(r"(?P<user>[^@/:\s]+@)?(?P<host>[^/:@\s]+):(?P<path>(?!//).+)")
_ESCAPES = {"t": "\t", "b": "\b", "n": "\n", "\\": "\\", '"': '"'}


class BadModules(ValueError):
    """.gitmodules, or an address in it, cannot be used; the message says what to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One submodule: `path` is relative to the root, `url` as it is written, "" where it has none."""

    path: str
    url: str = field(repr=False)


def read_modules(text: str) -> tuple[Module, ...]:
    """Return the submodules by path; of two with one path the later. Raises BadModules."""
    found: dict[str, dict[str, str]] = {}
    at, section = _BLANK.match(text).end(), None  # type: ignore[union-attr]  # matches nothing at least
    while at < len(text):
        header = _HEADER.match(text, at)
        if header is not None:
            at, section = header.end(), _name(header)
        else:
            key, value, at = _entry(text, at)
            if section is not None:
                found.setdefault(section, {})[key] = value
        at = _BLANK.match(text, at).end()  # type: ignore[union-attr]
    named = (each for each in found.values() if each.get("path"))
    return tuple({each["path"]: Module(path=each["path"].rstrip("/"), url=each.get("url", "")) for each in named}.values())


def _name(header: re.Match[str]) -> str | None:
    """The name of a submodule's section, None of any other."""
    if header[2] is not None:
        return re.sub(r"\\(.)", r"\1", header[2]) if header[1].lower() == "submodule" else None
    section, _, name = header[1].lower().partition(".")
    return name if section == "submodule" and name else None


def _entry(text: str, at: int) -> tuple[str, str, int]:
    found = _KEY.match(text, at)
    if found is None:
        raise BadModules(f".gitmodules: line {text.count(chr(10), 0, at) + 1} is not of Git's form")
    if not found[2]:
        return found[1].lower(), "", found.end()
    value, end = _value(text, found.end())
    return found[1].lower(), value, end


def _value(text: str, at: int) -> tuple[str, int]:
    """A value, and where it ends: quotes may begin and end anywhere in it, what is outside of them is trimmed."""
    out, blanks, quoted = "", "", False
    while at < len(text) and text[at] != "\n":
        letter = text[at]
        if not quoted and letter in "#;":
            break
        if not quoted and letter in " \t\r":
            blanks += letter
        elif letter == '"':
            quoted, out, blanks = not quoted, out + blanks, ""
        elif letter == "\\" and text[at + 1 : at + 2] == "\n":
            at += 1
        else:
            if letter == "\\":
                at += 1
                letter = _ESCAPES.get(text[at : at + 1], "")
                if not letter:
                    raise BadModules(".gitmodules: a backslash before a letter that needs none")
            out, blanks = out + blanks + letter, ""
        at += 1
    if quoted:
        raise BadModules(".gitmodules: a quote that is not closed")
    return out, at


def module_url(url: str, above: str) -> str:
    """Return the address to fetch from; `above` is that of the repository that names it. Raises BadModules."""
    try:
        if url.startswith(("./", "../")):
            return checked_url(_below(url, above))
        scp = _SCP.fullmatch(url) if "://" not in url else None
        if scp is not None:
            return checked_url(f"ssh://{scp['user'] or ''}{scp['host']}/{scp['path'].lstrip('/')}")
        return checked_url(url)
    except InvalidUrl as error:
        raise BadModules(str(error)) from error


def _below(url: str, above: str) -> str:
    parts = urlsplit(above)
    folders = [each for each in parts.path.split("/") if each]
    rest = [each for each in url.split("/") if each not in ("", ".")]
    while rest and rest[0] == "..":
        if not folders:
            raise BadModules("its relative address leads out of the host")
        folders.pop()
        del rest[0]
    if ".." in rest:
        raise BadModules("its relative address has '..' in the middle")
    return urlunsplit((parts.scheme, parts.netloc, "/" + "/".join([*folders, *rest]), "", ""))
