"""A push of one file to an included repository: sluice's tree beside that of the git binary, by turns in the same run.

Makes a repository of FILES files that another one includes, changes one of them, and puts the two together in both ways: here as a worker
does it, with git by `read-tree`, `read-tree --prefix` and `write-tree`, without a work tree either. Both must come to the same tree.
Run: python -m tests.benchmarks.include [--files 100000] [--trials 15]
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import pygit2

from service.kinds.meta import ObjectKey, git_revision
from service.sources.composing import Composed, Inclusion, Recipe, compose
from service.sources.snapshot import Snapshot, changed_paths
from tests.benchmarks.fetch import CLEAN, change, git, stream


def made(folder: Path, name: str, files: int) -> Path:
    bare = folder / name
    git(folder, "init", "-q", "--bare", "-b", "main", str(bare))
    git(bare, "fast-import", "--quiet", data=b"".join(stream(files, 1)))
    return bare


def snapshot(store: Path, tree: str = "") -> Snapshot:
    commit, own = git(store, "rev-parse", "main", "main^{tree}").split() if not tree else ("0" * 40, tree)
    key = ObjectKey(group="source.toolkit.fluxcd.io", kind="GitRepository", namespace="apps", name="lib")
    revision = git_revision(commit, "main")
    return Snapshot(key=key, revision=revision, store_path=store, commit=commit, tree=own, ignore=None, ignore_files=())


def recipe(folder: Path, before: Composed | None) -> Recipe:
    fleet, lib = snapshot(folder / "fleet"), snapshot(folder / "lib")
    pruned = before.includes[0] if before is not None else None
    include = Inclusion(name="lib", snapshot=lib, from_path="", to_path="in/lib", before=pruned)
    stores = (folder / "fleet", folder / "lib")
    return Recipe(store=folder / "own", uid="u", stores=stores, commit=fleet.commit, tree=fleet.tree, includes=(include,))


def by_git(folder: Path, given: Recipe) -> str:
    """The same tree, by way of an index."""
    borrowed = ":".join(str(store / "objects") for store in given.stores)
    env = {**CLEAN, "GIT_INDEX_FILE": str(folder / "index"), "GIT_WORK_TREE": str(folder), "GIT_ALTERNATE_OBJECT_DIRECTORIES": borrowed}
    (folder / "index").unlink(missing_ok=True)
    for words in (("read-tree", given.tree), ("read-tree", "--prefix=in/lib/", given.includes[0].snapshot.tree)):
        subprocess.run(("git", *words), cwd=folder / "own", env=env, check=True)
    return subprocess.run(("git", "write-tree"), cwd=folder / "own", env=env, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--files", type=int, default=100_000)
    arguments.add_argument("--trials", type=int, default=15)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made(folder, "fleet", 1000)
        made(folder, "lib", given.files)
        pygit2.init_repository(str(folder / "own"), bare=True)
        start = time.perf_counter()
        before = compose(recipe(folder, None))
        first = (time.perf_counter() - start) * 1000
        ours, theirs, compared = [], [], []
        for number in range(given.trials):
            change(folder / "lib", number, given.files)
            now = recipe(folder, before)
            start = time.perf_counter()
            found = compose(now)
            ours.append((time.perf_counter() - start) * 1000)
            both = snapshot(folder / "own", before.tree), snapshot(folder / "own", found.tree)
            start = time.perf_counter()
            differing = changed_paths(*both)
            compared.append((time.perf_counter() - start) * 1000)
            start = time.perf_counter()
            tree = by_git(folder, now)
            theirs.append((time.perf_counter() - start) * 1000)
            assert (tree, len(differing or ())) == (found.tree, 1), "git comes to another tree"
            before = found
    one, other = statistics.median(ours), statistics.median(theirs)
    print(f"{given.files} files, load {os.getloadavg()[0]:.1f}: the first time {first:.0f} ms")
    print(f"a push of one file: {one:.1f} ms, git {other:.1f} ms, ratio {one / other:.2f}")
    print(f"which paths differ: {statistics.median(compared):.1f} ms")


if __name__ == "__main__":
    main()
