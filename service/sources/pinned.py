"""One commit by its id, without the history behind it: what spec.ref.commit and the gitlink of a submodule name.

In: a store and a way to its remote. Out: whether the commit is there now. Where a ref points to it, that ref is fetched; else it is asked
for by its id, as GitHub, GitLab and Gitea allow. History is fetched, a stretch at a time, only where a server refuses ids, and where a
branch is named: a host serves the commits of forks by id too, so that a commit is on the branch shows in the branch's history alone.
https://git-scm.com/docs/gitprotocol-pack#_packfile_negotiation
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import pygit2

from service.sources.depth import INCOMING
from service.sources.gitref import Wanted

ALL = 2**31 - 1
STRETCHES = (64, 1024, ALL)
"""How many commits of each branch are looked through, one after the other."""
_SERVES_NO_IDS, _REFUSED = "cannot fetch a specific object", "unexpected packet type"  # libgit2's words


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """One ref of a remote."""

    name: str
    id: str


class Wire(Protocol):
    """A way to the remote. Both raise pygit2.GitError and a FetchError."""

    def heads(self) -> Sequence[Head]:
        """All refs of the remote, `refs/tags/x^{}` for what an annotated tag leads to."""

    def fetch(self, refspecs: list[str], depth: int) -> None:
        """Fetch into the store; all history where the server cannot leave any out."""


def bring(repo: pygit2.Repository, wanted: Wanted, wire: Wire) -> bool | None:
    """Fetch the pinned commit; returns whether the remote has it on the branch, or anywhere where no branch is named.

    None where the remote does not have the branch, or nothing at all.
    """
    heads = wire.heads()
    if not any(_is_searched(head, wanted) for head in heads):
        return None
    incoming = INCOMING + secrets.token_hex(8) + "/"
    try:
        named = next((head.name for head in heads if head.id == wanted.commit and _is_searched(head, wanted)), "")
        if named:
            wire.fetch([f"+{named.removesuffix('^{}')}:{incoming}tip"], 1)
            return wanted.commit in repo
        found = _by_id(repo, wanted.commit, wire, incoming) if not wanted.label else None
        return found if found is not None else _in_history(repo, wanted, wire, incoming)
    finally:
        for name in [name for name in repo.references if name.startswith(incoming)]:
            repo.references.delete(name)


def _is_searched(head: Head, wanted: Wanted) -> bool:
    return head.name == wanted.source if wanted.label else head.name.startswith(("refs/heads/", "refs/tags/"))


def _by_id(repo: pygit2.Repository, commit: str, wire: Wire, incoming: str) -> bool | None:
    """Whether the remote has the commit, None where it serves no ids. A remote that does refuses those that nothing leads to."""
    try:
        wire.fetch([f"+{commit}:{incoming}id"], 1)
    except pygit2.GitError as error:
        if _SERVES_NO_IDS in str(error):
            return None
        if _REFUSED in str(error):
            return False
        raise
    return commit in repo


def _in_history(repo: pygit2.Repository, wanted: Wanted, wire: Wire, incoming: str) -> bool:
    target = incoming + wanted.source.removeprefix("refs/")
    refspecs = [f"+{wanted.source}:{target}"] + ([] if wanted.label else [f"+refs/tags/*:{incoming}tags/*"])
    for stretch in STRETCHES:
        wire.fetch(refspecs, stretch)
        tips = [repo.references[name].peel() for name in repo.references if name.startswith(incoming)]
        if wanted.commit in repo and any(_leads_to(repo, tip, wanted.commit) for tip in tips):
            return True
    return False


def _leads_to(repo: pygit2.Repository, tip: pygit2.Commit | pygit2.Tree | pygit2.Tag | pygit2.Blob, commit: str) -> bool:
    return isinstance(tip, pygit2.Commit) and (str(tip.id) == commit or repo.descendant_of(tip.id, commit))
