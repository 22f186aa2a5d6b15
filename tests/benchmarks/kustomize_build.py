"""How long builds take, in process and by the Go binary, in one run: `python tests/benchmarks/kustomize_build.py [--binary PATH]`.

Each tree is an overlay (prefix, namespace, labels, image, one generated ConfigMap, one patch) over a base of N Deployments, a file each.
In process: cold without a cache, and again with a parse cache after one file changed. The binary's time includes its start, as its users
pay it. Prints a table; each figure is the best of the repetitions.
"""

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from service.kustomize.build import BuildOptions, build
from service.kustomize.cache import ParseCache
from service.kustomize.tree import FolderTree

SIZES = (3, 100, 1000)
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


def changed_once(folder: Path, repetitions: int) -> float:
    """Return the shortest time of a build after one file changed, with everything else in the parse cache."""
    cache = ParseCache(256 * 2**20)
    build(FolderTree(folder), "overlay", options=OPTIONS, cache=cache)
    times = []
    for repetition in range(repetitions):
        (folder / "base" / "app-0.yaml").write_text(DEPLOYMENT.format(number=0, tag=f"1.{repetition + 1}"))
        times.append(best(lambda: build(FolderTree(folder), "overlay", options=OPTIONS, cache=cache), 1))
    return min(times)


def peak_mib() -> float:
    """Return the most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default=shutil.which("kustomize") or str(Path.home() / ".cache/peers/bin/kustomize"))
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    has_binary = Path(arguments.binary).is_file()
    print(f"{'objects':>8} {'cold ms':>9} {'one changed ms':>15} {'kustomize ms':>13} {'peak MiB':>9}")
    for size in SIZES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_tree(folder, size)
            cold = best(lambda folder=folder: build(FolderTree(folder), "overlay", options=OPTIONS), arguments.repetitions)  # type: ignore[misc]
            again = changed_once(folder, arguments.repetitions)
            command = [arguments.binary, "build", str(folder / "overlay")]
            once = (
                best(lambda command=command: subprocess.run(command, check=True, capture_output=True), 1 if size > 500 else 3)
                if has_binary
                else None
            )  # type: ignore[misc]
            shown = f"{once * 1000:13.0f}" if once is not None else f"{'not there':>13}"
            print(f"{size:8} {cold * 1000:9.1f} {again * 1000:15.1f} {shown} {peak_mib():9.0f}")
    if not has_binary:
        print(f"no kustomize at {arguments.binary}: give --binary", file=sys.stderr)


if __name__ == "__main__":
    main()
