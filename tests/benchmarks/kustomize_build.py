"""How long builds take, in process and by the Go binary, in one run: `python tests/benchmarks/kustomize_build.py [--binary PATH]`.

Each tree is an overlay (prefix, namespace, labels, image, one generated ConfigMap, one patch) over a base of N Deployments, a file each.
In process: cold without a cache, and again with a parse cache after one file changed, from a folder and from Git. The binary's time
includes its start, as its users pay it; the ratio is to the cold build. Memory is the peak of a fresh process above what it held before.
Prints a table; each figure is the best of the repetitions.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pygit2
from pygit2.enums import FileMode

from service.kustomize.build import BuildOptions, build
from service.kustomize.cache import ParseCache
from service.kustomize.tree import FolderTree
from service.sources.ignore import Ignore
from service.sources.tree import GitTree

SIZES = (3, 100, 1000)
CACHE_BYTES = 32 * 2**20
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: app-{number}
  labels:
    app.kubernetes.io/name: app-{number}
spec:
  replicas: 2
  selector:
    matchLabels:
      app: app-{number}
  template:
    metadata:
      labels:
        app: app-{number}
    spec:
      serviceAccountName: runner
      containers:
      - name: main
        image: registry.example.com/app:{tag}
        args: ["--listen=:8080", "--log=json"]
        ports:
        - name: http
          containerPort: 8080
        envFrom:
        - configMapRef:
            name: settings
        resources:
          requests: {{cpu: 10m, memory: 32Mi}}
          limits: {{memory: 64Mi}}
"""
BASE = "resources:\n{resources}configMapGenerator:\n- name: settings\n  literals: [LOG=debug]\n"
OVERLAY = """\
namespace: prod
namePrefix: prod-
resources: [../base]
labels:
- pairs: {env: prod}
  includeSelectors: true
images:
- name: registry.example.com/app
  newTag: "2.0"
patches:
- target: {kind: Deployment, name: app-1}
  patch: |
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: x}
    spec: {replicas: 5}
"""
OPTIONS = BuildOptions(sort="legacy", load_restrictions="root_only")


def write_tree(folder: Path, size: int) -> None:
    """Make an overlay over a base of `size` Deployments."""
    (folder / "base").mkdir(parents=True)
    (folder / "overlay").mkdir()
    for number in range(size):
        (folder / "base" / f"app-{number}.yaml").write_text(DEPLOYMENT.format(number=number, tag="1.0"))
    resources = "".join(f"- app-{number}.yaml\n" for number in range(size))
    (folder / "base" / "kustomization.yaml").write_text(BASE.format(resources=resources))
    (folder / "overlay" / "kustomization.yaml").write_text(OVERLAY)


def best(action: Callable[[], object], repetitions: int) -> float:
    """Return the shortest time in seconds."""
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def changed_in_folder(folder: Path, repetitions: int) -> float:
    """Return the shortest time of a build after one file changed, with everything else in the parse cache."""
    cache = ParseCache(CACHE_BYTES)
    build(FolderTree(folder), "overlay", options=OPTIONS, cache=cache)
    times = []
    for repetition in range(repetitions):
        (folder / "base" / "app-0.yaml").write_text(DEPLOYMENT.format(number=0, tag=f"1.{repetition + 1}"))
        times.append(best(lambda: build(FolderTree(folder), "overlay", options=OPTIONS, cache=cache), 1))
    return min(times)


def committed(repo: pygit2.Repository, folder: Path) -> str:
    """Write a folder into a repository; returns the id of its tree."""
    builder = repo.TreeBuilder()
    for entry in folder.iterdir():
        if entry.is_dir():
            builder.insert(entry.name, committed(repo, entry), FileMode.TREE)
        else:
            builder.insert(entry.name, str(repo.create_blob(entry.read_bytes())), FileMode.BLOB)
    return str(builder.write())


def changed_in_git(folder: Path, repetitions: int) -> float:
    """The same from Git's objects, without a checkout, as the service builds: each time another tree."""
    cache = ParseCache(CACHE_BYTES)
    with tempfile.TemporaryDirectory() as store:
        repo = pygit2.init_repository(store, bare=True)
        times = []
        for repetition in range(repetitions + 1):
            (folder / "base" / "app-0.yaml").write_text(DEPLOYMENT.format(number=0, tag=f"2.{repetition}"))
            tree = committed(repo, folder)
            times.append(best(lambda tree=tree: build(GitTree(repo, tree, Ignore([])), "overlay", options=OPTIONS, cache=cache), 1))  # type: ignore[misc]
    return min(times[1:])


def peak_kib() -> int:
    """Return the most memory that this process has held since it started its program (ru_maxrss would count its parent's)."""
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))


def measure_memory(folder: str) -> None:
    """In a fresh process: print the KiB that one cold build with a parse cache has added to what was held before."""
    idle = peak_kib()
    build(FolderTree(Path(folder)), "overlay", options=OPTIONS, cache=ParseCache(CACHE_BYTES))
    print(peak_kib() - idle)


def memory_mib(folder: Path) -> float:
    """Return what `measure_memory` says, in MiB."""
    command = [sys.executable, __file__, "--memory-of", str(folder)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default=shutil.which("kustomize") or str(Path.home() / ".cache/peers/bin/kustomize"))
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        measure_memory(arguments.memory_of)
        return
    has_binary = Path(arguments.binary).is_file()
    print("| objects | cold | one file changed: folder | Git tree | memory above idle | kustomize binary | ratio |")
    print("|---|---|---|---|---|---|---|")
    for size in SIZES:
        with tempfile.TemporaryDirectory() as name:
            print(row(size, Path(name), arguments.binary if has_binary else None, arguments.repetitions))
    if not has_binary:
        print(f"no kustomize at {arguments.binary}: give --binary", file=sys.stderr)


def row(size: int, folder: Path, binary: str | None, repetitions: int) -> str:
    """Measure one size; returns its line of the table."""
    write_tree(folder, size)
    cold = best(lambda: build(FolderTree(folder), "overlay", options=OPTIONS), repetitions)
    local, git, memory = changed_in_folder(folder, repetitions), changed_in_git(folder, repetitions), memory_mib(folder)
    times = [f"{seconds * 1000:.1f} ms" for seconds in (cold, local, git)]
    if binary is None:
        return f"| {size:,} | {' | '.join(times)} | {memory:.0f} MiB | not there | |"
    command = [binary, "build", str(folder / "overlay")]
    once = best(lambda: subprocess.run(command, check=True, capture_output=True), 1 if size > 500 else 3)
    return f"| {size:,} | {' | '.join(times)} | {memory:.0f} MiB | {once * 1000:.0f} ms | {once / cold:.0f} x |"


if __name__ == "__main__":
    main()
