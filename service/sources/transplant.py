"""Parts of a snapshot -> objects of another store, without what the snapshot leaves out. For worker processes.

A directory that was brought over once is known by its id and costs a look, so a new revision costs what has changed in it.
"""

from collections import OrderedDict

import pygit2
from pygit2.enums import FileMode, ObjectType

from service.sources.layout import Entry
from service.sources.openrepo import SnapshotGone, open_store
from service.sources.snapshot import Snapshot
from service.sources.tree import GitTree

MOST_KNOWN = 100_000
_Known = tuple[str, str, str, str]
_known: "OrderedDict[_Known, pygit2.Oid | None]" = OrderedDict()


class Transplant:
    """One snapshot, for one store. Raises SnapshotGone, here and wherever objects of the snapshot are gone."""

    def __init__(self, snapshot: Snapshot, target: pygit2.Repository) -> None:
        self.tree = GitTree.open(snapshot)
        self._target = target
        self._source = open_store(snapshot.store_path)
        self._rules = snapshot.ignore_digest

    def file(self, path: str) -> Entry:
        """Bring a file over. Raises FileNotFoundError."""
        mode = FileMode.BLOB_EXECUTABLE if self.tree.executable(path) else FileMode.BLOB
        blob = pygit2.Oid(hex=self.tree.blob_id(path) or "")
        if blob not in self._target:
            self._target.odb.write(ObjectType.BLOB, self.tree.read(path))
        return blob, mode

    def folder(self, path: str) -> Entry | None:
        """Bring a directory over with all that is kept of it; None where that is nothing."""
        there = self.tree.folder_id(path)
        if there is None:
            raise SnapshotGone(f"the directory {path} is not in the store")
        key = (self._target.path, self._rules, path, there)
        if key not in _known or not ((oid := _known[key]) is None or oid in self._target):
            _known[key] = oid = self._brought(path)
            while len(_known) > MOST_KNOWN:
                _known.popitem(last=False)
        return None if oid is None else (oid, FileMode.TREE)

    def _brought(self, path: str) -> pygit2.Oid | None:
        builder = self._target.TreeBuilder()
        for name, kind in self.tree.list(path):
            child = f"{path}/{name}" if path else name
            entry = self.folder(child) if kind == "dir" else self.file(child)
            if entry is not None:
                builder.insert(name, *entry)
        return builder.write() if len(builder) else None
