"""Objects of a small pack -> into the store, whole or not at all: a commit with everything that its tree leads to.

In: the objects of a pack, the commit wanted, a commit of the store. Out: loose objects, each written after what it leads to, so that
a tree in the store is a whole tree, also after a kill. What the commit does not lead to is left out. Blocking, of the order of 1 ms.
"""

import secrets
import time
from collections.abc import Mapping
from pathlib import Path

import pygit2

from service.sources.depth import PRIVATE
from service.sources.packread import BLOB, COMMIT, TREE, BadPack, Object, TooBig
from service.sources.treediff import stretches

_FOLDER, _SUBMODULE = b"40000", b"160000"
_DEEPEST = 100
LARGEST = 2**24
"""Bytes of a commit or a folder."""


def stored(repo: pygit2.Repository, id_: bytes, most: int) -> Object | None:
    """Return an object of the store; None if it is not there. Raises TooBig past `most` bytes."""
    name = id_.hex()
    if name not in repo:
        return None
    if repo.odb.read_header(name)[1] > most:
        raise TooBig("it changes a large object")
    kind, data = repo.read(name)
    return Object(int(kind), data)


def land(repo: pygit2.Repository, objects: Mapping[bytes, Object], commit: str, *, beside: str = "") -> None:
    """Write `commit` and its tree into the store, as far as they are not there. `beside` is a commit there, to compare with.

    Raises BadPack if anything is missing; then nothing has been written.
    """
    id_ = bytes.fromhex(commit)
    found = stored(repo, id_, most=LARGEST) if commit in repo else objects.get(id_)
    if found is None or found.type != COMMIT:
        raise BadPack("it does not hold the commit")
    tree = _tree_of(found)
    landing = _Landing(repo, objects)
    landing.tree(tree, _tree_of(stored(repo, bytes.fromhex(beside), LARGEST)) if beside and beside in repo else None, 0)
    if commit not in repo:
        landing.order.append((id_, found))
    for name, each in landing.order:
        if repo.write(each.type, each.data).raw != name:
            raise BadPack("an object is not what its id says")
        time.sleep(0)  # each write holds the interpreter, for 0.2 to 1 ms: others may run in between


def is_whole(repo: pygit2.Repository, commit: str) -> bool:
    """Whether the store holds a commit with its tree: trees are written whole, so the root stands for all of it."""
    if commit not in repo:
        return False
    found = stored(repo, bytes.fromhex(commit), most=LARGEST)
    return found is not None and found.type == COMMIT and _tree_of(found).hex() in repo


def admit(repo: pygit2.Repository, commit: str) -> None:
    """Say that the store has nothing behind a commit, unless its parents are the tips of private refs, which are whole."""
    tips = {repo.references[name].target for name in repo.references if name.startswith(PRIVATE)}
    parents = repo[commit].peel(pygit2.Commit).parent_ids
    known = shallow(repo)
    if commit in known or all(parent in tips for parent in parents):
        return
    file = _shallow_file(repo)
    draft = file.with_name(f"shallow.{secrets.token_hex(4)}")
    draft.write_text("".join(f"{each}\n" for each in (*known, commit)))
    draft.replace(file)


def shallow(repo: pygit2.Repository) -> tuple[str, ...]:
    """Return the commits behind which the store says that it has nothing."""
    try:
        return tuple(_shallow_file(repo).read_text().split())
    except FileNotFoundError:
        return ()


def _shallow_file(repo: pygit2.Repository) -> Path:
    return Path(repo.path) / "shallow"


def _tree_of(commit: Object | None) -> bytes:
    first = b"" if commit is None else commit.data.partition(b"\n")[0]
    try:
        id_ = bytes.fromhex(first.removeprefix(b"tree ").decode("ascii"))
    except ValueError:
        id_ = b""
    if not first.startswith(b"tree ") or len(id_) != 20:
        raise BadPack("a commit without a tree")
    return id_


class _Landing:
    """Walks what is new of a tree; `order` is what to write, each object after those that it leads to."""

    def __init__(self, repo: pygit2.Repository, objects: Mapping[bytes, Object]) -> None:
        self._repo, self._objects = repo, objects
        self._seen: set[bytes] = set()
        self.order: list[tuple[bytes, Object]] = []

    def tree(self, id_: bytes, old: bytes | None, depth: int) -> None:
        """Note a tree and all below it that the store lacks; `old` is the tree that stood here before. Raises BadPack."""
        if id_ == old or id_ in self._seen:
            return
        found = self._objects.get(id_)  # asked first: the store looks at its disk again for each object that it lacks
        if found is None and id_.hex() in self._repo:
            return
        if found is None or found.type != TREE or depth > _DEEPEST:
            raise BadPack("a folder is missing")
        before = stored(self._repo, old, LARGEST) if old is not None else None
        try:
            gone, new = stretches(before.data if before is not None else b"", found.data)
        except KeyError as error:
            raise BadPack("a folder is none") from error
        for name, (mode, child) in new.items():
            if mode == _FOLDER:
                was = gone.get(name)
                self.tree(child, was[1] if was is not None and was[0] == _FOLDER else None, depth + 1)
            elif mode != _SUBMODULE:
                self._blob(child)
        self._seen.add(id_)
        self.order.append((id_, found))

    def _blob(self, id_: bytes) -> None:
        if id_ in self._seen:
            return
        found = self._objects.get(id_)
        if found is None and id_.hex() in self._repo:
            return
        if found is None or found.type != BLOB:
            raise BadPack("a file is missing")
        self._seen.add(id_)
        self.order.append((id_, found))
