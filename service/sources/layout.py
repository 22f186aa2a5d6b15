"""A Git tree that is being put together: files and whole directories by their ids in, a tree in the store out.

A directory that is put in as a whole is opened only where something else lies in it, so the work is that of the places, not of the files.
"""

from dataclasses import dataclass, field

import pygit2
from pygit2.enums import FileMode

Entry = tuple[pygit2.Oid, FileMode]
Node = dict[str, "Node"] | Entry
Folder = dict[str, Node]


@dataclass(slots=True)
class Layout:
    """`repo` is the store that holds the objects and gets the trees. Paths are POSIX, without `.` and `..`; "" is the root."""

    repo: pygit2.Repository
    _root: Folder = field(default_factory=dict)

    def entry(self, path: str) -> Entry | None:
        """The file at a path; None for a directory, and for nothing."""
        folder, _, name = path.rpartition("/")
        inside = self._folder(folder)
        node = inside.get(name) if inside is not None else None
        return node if isinstance(node, tuple) and node[1] != FileMode.TREE else None

    def is_folder(self, path: str) -> bool:
        """Whether there is a directory."""
        return self._folder(path) is not None

    def place(self, path: str, entry: Entry) -> None:
        """Put in a file, or a directory over what is there: equal paths are replaced, the rest of both stays."""
        if entry[1] == FileMode.TREE:
            self._overlay(path, entry)
            return
        folder, _, name = path.rpartition("/")
        self._made(folder)[name] = entry

    def write(self) -> pygit2.Oid:
        """Write the trees that are not in the store yet and return the root's id."""
        return _written(self.repo, self._root)

    def _overlay(self, path: str, entry: Entry) -> None:
        above, _, name = path.rpartition("/")
        if path and not self.is_folder(path):
            self._made(above)[name] = entry
            return
        for each in self.repo[entry[0]].peel(pygit2.Tree):
            self.place(f"{path}/{each.name}" if path else str(each.name), (each.id, FileMode(each.filemode)))

    def _folder(self, path: str) -> Folder | None:
        """The directory at a path, opened; None where there is none."""
        here = self._root
        for name in path.split("/") if path else ():
            inner = self._opened(here, name)
            if inner is None:
                return None
            here = inner
        return here

    def _made(self, path: str) -> Folder:
        """The same, made where there is none; a file on the way gives place."""
        here = self._root
        for name in path.split("/") if path else ():
            inner = self._opened(here, name)
            if inner is None:
                inner = here[name] = {}
            here = inner
        return here

    def _opened(self, folder: Folder, name: str) -> Folder | None:
        node = folder.get(name)
        if isinstance(node, tuple):
            if node[1] != FileMode.TREE:
                return None
            node = folder[name] = {str(each.name): (each.id, FileMode(each.filemode)) for each in self.repo[node[0]].peel(pygit2.Tree)}
        return node


def _written(repo: pygit2.Repository, folder: Folder) -> pygit2.Oid:
    builder = repo.TreeBuilder()
    for name, node in folder.items():
        if isinstance(node, dict):
            builder.insert(name, _written(repo, node), FileMode.TREE)
        else:
            builder.insert(name, *node)
    return builder.write()
