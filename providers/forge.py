"""What the git forges share: the repository's address, the commit of an event, and a commit's status, set only where it is another.

In: an event and a target. Out: parts of requests, and the dialogue. The rules:
https://github.com/fluxcd/notification-controller/blob/v1.9.3/internal/notifier/util.go
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from providers.answers import address_of, check, json_of
from providers.contract import Dialogue, Event, Misconfigured, Rejected, Request, Target
from providers.reason import words

_SCP = re.compile(r"(?:[\w.-]+@)?([\w.-]+):(?!//)/?([\w./~-]+)", re.ASCII)
_COMMIT = re.compile(r"(?:.*[:/@])?([0-9a-f]{40}|[0-9a-f]{64})", re.DOTALL)
_PATH = re.compile(r"[\w.~%+ -]+(?:/[\w.~%+ -]+)+", re.ASCII)
LONGEST = 240


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """`base` is the server's `https://host[:port]`, `path` what follows, without `.git`."""

    base: str
    path: str

    def split(self) -> tuple[str, str, str]:
        """The server with what stands before the owner, the owner, and the repository; the latter two quoted."""
        before, _, rest = self.path.rpartition("/")
        prefix, _, owner = before.rpartition("/")
        return f"{self.base}/{prefix}".rstrip("/"), quote(owner, safe=""), quote(rest, safe="")


def repository_of(target: Target) -> Repository:
    """The repository of an address as people clone it: https, ssh or `git@host:path`. Raises Misconfigured."""
    address = address_of(target)
    scp = _SCP.fullmatch(address)
    if scp is not None:
        base, path = f"https://{scp[1]}", scp[2]
    else:
        parts = urlsplit(address)
        over_ssh = parts.scheme == "ssh"  # its port is not the API's
        base = f"https://{parts.hostname}" if over_ssh else f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        path = parts.path
    path = path.strip("/").removesuffix(".git")
    if not _PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
        raise Misconfigured("the address names no repository: set spec.address to the repository's URL")
    return Repository(base=base, path=path)


def commit_of(event: Event) -> str:
    """The commit that the event is about: metadata `commit`, else `originRevision`, else `revision`. Raises Rejected without one."""
    data = event.metadata
    text = data.get("commit") or data.get("originRevision") or data.get("revision") or ""
    found = _COMMIT.fullmatch(text)
    if found is None:
        raise Rejected("the event names no commit: only objects that come from Git can have a commit status")
    return found[1]


def status_id(event: Event, target: Target) -> str:
    """`kustomization/web/<first part of the Provider's UID>`: one for each cluster and object, as Flux has it, or the Provider's own."""
    text = target.status_id or f"{event.kind}/{event.name}/{target.uid.partition('-')[0]}".lower()
    return "".join(each if each.isprintable() else "_" for each in text)[:LONGEST].encode(errors="replace").decode()


def description(event: Event) -> str:
    """The reason in words."""
    return words(event.reason)


def is_progress(event: Event) -> bool:
    """Whether the event says only that something goes on."""
    return event.severity == "info" and event.reason.startswith("Progressing")


def token_of(target: Target) -> str:
    """The token, which some put into `password`. Raises Misconfigured."""
    found = target.token or target.password
    if not found:
        raise Misconfigured("no token: put one into the Secret's key token")
    return found.reveal()


def set_status(name: str, *, look: Request, is_set: Callable[[Any], bool], put: Request, to_do: Mapping[int, str]) -> Dialogue:
    """Set a commit's status unless the last one of its context says the same. Raises Rejected, Busy."""
    answer = yield look
    if answer.status != 404:  # some forges say so where the commit has none yet; then the next answer tells more
        check(name, answer, to_do=to_do)
        if is_set(json_of(name, answer)):
            return
    check(name, (yield put), to_do=to_do)


def latest_is(entries: object, wanted: Mapping[str, str], *, context: str) -> bool:
    """Whether the first of the entries (newest first) with the wanted context has all the wanted values."""
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and entry.get(context) == wanted[context]:
            return all(entry.get(name) == value for name, value in wanted.items())
    return False
