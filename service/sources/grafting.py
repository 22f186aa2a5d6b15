"""Trees put together: a root tree and what stands where in it, in; the id of the whole, out. No file is copied or checked out.

In: a repository that holds, or borrows, all that is grafted. Only the trees on the way to a graft are written, so what is equal keeps its
id, and a comparison of two such trees says which paths differ. https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pygit2
from pygit2.enums import FileMode

from service.sources.tree import GitTree
from service.sources.treediff import FOLDER, stretches

Entry = tuple[pygit2.Oid, FileMode]


class NoPlace(Exception):
    """A tree cannot hold what is put into it; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """A tree, and the same without what is left out of its source by the rules of `rules`."""

    tree: str
    rules: str
    kept: str


def tree_of(repo: pygit2.Repository, id_: str | pygit2.Oid) -> pygit2.Tree:
    """Return a tree. Raises KeyError where it is not there."""
    return repo[id_].peel(pygit2.Tree)


def entry_at(repo: pygit2.Repository, tree: pygit2.Tree, path: str) -> Entry | None:
    """What stands at a path, the tree itself at ""; None where there is nothing. Raises KeyError where the store has lost it."""
    if not path:
        return tree.id, FileMode.TREE
    *folders, name = path.split("/")
    for folder in folders:
        if folder not in tree or tree[folder].filemode != FileMode.TREE:
            return None
        tree = tree_of(repo, tree[folder].id)
    return (tree[name].id, FileMode(tree[name].filemode)) if name in tree else None


def grafted(repo: pygit2.Repository, tree: pygit2.Tree | None, grafts: Mapping[str, Entry]) -> pygit2.Oid:
    """Return a tree with the entries put in by their paths; one below another goes into it. Raises KeyError, NoPlace."""
    own = {path: entry for path, entry in grafts.items() if "/" not in path}
    below: dict[str, dict[str, Entry]] = {}
    for path, entry in grafts.items():
        name, _, rest = path.partition("/")
        if rest:
            below.setdefault(name, {})[rest] = entry
    try:
        builder = repo.TreeBuilder(tree) if tree is not None else repo.TreeBuilder()
        for name, entry in own.items():
            if name not in below:
                builder.insert(name, *entry)
        for name, inner in below.items():
            found = own.get(name) or (entry_at(repo, tree, name) if tree is not None else None)
            if found is not None and found[1] != FileMode.TREE:
                raise NoPlace(f"'{name}' is no directory")
            builder.insert(name, grafted(repo, tree_of(repo, found[0]) if found is not None else None, inner), FileMode.TREE)
        return builder.write()
    except pygit2.GitError as error:
        raise NoPlace(str(error)) from error


def pruned(repo: pygit2.Repository, view: GitTree, path: str, tree: str, before: Pruned | None) -> str:
    """Return the tree at a path of a source, without what is left out of it; of `before` only what has changed is walked.

    Raises KeyError where the store has lost a part.
    """
    if before is None:
        return _pruned(repo, view, path, tree, None)
    return _pruned(repo, view, path, tree, (before.tree, before.kept))


def _pruned(repo: pygit2.Repository, view: GitTree, path: str, id_: str, before: tuple[str, str] | None) -> str:
    if before is not None and before[0] == id_:
        return before[1]
    if before is None or before[0] not in repo or before[1] not in repo:
        known, old = None, b""
    else:
        known, old = tree_of(repo, before[1]), repo.read(before[0])[1]
    gone, new = stretches(old, repo.read(id_)[1])
    builder = repo.TreeBuilder(known) if known is not None else repo.TreeBuilder()
    for raw in gone:
        name = raw.decode(errors="surrogateescape")
        if known is not None and name in known:
            builder.remove(name)
    for raw, (mode, inner) in new.items():
        try:
            name = raw.decode()
        except UnicodeDecodeError:
            continue
        child = f"{path}/{name}" if path else name
        kind = view.kind(child)
        if kind == "dir":
            kept = _pruned(repo, view, child, inner.hex(), _both(gone.get(raw), known, name))
            builder.insert(name, pygit2.Oid(hex=kept), FileMode.TREE)
        elif kind is not None:
            builder.insert(name, pygit2.Oid(raw=inner), FileMode.BLOB_EXECUTABLE if mode == b"100755" else FileMode.BLOB)
    return str(builder.write())


def _both(old: tuple[bytes, bytes] | None, known: pygit2.Tree | None, name: str) -> tuple[str, str] | None:
    """The directory of a name in a tree of before, and in what was kept of it."""
    is_folder = old is not None and old[0] == FOLDER and known is not None and name in known
    return (old[1].hex(), str(known[name].id)) if is_folder and old is not None and known is not None else None
