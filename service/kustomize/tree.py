"""What a build reads from: a read-only tree of files, in three forms (folder, map, and Git's objects in the sources room).

Paths are POSIX, relative to the root, normalised, the root is "". `Recording` notes everything that was read, listed or looked for and
missed, so that the caller knows exactly what a build depends on; `seen` tells what a noted key would give in another tree.
"""

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

Kind = Literal["file", "dir"]
MISSING = "-"
REMOTE = "remote"


class Tree(Protocol):
    """A read-only tree of files."""

    def kind(self, path: str) -> Kind | None:
        """Return what stands at the path, None for nothing (or something that may not be read)."""
        ...

    def read(self, path: str) -> bytes:
        """Return the content of a file. Raises FileNotFoundError."""
        ...

    def blob_id(self, path: str) -> str | None:
        """Return Git's id of the content of a file where it is known without reading, else None."""
        ...

    def list(self, path: str) -> tuple[tuple[str, Kind], ...]:
        """Return names and kinds in a directory, sorted by name; () where there is none."""
        ...


def content_id(data: bytes) -> str:
    """Return the id that Git gives to this content (SHA-1 repositories), hex."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def resolve(tree: Tree, path: str) -> str:
    """Return the path with links followed, in trees that have them (those with a method `resolve`)."""
    follow = getattr(tree, "resolve", None)
    return path if follow is None else str(follow(path))


class FolderTree:
    """A folder on disk. Links are followed as long as they stay below the root; what they name outside is not there."""

    def __init__(self, root: Path) -> None:
        self._root = os.path.realpath(root)
        self._prefix = self._root if self._root.endswith("/") else self._root + "/"
        self._plain: set[str] = set()

    def _at(self, path: str) -> str | None:
        """The real path on disk, None if it leaves the root."""
        full = self._prefix + path if path else self._root
        folder = full.rpartition("/")[0] or "/"
        if folder not in self._plain:
            if os.path.realpath(folder) != folder:
                return self._inside(full)
            self._plain.add(folder)
        try:
            linked = stat.S_ISLNK(os.lstat(full).st_mode)
        except (OSError, ValueError):
            return full
        return self._inside(full) if linked else full

    def _inside(self, full: str) -> str | None:
        real = os.path.realpath(full)
        return real if real == self._root or real.startswith(self._prefix) else None

    def resolve(self, path: str) -> str:
        """Return the path below the root with its links followed."""
        real = self._at(path)
        if real is None or real == self._root:
            return path
        return real.removeprefix(self._prefix)

    def kind(self, path: str) -> Kind | None:
        """Return what stands at the path."""
        mode = self._mode(path)
        if stat.S_ISDIR(mode):
            return "dir"
        return "file" if stat.S_ISREG(mode) else None

    def _mode(self, path: str) -> int:
        """What stands at the path once links are followed, 0 for nothing; one call to the system where it is no link."""
        full = self._prefix + path if path else self._root
        try:
            if full.rpartition("/")[0] in self._plain:
                mode = os.lstat(full).st_mode
                if not stat.S_ISLNK(mode):
                    return mode
            real = self._at(path)
            return 0 if real is None else os.stat(real).st_mode
        except (OSError, ValueError):
            return 0

    def read(self, path: str) -> bytes:
        """Return the content of a file. Raises FileNotFoundError."""
        real = self._at(path)
        if real is None:
            raise FileNotFoundError(path)
        try:
            file = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not be waited for
        except PermissionError:
            raise
        except (OSError, ValueError):
            raise FileNotFoundError(path) from None
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode):
                raise FileNotFoundError(path)
            data = os.read(file, found.st_size + 1)
            while piece := (os.read(file, 2**20) if len(data) != found.st_size else b""):
                data += piece
            return data
        finally:
            os.close(file)

    def blob_id(self, path: str) -> str | None:
        """Nothing is known of a file on disk without reading it."""
        return None

    def list(self, path: str) -> tuple[tuple[str, Kind], ...]:
        """Return names and kinds in a directory, sorted by name."""
        real = self._at(path)
        try:
            names = sorted(os.listdir(real)) if real is not None else []
        except (OSError, ValueError):
            return ()
        found = ((name, self.kind(f"{path}/{name}" if path else name)) for name in names)
        return tuple((name, kind) for name, kind in found if kind is not None)


class MapTree:
    """A map of path to content."""

    def __init__(self, files: Mapping[str, bytes | str]) -> None:
        self._files = {path: data.encode() if isinstance(data, str) else data for path, data in files.items()}
        self._folders: dict[str, dict[str, Kind]] = {"": {}}
        for path in self._files:
            kind: Kind = "file"
            while path:
                folder, _, name = path.rpartition("/")
                self._folders.setdefault(folder, {})[name] = kind
                path, kind = folder, "dir"

    def kind(self, path: str) -> Kind | None:
        """Return what stands at the path."""
        if path in self._files:
            return "file"
        return "dir" if path in self._folders else None

    def read(self, path: str) -> bytes:
        """Return the content of a file. Raises FileNotFoundError."""
        try:
            return self._files[path]
        except KeyError:
            raise FileNotFoundError(path) from None

    def blob_id(self, path: str) -> str | None:
        """Nothing is known without hashing."""
        return None

    def list(self, path: str) -> tuple[tuple[str, Kind], ...]:
        """Return names and kinds in a directory, sorted by name."""
        return tuple(sorted(self._folders.get(path, {}).items()))


class Recording:
    """A tree that notes what it was asked. `reads` maps "<op> <path>" (op: file, kind, list) to a token of what was seen.

    What was fetched from outside is there as "remote <url>"; whether that has changed can be told by nobody, see `seen`.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._remote: dict[str, bytes] = {}
        self._kinds: dict[str, str] = {}
        self.reads: dict[str, str] = {}

    def add(self, url: str, data: bytes, shown: str) -> None:
        """Take in a fetched file, which can be read under its URL from now on; `shown` is the URL without secrets."""
        self._remote[url] = data
        self.note_remote(shown, content_id(data))

    def note_remote(self, shown: str, token: str) -> None:
        """Note that something outside of the tree was read."""
        self.reads[f"{REMOTE} {shown}"] = token

    def resolve(self, path: str) -> str:
        """Return the path with its links followed. (Where a link leads is not noted: Git trees have none.)"""
        return resolve(self._tree, path)

    def kind(self, path: str) -> Kind | None:
        """Return what stands at the path, and note it; a second look sees the same."""
        key = f"kind {path}"
        known = self._kinds.get(key)
        if known is None:
            found = self._tree.kind(path)
            self.reads[key] = self._kinds[key] = found or MISSING
            return found
        return "file" if known == "file" else "dir" if known == "dir" else None

    def read(self, path: str) -> bytes:
        """Return the content of a file, and note its id. Raises FileNotFoundError, which is noted too."""
        if path in self._remote:
            return self._remote[path]
        key = f"file {path}"
        try:
            data = self._tree.read(path)
        except FileNotFoundError:
            self.reads[key] = MISSING
            raise
        if key not in self.reads:
            self.reads[key] = self._tree.blob_id(path) or content_id(data)
        return data

    def blob_id(self, path: str) -> str | None:
        """Return the content's id where it is known; whoever uses it depends on it, so it is noted."""
        if path in self._remote:
            return None
        found = self._tree.blob_id(path)
        if found is not None:
            self.reads[f"file {path}"] = found
        return found

    def list(self, path: str) -> tuple[tuple[str, Kind], ...]:
        """Return names and kinds in a directory, and note them."""
        entries = self._tree.list(path)
        self.reads[f"list {path}"] = _listing(entries)
        return entries


def _listing(entries: tuple[tuple[str, Kind], ...]) -> str:
    return hashlib.sha256("\0".join(f"{kind}/{name}" for name, kind in entries).encode("utf-8", "surrogateescape")).hexdigest()[:40]


def seen(tree: Tree, key: str) -> str:
    """Return the token that a recorded key has in another tree; reads are unchanged if and only if all tokens are equal.

    What is outside of the tree never counts as unchanged: its token is one that no reading has. Raises ValueError for a key that no
    Recording writes.
    """
    operation, _, path = key.partition(" ")
    match operation:
        case "file":
            known = tree.blob_id(path)
            if known is not None:
                return known
            try:
                return content_id(tree.read(path))
            except FileNotFoundError:
                return MISSING
        case "kind":
            return tree.kind(path) or MISSING
        case "list":
            return _listing(tree.list(path))
        case "remote":
            return "unknown"
    raise ValueError(f"{key!r} is no key of a recorded read")
