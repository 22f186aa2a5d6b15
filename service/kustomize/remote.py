"""What a kustomization names outside of its tree: URLs of Git repositories and of files, and who fetches them.

Format of the URLs: https://github.com/kubernetes-sigs/kustomize/blob/master/examples/remoteBuild.md. Behaviour: kustomize api v0.21.0
internal/git/repospec.go. The engine fetches nothing: whoever builds hands in a Remote, or none.
"""

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import parse_qs

from service.kustomize.errors import BuildError
from service.kustomize.tree import Tree

TIMEOUT = timedelta(seconds=27)
_SCHEMES = ("ssh://", "https://", "http://", "file://")
_USER = re.compile(r"[a-zA-Z][a-zA-Z0-9-]*@")
_GO_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+")
_GO_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_BOOLS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RepoSpec:
    """A folder of a Git repository: what to fetch, the ref ("" is the remote's HEAD), the folder in it ("" is its root)."""

    url: str
    ref: str = ""
    path: str = ""
    timeout: timedelta = TIMEOUT
    submodules: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """Who fetches, both within their own bounds of size and time: `clone` returns the tree and the commit at a spec's ref, `file` the
    content at an http(s) URL. Both raise NotFetched."""

    clone: Callable[[RepoSpec], tuple[Tree, str]]
    file: Callable[[str], bytes]


class NotFetched(Exception):
    """A remote thing did not come; the message says why and holds no secret."""


def refused(address: str) -> BuildError:
    """Return the error of a build in which nothing may be fetched."""
    return BuildError(
        f"'{shown(address)}' is remote, and remote bases are off in this build; vendor it into the repository, or allow them: "
        "`sluice serve --remote-bases`, `sluice build` without --no-remote-bases"
    )


def shown(address: str) -> str:
    """Return an address for a message: without user information, and without the query, where tokens stand."""
    return re.sub(r"//[^/@]*@", "//***@", address.partition("?")[0])


def is_http(path: str) -> bool:
    """Return whether a path is the URL of something that can be read as a file."""
    return path[:8].lower().startswith(("http://", "https://"))


def is_remote(path: str) -> bool:
    """Return whether a path names something outside of the tree."""
    if "//" not in path and "@" not in path and not path[:16].lower().startswith(("github.com", "git::")):
        return False
    return is_http(path) or _is_spec(path)


def _is_spec(path: str) -> bool:
    try:
        parse(path)
    except ValueError:
        return path.lower().startswith(_SCHEMES)
    return True


def parse(address: str) -> RepoSpec:
    """Return what an address names. Raises ValueError saying what it lacks."""
    if address.startswith("/"):
        raise ValueError(f"uri looks like abs path: {address}")
    rest, _, query = address.partition("?")
    ref, timeout, submodules = _query(query)
    host, rest = _host(rest)
    repository, path = _split(rest, takes_all=host == "file://")
    if not repository:
        raise ValueError("failed to parse repo path segment")
    path = posixpath.normpath(path.removeprefix("/"))
    if path == ".." or path.startswith("../"):
        raise ValueError(f"url path exits repo: {shown(address)}")
    path = "" if path == "." else path.strip("/")
    return RepoSpec(url=host + repository, ref=ref, path=path, timeout=timeout, submodules=submodules)


def _query(query: str) -> tuple[str, timedelta, bool]:
    values = {key: found[0] for key, found in parse_qs(query).items()}
    submodules = _BOOLS.get(values.get("submodules", ""), True)
    return values.get("ref") or values.get("version") or "", _timeout(values.get("timeout", "")), submodules


def _timeout(text: str) -> timedelta:
    """Whole seconds, or Go's form of a duration; anything else is the default."""
    if text.isascii() and text.isdigit():
        seconds = float(text)
    elif _GO_DURATION.fullmatch(text):
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in _GO_PART.findall(text))
    else:
        return TIMEOUT
    return timedelta(seconds=min(seconds, 24 * 3600.0)) if seconds > 0 else TIMEOUT


def _host(rest: str) -> tuple[str, str]:
    """(scheme, user and host, up to and with the separator; what follows)."""
    if rest[:5].lower() == "git::":
        rest = rest[5:]
    scheme = next((known for known in _SCHEMES if rest.lower().startswith(known)), "")
    rest = rest[len(scheme) :]
    found = _USER.match(rest)
    user = found[0] if found else ""
    rest = rest[len(user) :]
    is_github = rest.lower().startswith(("github.com/", "github.com:"))
    is_scp = not scheme and bool(user or is_github)
    if not scheme and not is_scp:
        raise ValueError("failed to parse scheme")
    if scheme == "file://":
        return scheme, user + rest
    at, colon = rest.find("/"), rest.find(":") if is_scp else -1
    if is_scp and (at == -1 or 0 < colon < at):
        at = colon
    host, rest = (rest[: at + 1], rest[at + 1 :]) if at >= 0 else (rest, "")
    if is_github:
        return ("git@github.com:" if scheme == "ssh://" or user else "https://github.com/"), rest
    if not host:
        raise ValueError("failed to parse host segment")
    return scheme + user + host, rest


def _split(rest: str, *, takes_all: bool) -> tuple[str, str]:
    """The repository and the folder in it: split at `_git/x`, `//` or `.git`, else after two segments."""
    if "_git/" in rest:
        before, _, after = rest.partition("_git/")
        name, _, path = after.partition("/")
        return f"{before}_git/{name}", path
    if "//" in rest:
        repository, _, path = rest.partition("//")
        return repository, path
    if ".git/" in rest:
        before, _, path = rest.partition(".git/")
        return before + ".git", path
    if takes_all or rest.endswith(".git"):
        return rest, ""
    segments = rest.split("/")
    if len(segments) < 2:
        raise ValueError("failed to parse repo path segment")
    return "/".join(segments[:2]), "/".join(segments[2:])
