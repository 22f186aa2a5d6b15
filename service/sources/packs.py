"""Many small packs and loose objects of a store -> one pack: each pack costs every later fetch a look (18 ms at 275 packs).

At a quiet moment. No object is dropped: the one pack holds them all, so that older trees can still be compared. What it replaces is removed
later, when no reader that opened the store before can still want it.
"""

import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Literal

from service.sources.openrepo import repository

MANY = 64
_SAMPLE = "17"
MANY_OF_A_SAMPLE = 4
"""Loose objects lie in 256 folders by the first byte of their id, so this many in one of them are about 1,000 in all."""
READERS_GONE_AFTER = timedelta(minutes=15)
_DRAFTS = "*_git2_*"
_REPLACED = "sluice-replaced-packs"
_REST = 38  # the letters of an id without its first two


def todo(store: Path) -> Literal["pack", "drop"] | None:
    """Return what a store needs now. Cheap."""
    try:
        note = store / _REPLACED
        if note.exists():
            return "drop" if time.time() - note.stat().st_mtime > READERS_GONE_AFTER.total_seconds() else None
        many_loose = len(list((store / "objects" / _SAMPLE).glob("*"))) >= MANY_OF_A_SAMPLE
        return "pack" if many_loose or len(list((store / "objects" / "pack").glob("*.pack"))) >= MANY else None
    except OSError:
        return None


def pack(store: Path) -> None:
    """Put all objects into one pack beside the others: work for a worker. A kill leaves a complete store. Raises OSError, GitError."""
    folder = store / "objects" / "pack"
    before = sorted(path.name for path in folder.glob("*.pack"))
    loose = sorted(f"{path.parent.name}/{path.name}" for path in (store / "objects").glob("[0-9a-f][0-9a-f]/*") if len(path.name) == _REST)
    made = _packed(store, folder)
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


def _packed(store: Path, folder: Path) -> str:
    """Write the one pack; returns its name, which may be that of a pack that was there."""
    with tempfile.TemporaryDirectory(dir=store, prefix="packing-") as draft:
        repository(store).pack(path=draft, n_threads=1)
        index = next(Path(draft).glob("*.idx"))
        for made in (index.with_suffix(".pack"), index):  # the index last: it is what makes a pack known
            made.replace(folder / made.name)
        return index.with_suffix(".pack").name
