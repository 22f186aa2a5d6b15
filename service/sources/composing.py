"""A Git tree out of several sources: a commit's tree, its submodules and what spec.include names, in a store of the object's own.

For worker processes. The store borrows from those that hold the parts, so it only gets the trees on the way to them. What is included is
what the artifact of its source holds; where it may stand is as with Flux, which moves a folder to a path where nothing is yet.
https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/gitrepositories.md#include
"""

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pygit2
from pygit2.enums import FileMode

from service.sources.depth import PRIVATE
from service.sources.grafting import Entry, NoPlace, Pruned, entry_at, grafted, pruned, tree_of
from service.sources.openrepo import SnapshotGone, borrow, open_store
from service.sources.snapshot import Snapshot, ignore_of
from service.sources.tree import GitTree
from service.sources.treestore import NOBODY


class BadInclude(Exception):
    """What is to be included is not there, or has no place; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inclusion:
    """One of spec.include: both paths as they are written. `before` is what was included last time."""

    name: str
    snapshot: Snapshot
    from_path: str
    to_path: str
    before: Pruned | None = None

    @property
    def place(self) -> str:
        """Where it goes, relative to the root; what leads out of the root ends there."""
        return inside(self.to_path or self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is put together. `modules` are the trees of submodules by path; `only`: the directories that are checked out, () for all.

    The result is kept under the private ref `uid` of the store, with the commit that it belongs to.
    """

    store: Path
    uid: str
    stores: tuple[Path, ...]
    commit: str
    tree: str
    modules: tuple[tuple[str, str], ...] = ()
    includes: tuple[Inclusion, ...] = ()
    only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """The whole tree, and what was taken of each include."""

    tree: str
    includes: tuple[Pruned, ...]


def inside(path: str) -> str:
    """Return a path relative to the root, "" for the root itself; `..` leads no further than there."""
    return posixpath.normpath(f"/{path}").strip("/")


def compose(recipe: Recipe) -> Composed:
    """Put the tree together. Raises BadInclude, SnapshotGone where a part is not in its store, OSError."""
    borrow(recipe.store, recipe.stores)
    repo = open_store(recipe.store)
    try:
        tree = tree_of(repo, recipe.tree)
        if recipe.modules:
            entries = {path: (pygit2.Oid(hex=id_), FileMode.TREE) for path, id_ in recipe.modules}
            tree = tree_of(repo, grafted(repo, tree, entries))
        taken = []
        for each in recipe.includes:
            entry, kept = _taken(repo, each)
            tree = _included(repo, tree, each, entry, recipe.only)
            taken.append(kept)
        commit = repo.create_commit(None, NOBODY, NOBODY, recipe.commit, tree.id, [])
        repo.references.create(PRIVATE + recipe.uid, commit, force=True)
    except (KeyError, NoPlace, pygit2.GitError, ValueError) as error:
        raise SnapshotGone(f"a part of {recipe.commit} is not in the store") from error
    return Composed(tree=str(tree.id), includes=tuple(taken))


def last_composed(store: Path, uid: str) -> tuple[str, str]:
    """Return the commit and the whole tree of the last `compose`. Raises SnapshotGone."""
    try:
        found = open_store(store).references[PRIVATE + uid].peel(pygit2.Commit)
        return found.message, str(found.tree_id)
    except (KeyError, ValueError, pygit2.GitError) as error:
        raise SnapshotGone("what was put together last is not in the store") from error


def _taken(repo: pygit2.Repository, each: Inclusion) -> tuple[Entry, Pruned]:
    """What a source's artifact holds at the path. Raises BadInclude, KeyError."""
    path, source, rules = inside(each.from_path), each.snapshot, f"{each.snapshot.ignore_digest} {inside(each.from_path)}"
    view = GitTree(repo, source.tree, ignore_of(source))
    found = entry_at(repo, tree_of(repo, source.tree), path) if view.kind(path) else None
    if found is None:
        raise BadInclude(f"{_words(each)}: there is no '{path}' in it")
    if found[1] != FileMode.TREE:
        return found, Pruned(tree=str(found[0]), rules=rules, kept=str(found[0]))
    before = each.before if each.before is not None and each.before.rules == rules else None
    kept = Pruned(tree=str(found[0]), rules=rules, kept=pruned(repo, view, path, str(found[0]), before))
    return (pygit2.Oid(hex=kept.kept), FileMode.TREE), kept


def _included(repo: pygit2.Repository, tree: pygit2.Tree, each: Inclusion, entry: Entry, only: Sequence[str]) -> pygit2.Tree:
    there = entry_at(repo, tree, each.place)
    if there is not None and each.place and only and not _is_checked_out(each.place, only):
        there = None
    if there is not None and FileMode.TREE in (there[1], entry[1]):
        raise BadInclude(f"{_words(each)}: there is something at that path already")
    try:
        return tree_of(repo, grafted(repo, tree, {each.place: entry}))
    except NoPlace as error:
        raise BadInclude(f"{_words(each)}: {error}") from error


def _is_checked_out(path: str, only: Sequence[str]) -> bool:
    return any(f"{path}/".startswith(f"{folder}/") or f"{folder}/".startswith(f"{path}/") for folder in only)


def _words(each: Inclusion) -> str:
    return f"failed to copy '{each.name}' include from {each.from_path or '.'} to {each.to_path or each.name}"
