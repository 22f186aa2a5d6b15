"""What consumers get of a source: a small frozen value that any process can open, and what changed between two of them.

Trees are compared by id from the top, so the cost follows the change and not the repository.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pygit2
from pygit2.enums import FileMode

from service.kinds.meta import ObjectKey, Revision
from service.sources.ignore import IGNORE_FILE, Ignore, make_ignore
from service.sources.openrepo import SnapshotGone as SnapshotGone
from service.sources.openrepo import open_store
from service.sources.treediff import TooMuch, differing

FILES = frozenset({FileMode.BLOB, FileMode.BLOB_EXECUTABLE, 0o100664})
FEW_CHANGES = 1000
IgnoreFiles = tuple[tuple[str, str], ...]
"""(directory, blob id) of each .sourceignore; the root is ""."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One revision of a source. `tree` is the root tree in the store; `ignore` is spec.ignore; `whole`: nothing is left out of it.

    `only`: the directories outside of which nothing is in; () where all is.
    """

    key: ObjectKey
    revision: Revision
    store_path: Path
    commit: str
    tree: str
    ignore: str | None
    ignore_files: IgnoreFiles
    subject: str = ""
    author: str = ""
    url: str = ""
    whole: bool = False
    only: tuple[str, ...] = ()

    @classmethod
    def of_tree(cls, key: ObjectKey, revision: Revision, store: Path, tree: str) -> "Snapshot":
        """A tree that no commit of others stands behind, and of which nothing is left out."""
        return cls(key=key, revision=revision, store_path=store, commit=tree, tree=tree, ignore=None, ignore_files=(), whole=True)

    @property
    def commit_url(self) -> str:
        """Where a person can look at the commit, by the form that GitHub, GitLab and Gitea share; "" where the URL cannot be shown."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            return ""
        return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('.git')}/commit/{self.commit}"

    @property
    def ignore_digest(self) -> str:
        """A hash of all that decides which paths are left out."""
        rules = (self.ignore, self.ignore_files, self.only) if self.only else (self.ignore, self.ignore_files)
        return hashlib.sha256(repr(rules).encode()).hexdigest()


def is_there(snapshot: Snapshot) -> bool:
    """Whether the store still has the tree of a snapshot."""
    try:
        return snapshot.tree in open_store(snapshot.store_path)
    except (SnapshotGone, pygit2.GitError):
        return False


def ignore_of(snapshot: Snapshot) -> Ignore:
    """Return the rules of a snapshot. Raises SnapshotGone."""
    if snapshot.whole:
        return Ignore([])
    repo = open_store(snapshot.store_path)
    try:
        files = [(folder, repo[blob].peel(pygit2.Blob).data.decode(errors="surrogateescape")) for folder, blob in snapshot.ignore_files]
    except (KeyError, pygit2.GitError) as error:
        raise SnapshotGone(f"{snapshot.key} {snapshot.revision}: its objects are not in the store") from error
    return make_ignore(files, snapshot.ignore, snapshot.only)


def changed_paths(old: Snapshot, new: Snapshot) -> tuple[str, ...] | None:
    """Return the files that differ between two snapshots of one source, sorted; None where that is not known, so that all may differ.

    A rename is its old and its new path. Paths that are left out, and names that are not UTF-8, are not there. Raises SnapshotGone.
    """
    if old.tree == new.tree and old.ignore_digest == new.ignore_digest:
        return ()
    if old.ignore_digest != new.ignore_digest:
        return None
    found = _differing(new.store_path, old.tree, new.tree)
    if found is None or not found:
        return found
    ignore = ignore_of(new)
    return tuple(path for path in found if not ignore.ignored(path, False))


def touched(old: Snapshot, new: Snapshot) -> frozenset[str] | None:
    """Return `changed_paths` and all directories above them ("" is the root); None where everything may differ. Raises SnapshotGone."""
    changed = changed_paths(old, new)
    return None if changed is None else frozenset(with_folders(changed))


def with_folders(paths: Iterable[str]) -> set[str]:
    """Return the paths and every directory above them."""
    found: set[str] = set()
    for path in paths:
        while path not in found:
            found.add(path)
            path = path.rpartition("/")[0]
    return found


def _differing(store: Path, old: str, new: str, most: int | None = None) -> tuple[str, ...] | None:
    repo = open_store(store)
    if old not in repo:
        return None  # the store was made anew since
    try:
        return differing(repo, old, new, most=most)
    except KeyError as error:
        raise SnapshotGone(f"tree {new} is not in the store") from error


def ignore_files(store: Path, tree: str) -> IgnoreFiles:
    """Return all .sourceignore files of a tree by a full walk: work for a worker process. Raises SnapshotGone."""
    repo = open_store(store)
    found: list[tuple[str, str]] = []

    def walk(folder: pygit2.Tree, path: str) -> None:
        for entry in folder:
            if entry.filemode == FileMode.TREE:
                try:
                    name = entry.raw_name.decode() if entry.raw_name else ""
                except UnicodeDecodeError:
                    continue
                if name != ".git":
                    walk(entry.peel(pygit2.Tree), f"{path}/{name}" if path else name)
            elif entry.raw_name == IGNORE_FILE.encode() and entry.filemode in FILES:
                found.append((path, str(entry.id)))

    try:
        walk(repo[tree].peel(pygit2.Tree), "")
    except (KeyError, pygit2.GitError) as error:
        raise SnapshotGone(f"tree {tree} is not in the store") from error
    return tuple(sorted(found))


def moved_ignore_files(store: Path, old: str, files: IgnoreFiles, new: str) -> IgnoreFiles | None:
    """Return the .sourceignore files of tree `new` from those of `old`, at the cost of the change.

    None where `old` is not there or so much has changed that a full walk, in a worker, is the better way.
    """
    try:
        changed = _differing(store, old, new, FEW_CHANGES)
    except TooMuch:
        return None
    if changed is None:
        return None
    folders = {path.rpartition("/")[0] for path in changed if path.rpartition("/")[2] == IGNORE_FILE}
    if not folders:
        return files
    root = open_store(store)[new].peel(pygit2.Tree)
    found = {folder: blob for folder, blob in files if folder not in folders}
    for folder in folders:
        path = f"{folder}/{IGNORE_FILE}" if folder else IGNORE_FILE
        if path in root and root[path].filemode in FILES:
            found[folder] = str(root[path].id)
    return tuple(sorted(found.items()))
