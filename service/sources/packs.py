"""Many small packs and loose objects of a store -> one pack: each pack costs every later fetch a look (18 ms at 275 packs).

At a quiet moment. No object is dropped while a store is small, so that older trees can still be compared: the one pack holds them all. One
that has grown to three times what its refs lead to keeps just that. What is replaced is removed later, when no reader that opened the store
before can still want it.
"""

import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pygit2
from pygit2.enums import ObjectType

from service.sources.openrepo import repository

MANY = 64
_SAMPLE = "17"
MANY_OF_A_SAMPLE = 4
"""Loose objects lie in 256 folders by the first byte of their id, so this many in one of them are about 1,000 in all."""
SMALL_BYTES = 256 * 2**20
GROWN = 3
READERS_GONE_AFTER = timedelta(minutes=15)
_DRAFTS = "*_git2_*"
_REPLACED = "sluice-replaced-packs"
_TRIMMED = "sluice-trimmed-bytes"
_REST = 38  # the letters of an id without its first two


def todo(store: Path) -> Literal["pack", "drop"] | None:
    """Return what a store needs now. Cheap."""
    try:
        note = store / _REPLACED
        if note.exists():
            return "drop" if time.time() - note.stat().st_mtime > READERS_GONE_AFTER.total_seconds() else None
        many_loose = len(list((store / "objects" / _SAMPLE).glob("*"))) >= MANY_OF_A_SAMPLE
        many = many_loose or len(list((store / "objects" / "pack").glob("*.pack"))) >= MANY
        return "pack" if many or _has_grown(store) else None
    except OSError:
        return None


def pack(store: Path) -> None:
    """Put the objects into one pack beside the others: work for a worker. A kill leaves a complete store. Raises OSError, GitError."""
    folder = store / "objects" / "pack"
    before = sorted(path.name for path in folder.glob("*.pack"))
    loose = sorted(f"{path.parent.name}/{path.name}" for path in (store / "objects").glob("[0-9a-f][0-9a-f]/*") if len(path.name) == _REST)
    trims = _has_grown(store)
    made = _packed(store, folder, only_reachable=trims)
    if trims:
        (store / _TRIMMED).write_text(str((folder / made).stat().st_size))
    draft = store / f"{_REPLACED}.draft"
    draft.write_text("\n".join([*(name for name in before if name != made), *loose]))
    draft.replace(store / _REPLACED)


def drop(store: Path) -> None:
    """Remove the packs and loose objects that `pack` has replaced. Nobody may fetch into the store meanwhile. Raises OSError."""
    note = store / _REPLACED
    for name in note.read_text().split():
        if "/" in name:
            (store / "objects" / name).unlink(missing_ok=True)
            continue
        for suffix in (".idx", ".pack"):  # the index first: without it nobody looks into the pack
            (store / "objects" / "pack" / name).with_suffix(suffix).unlink(missing_ok=True)
    note.unlink()


def drop_drafts(store: Path) -> None:
    """Remove what libgit2 was writing when a fetch was broken off, and would stay for ever. Nobody may fetch into the store meanwhile."""
    for folder in (store / "objects", store / "objects" / "pack"):
        for draft in folder.glob(_DRAFTS):
            draft.unlink(missing_ok=True)


def _has_grown(store: Path) -> bool:
    try:
        needed = int((store / _TRIMMED).read_text())
    except (OSError, ValueError):
        needed = 0
    held = sum(path.stat().st_size for path in (store / "objects" / "pack").glob("*.pack"))
    return held > max(SMALL_BYTES, GROWN * needed)


def _reachable(builder: pygit2.PackBuilder, repo: pygit2.Repository) -> None:
    """All that the refs lead to, through the commits that the store admits to."""
    tips = {repo.references[name].peel().id for name in repo.references}
    for tip in tips:
        if repo[tip].type != ObjectType.COMMIT:
            builder.add_recur(tip)
            continue
        for commit in repo.walk(tip):
            builder.add_recur(commit.id)


def _packed(store: Path, folder: Path, *, only_reachable: bool) -> str:
    """Write the one pack; returns its name, which may be that of a pack that was there."""
    repo = repository(store)
    with tempfile.TemporaryDirectory(dir=store, prefix="packing-") as draft:
        chosen = (lambda builder: _reachable(builder, repo)) if only_reachable else None
        repo.pack(path=draft, pack_delegate=chosen, n_threads=1)
        index = next(Path(draft).glob("*.idx"))
        for made in (index.with_suffix(".pack"), index):  # the index last: it is what makes a pack known
            made.replace(folder / made.name)
        return index.with_suffix(".pack").name
