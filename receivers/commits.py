"""Commits as GitHub and those who speak its language list them: ids, and the files that a push changed.

In: the JSON of a push. Out: a commit id, and the changed files where the sender tells all of them.
https://docs.github.com/en/webhooks/webhook-events-and-payloads#push
"""

import re
from collections.abc import Mapping

from receivers.contract import BadPayload, GitPush
from receivers.payload import Json, flag, length_of, number_or, text, text_or, texts

MOST_COMMITS = 2048  # GitHub lists no more of one push
MOST_FILES = 300  # a commit that lists as many may have more of them
MOST_PATHS, LONGEST_PATHS = 5000, 256 * 1024  # more, or more characters in all, are of no use as a hint
_ID = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
_URLS = ("clone_url", "ssh_url", "html_url", "git_url", "git_http_url", "git_ssh_url", "svn_url", "url")


def commit_id(value: Json, *path: str | int) -> str:
    """Return the commit id at `path`; "" for the id of zeros that stands for no commit. Raises BadPayload."""
    found = text(value, *path)
    if _ID.fullmatch(found) is None:
        raise BadPayload(".".join(map(str, path)), "not a commit id: 40 or 64 hex digits are needed")
    return found if found.strip("0") else ""


def urls_of(value: Json, *path: str | int) -> tuple[str, ...]:
    """Return all addresses that the repository at `path` has, () where it has none. Raises BadPayload."""
    return tuple(dict.fromkeys(filter(None, (text_or(value, *path, name) for name in _URLS))))


def push_of(push: Json) -> GitPush:
    """Return what a push in GitHub's form says. Raises BadPayload."""
    urls = urls_of(push, "repository")
    if not urls:
        raise BadPayload("repository.clone_url", "missing: the push does not say which repository it is about")
    before, after = commit_id(push, "before"), commit_id(push, "after")
    deleted = flag(push, "deleted") or not after
    forced = flag(push, "forced")
    tells_all = bool(before) and not deleted and _tells_forced(push) and not forced
    return GitPush(
        urls=urls,
        ref=text(push, "ref"),
        before=before,
        after=after,
        deleted=deleted,
        forced=forced,
        paths=_paths_or_unknown(push, after) if tells_all else None,
        default_branch=text_or(push, "repository", "default_branch") or text_or(push, "repository", "master_branch"),
    )


def _tells_forced(push: Json) -> bool:
    """Whether the sender says if the push was forced: only then do the commits tell all that changed. Gitea and Gogs do not say."""
    return isinstance(push, Mapping) and push.get("forced") is not None


def _paths_or_unknown(push: Json, after: str) -> tuple[str, ...] | None:
    """A list of files that cannot be read is one that is not told: the push counts all the same."""
    try:
        paths = _paths(push, after)
    except BadPayload:
        return None
    return None if paths is not None and sum(map(len, paths)) > LONGEST_PATHS else paths


def _paths(push: Json, after: str) -> tuple[str, ...] | None:
    """The files of all commits, or None where some commit or file may not be listed."""
    count = length_of(push, "commits")
    if not count or count >= MOST_COMMITS or number_or(push, "total_commits", default=count) != count:
        return None
    if after not in (text_or(push, "commits", 0, "id"), text_or(push, "commits", count - 1, "id")):
        return None  # the list ends somewhere else than the push
    found: set[str] = set()
    for number in range(count):
        listed = 0
        for change in ("added", "modified", "removed"):
            files = texts(push, "commits", number, change) or ()
            found.update(files)
            listed += len(files)
        if listed == 0 or listed >= MOST_FILES:
            return None  # an empty list also means "not told": Gitea for merges and old Gogs for all
        if len(found) > MOST_PATHS:
            return None
    return tuple(sorted(found))
