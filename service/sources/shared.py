"""One fetch for all objects that want the same: what a fetch has just brought, for whoever asked before it began.

A store belongs to one URL and one identity, so what is shared was listed with each object's own credentials. An answer counts for a
request only if it was asked for after the request came; or, for a push, after the push was stored, if it is what the push has named.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import pygit2

from service.sources.depth import PRIVATE
from service.sources.gitref import Wanted
from service.sources.landing import is_whole
from service.sources.openrepo import repository
from service.sources.transfer import Fetched, Request, described

MOST_KEPT = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """When a request came, and when what triggered it was stored: seconds of the event loop's clock."""

    came: float
    stored: float


class Shared:
    """The last answer for each store and ref. Ask it while nobody else fetches into the store."""

    def __init__(self) -> None:
        self._last: dict[tuple[Path, Wanted], tuple[float, Fetched]] = {}

    def note(self, request: Request, began: float, fetched: Fetched) -> None:
        """A fetch that began then has brought this."""
        key = _key(request)
        self._last.pop(key, None)
        while len(self._last) >= MOST_KEPT:
            self._last.pop(next(iter(self._last)))
        self._last[key] = (began, fetched)

    def find(self, request: Request, ask: Ask) -> Fetched | None:
        """Return an answer that is new enough for the request, None where it has to be fetched."""
        began, fetched = self._last.get(_key(request), (0.0, None))
        if fetched is None:
            return None
        is_named = bool(request.wanted.hint) and request.wanted.hint == fetched.commit  # so a clock that was set cannot hide a push
        return fetched if began > ask.came or (is_named and began > ask.stored) else None


def adopt(request: Request, found: Fetched) -> Fetched | None:
    """Move the request's private ref to what another object's fetch has found; None if it is not there. Blocking."""
    try:
        repo = repository(request.store)
        if found.commit not in repo:
            return None
        name, hint = PRIVATE + request.uid, request.wanted.hint
        known = repo.references.get(name)
        before = str(known.target) if known is not None else ""
        if before != found.commit:
            repo.references.create(name, found.commit, force=True)
        return replace(found, before=before, is_behind=bool(hint) and hint != found.commit and hint not in repo)
    except (pygit2.GitError, OSError, KeyError, ValueError):
        return None  # the fetch has the words for a damaged store


def held(request: Request) -> Fetched | None:
    """Return the pinned commit if an earlier fetch of the object has brought it: an id names the same content for ever. Blocking."""
    try:
        repo, commit = repository(request.store), request.wanted.commit
        known = repo.references.get(PRIVATE + request.uid)
        if known is None or str(known.target) != commit or not is_whole(repo, commit):
            return None
        tree, subject, author = described(repo, commit)
        return Fetched(store=request.store, commit=commit, before=commit, tree=tree, subject=subject, author=author)
    except (pygit2.GitError, OSError, KeyError, ValueError):
        return None  # the fetch has the words for a damaged store


def _key(request: Request) -> tuple[Path, Wanted]:
    return request.store, replace(request.wanted, hint="")
