"""A snapshot as the tree that builds read: straight from Git's objects, without what Flux's artifact would not hold.

Not there: what .sourceignore and spec.ignore leave out, symbolic links (Flux drops them), gitlinks, names that are not UTF-8 (they
cannot be named in YAML; `skipped` counts them). Opened from a Snapshot in any process.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

import pygit2
from pygit2.enums import FileMode

from service.sources import loose
from service.sources.ignore import Ignore
from service.sources.openrepo import SnapshotGone, open_store
from service.sources.snapshot import FILES, Snapshot, ignore_of

Kind = Literal["file", "dir"]


class GitTree:
    """Implements the Tree of the kustomize engine over one tree id. Paths are POSIX, relative to the root "", normalised."""

    def __init__(self, repo: pygit2.Repository, tree_id: str, ignore: Ignore) -> None:
        """Raises SnapshotGone if the tree is not in the repository."""
        self._repo = repo
        self._ignore = ignore
        self._folders: dict[str, pygit2.Tree | None] = {}
        self.skipped = 0
        """Entries seen so far whose names are not UTF-8."""
        try:
            self._folders[""] = repo[tree_id].peel(pygit2.Tree)
        except (KeyError, pygit2.GitError) as error:
            raise SnapshotGone(f"tree {tree_id} is not in the store") from error
        self._kept: dict[str, bool] = {"": True}

    @classmethod
    def open(cls, snapshot: Snapshot) -> "GitTree":
        """Return the tree of a snapshot. Raises SnapshotGone."""
        return cls(open_store(snapshot.store_path), snapshot.tree, ignore_of(snapshot))

    def kind(self, path: str) -> Kind | None:
        """Return what stands at the path."""
        if not path:
            return "dir"
        found = self._entry(path)
        if found is None:
            return None
        if found.filemode == FileMode.TREE:
            return "dir" if self._is_kept(path) else None
        return None if self._ignore.ignored(path, False) else "file"

    def read(self, path: str) -> bytes:
        """Return the content of a file. Raises FileNotFoundError, and SnapshotGone where the store has lost it."""
        entry = self._file(path)
        try:
            return entry.peel(pygit2.Blob).data
        except (KeyError, pygit2.GitError) as error:
            raise SnapshotGone(f"the content of {path} is not in the store") from error

    def stream(self, path: str) -> tuple[int, BinaryIO]:
        """Return the size of a file and its content, which is not held where it is large. Raises as `read`, and OSError."""
        found = loose.opened(Path(self._repo.path), str(self._file(path).id))
        if found is not None:
            return found
        content = self.read(path)
        return len(content), io.BytesIO(content)

    def blob_id(self, path: str) -> str | None:
        """Return Git's id of a file's content, None where there is no file."""
        try:
            return str(self._file(path).id)
        except FileNotFoundError:
            return None

    def folder_id(self, path: str) -> str | None:
        """Return Git's id of a directory with all that is in it, left out or not; None where there is none."""
        found = self._folder(path)
        return None if found is None else str(found.id)

    def executable(self, path: str) -> bool:
        """Return whether a file may be run. Raises FileNotFoundError."""
        return self._file(path).filemode == FileMode.BLOB_EXECUTABLE

    def list(self, path: str) -> tuple[tuple[str, Kind], ...]:
        """Return names and kinds in a directory, sorted by name; () where there is none."""
        return tuple(self._list(path))

    def _list(self, path: str) -> Iterator[tuple[str, Kind]]:
        folder = self._folder(path)
        for name in sorted(self._names(folder)) if folder is not None else ():
            kind = self.kind(f"{path}/{name}" if path else name)
            if kind is not None:
                yield name, kind

    def _names(self, folder: pygit2.Tree) -> Iterator[str]:
        for entry in folder:
            try:
                yield (entry.raw_name or b"").decode()
            except UnicodeDecodeError:
                self.skipped += 1

    def _file(self, path: str) -> pygit2.Object:
        found = self._entry(path) if path else None
        if found is None or found.filemode == FileMode.TREE or self._ignore.ignored(path, False):
            raise FileNotFoundError(path)
        return found

    def _entry(self, path: str) -> pygit2.Object | None:
        """What Git has at the path, left out or not; None for what is neither a file nor a directory."""
        folder, _, name = path.rpartition("/")
        tree = self._folder(folder)
        if tree is None or name in ("", ".", "..") or name not in tree:  # a tree made by hand could hold such names
            return None
        found = tree[name]
        return found if found.filemode == FileMode.TREE or found.filemode in FILES else None

    def _folder(self, path: str) -> pygit2.Tree | None:
        """The directory at the path, left out or not."""
        if path not in self._folders:
            found = self._entry(path)
            try:
                self._folders[path] = found.peel(pygit2.Tree) if found is not None and found.filemode == FileMode.TREE else None
            except (KeyError, pygit2.GitError) as error:
                raise SnapshotGone(f"the directory {path} is not in the store") from error
        return self._folders[path]

    def _is_kept(self, folder: str) -> bool:
        """A directory is there if no pattern leaves it out, or if something below it was taken back in."""
        known = self._kept.get(folder)
        if known is None:
            known = not self._ignore.ignored(folder, True)
            if not known and self._ignore.can_keep:
                known = any(True for _ in self._list(folder))
            self._kept[folder] = known
        return known


def walk(tree: GitTree, path: str = "") -> Iterator[tuple[str, bool]]:
    """Yield (path, is directory) of all below a directory, sorted as Go's filepath.Walk does it: parents first, names in order."""
    for name, kind in tree.list(path):
        child = f"{path}/{name}" if path else name
        yield child, kind == "dir"
        if kind == "dir":
            yield from walk(tree, child)
