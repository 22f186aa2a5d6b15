"""Opened stores of this process, a few at a time. A repository that is made anew under the same name is opened anew.

New packs need nothing: libgit2 looks again for packs when an object is missing. After any change of packs a store is opened anew all the
same, so that nobody goes on with a list of packs that have been put together since.
"""

import threading
from collections import OrderedDict
from functools import cache
from pathlib import Path

import pygit2
from pygit2.enums import RepositoryOpenFlag

MOST_OPEN = 8
CACHE_BYTES = 16 * 2**20
"""What libgit2 keeps of read objects in a process; its own bound is 256 MiB."""
_opened: "OrderedDict[tuple[str, int, int, int], pygit2.Repository]" = OrderedDict()
_lock = threading.Lock()


class SnapshotGone(Exception):
    """The objects of a snapshot are not in the store any more: a newer snapshot is there, or the source was deleted."""


def repository(path: Path) -> pygit2.Repository:
    """Return the store at exactly this path, opened anew. Raises pygit2.GitError.

    By default libgit2 looks in the folders above too: a damaged store inside of somebody's working copy would lead to theirs.
    """
    _bound_cache()
    return pygit2.Repository(str(path), RepositoryOpenFlag.NO_SEARCH | RepositoryOpenFlag.BARE)


@cache
def _bound_cache() -> None:
    pygit2.settings.cache_max_size(CACHE_BYTES)


def open_store(path: Path) -> pygit2.Repository:
    """Return the store at `path`, for use in the calling thread. Raises SnapshotGone."""
    try:
        stat = path.stat()
        packs = (path / "objects" / "pack").stat().st_mtime_ns
        key = (str(path), stat.st_ino, packs, threading.get_ident())
        with _lock:
            found = _opened.pop(key, None)
            if found is None:
                found = repository(path)
            _opened[key] = found
            while len(_opened) > MOST_OPEN:
                _opened.popitem(last=False)
        return found
    except (OSError, pygit2.GitError) as error:
        raise SnapshotGone(f"the store {path.name} is gone") from error
