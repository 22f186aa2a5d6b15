"""spec.sparseCheckout: directories in, checked ones out, and what of a tree's .sourceignore files counts then.

All of a commit is fetched, as with Flux; the artifact and builds see only what is below the directories. A .sourceignore elsewhere does
not count, since Flux does not check it out. https://fluxcd.io/flux/components/source/gitrepositories/#sparse-checkout
"""

import posixpath
from collections.abc import Sequence
from pathlib import Path

import pygit2
from pygit2.enums import FileMode

from service.sources.openrepo import SnapshotGone, open_store
from service.sources.snapshot import IgnoreFiles


class BadSparse(ValueError):
    """spec.sparseCheckout names what cannot be a directory of a repository."""


def folders_of(given: Sequence[str]) -> tuple[str, ...]:
    """Return the directories, relative to the root, sorted, none twice; () where the root is one of them. Raises BadSparse."""
    found = set()
    for each in given:
        path = posixpath.normpath(each.strip("/") or ".")
        if path == ".." or path.startswith("../") or any(ord(letter) < 32 for letter in path):
            raise BadSparse(f"spec.sparseCheckout: '{each}' is not a directory inside of the repository")
        found.add(path)
    return () if "." in found else tuple(sorted(found))


def missing(store: Path, tree: str, folders: Sequence[str]) -> str:
    """Return the first of the directories that a tree does not have, or "". Blocking. Raises SnapshotGone."""
    try:
        root = open_store(store)[tree].peel(pygit2.Tree)
        return next((each for each in folders if each not in root or root[each].filemode != FileMode.TREE), "")
    except (KeyError, pygit2.GitError) as error:
        raise SnapshotGone(f"tree {tree} is not in the store") from error


def below(files: IgnoreFiles, folders: Sequence[str]) -> IgnoreFiles:
    """Return the .sourceignore files inside of the directories; all of them where there are no directories."""
    return tuple(each for each in files if not folders or any(f"{each[0]}/".startswith(f"{folder}/") for folder in folders))
