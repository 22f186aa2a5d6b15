"""Opened stores of this process, a few at a time. A repository that is made anew under the same name is opened anew.

New packs need nothing: libgit2 looks again for packs when an object is missing. After any change of packs a store is opened anew all the
same, so that nobody goes on with a list of packs that have been put together since. A store may borrow: it reads what it lacks from other
stores beside it, as Git's alternates do, but only where it is read; whoever packs or fetches sees what is its own.
"""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pygit2
from pygit2.enums import RepositoryOpenFlag

MOST_OPEN = 8
CACHE_BYTES = 16 * 2**20
"""What libgit2 keeps of read objects in a process; its own bound is 256 MiB."""
MOST_BORROWED = 128
_BORROWED = "sluice-borrowed"
_opened: "OrderedDict[tuple[object, ...], pygit2.Repository]" = OrderedDict()
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


def borrowed(store: Path) -> tuple[Path, ...]:
    """Return the stores that a store borrows from, as far as they are there."""
    try:
        names = (store / _BORROWED).read_text().split()
    except FileNotFoundError:
        return ()
    return tuple(path for path in (store.with_name(name) for name in names) if path.is_dir())


def borrow(store: Path, others: Iterable[Path]) -> None:
    """Let a store borrow from others beside it, and from those that they borrow from; the latest are kept. Raises OSError."""
    wanted = (found for other in others for found in (other, *borrowed(other)) if found != store)
    before = borrowed(store)
    after = tuple(dict.fromkeys((*wanted, *before)))[:MOST_BORROWED]
    if after != before:
        draft = store / f"{_BORROWED}.{secrets.token_hex(4)}"
        draft.write_text("".join(f"{path.name}\n" for path in after))
        draft.replace(store / _BORROWED)


def open_store(path: Path) -> pygit2.Repository:
    """Return the store at `path`, for use in the calling thread, with what it borrows. Raises SnapshotGone."""
    try:
        others = borrowed(path)
        packs = tuple((store / "objects" / "pack").stat().st_mtime_ns for store in (path, *others))
        key = (path, path.stat().st_ino, others, packs, threading.get_ident())
        with _lock:
            found = _opened.pop(key, None)
            if found is None:
                found = repository(path)
                for store in others:
                    found.odb.add_disk_alternate(str(store / "objects"))
            _opened[key] = found
            while len(_opened) > MOST_OPEN:
                _opened.popitem(last=False)
        return found
    except (OSError, pygit2.GitError) as error:
        raise SnapshotGone(f"the store {path.name} is gone") from error
