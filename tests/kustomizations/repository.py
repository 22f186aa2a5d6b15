"""A bare repository made of dictionaries, without a work tree: a commit takes a millisecond."""

from collections.abc import Mapping
from pathlib import Path

import pygit2

AUTHOR = pygit2.Signature("Ada Tester", "ada@example.com")


class Repository:
    """`files` is what stands at the head of main."""

    def __init__(self, path: Path) -> None:
        self._git = pygit2.init_repository(str(path), bare=True, initial_head="main")
        self.files: dict[str, str] = {}
        self.modes: dict[str, pygit2.enums.FileMode] = {}  # of what is not a plain file; a link's text is its target
        self.head = ""

    def commit(self, changes: Mapping[str, str | None], *, subject: str = "Change") -> str:
        """Write files (None deletes), as a child of the head; returns the commit."""
        for path, text in changes.items():
            if text is None:
                del self.files[path]
            else:
                self.files[path] = text
        parents = [pygit2.Oid(hex=self.head)] if self.head else []
        self.head = str(self._git.create_commit(None, AUTHOR, AUTHOR, subject, self._tree(self.files), parents))
        self.point(self.head)
        return self.head

    def replace(self, files: Mapping[str, str]) -> str:
        """Commit exactly these files."""
        self.files = {}
        return self.commit(files)

    def point(self, commit: str) -> None:
        """Put main at a commit, as a forced push does. (`files` stay as they were.)"""
        self._git.references.create("refs/heads/main", pygit2.Oid(hex=commit), force=True)

    def _tree(self, files: Mapping[str, str]) -> pygit2.Oid:
        index = pygit2.Index()
        for path, text in files.items():
            mode = self.modes.get(path, pygit2.enums.FileMode.BLOB)
            index.add(pygit2.IndexEntry(path, self._git.create_blob(text.encode()), mode))
        return index.write_tree(self._git)
