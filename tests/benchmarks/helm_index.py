"""A large Helm index: how long the first load takes, what it costs in memory, and what an unchanged refresh costs.

usage: python -m tests.benchmarks.helm_index [--mb 25] [--trials 5]
The index has the form of Bitnami's, which was over 20 MB: charts with many versions, annotations that differ in each. It lies in a museum
of static files, a process of its own; the reconciler, its worker process and its requests to the Kubernetes API are real. A load runs
from the request to the stored JSON and the patched status, as time and as processor time of both processes. Beside it, in the same run:
copying the file over HTTP, and PyYAML's time for 1 MB of it.
"""

import argparse
import asyncio
import hashlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import timedelta
from pathlib import Path

import yaml

from service.sources.helmindex import find_version
from service.workers import Workers
from tests.peers.process import free_port
from tests.sources.helmbench import HelmBench, opened

VERSION = """  - annotations:
      category: WorkFlow
      images: |
        - name: airflow-{v}
          image: docker.io/bitnami/airflow:2.7.{v}-debian-11-r0
        - name: git
          image: docker.io/bitnami/git:2.42.{v}-debian-11-r9
      licenses: Apache-2.0
    apiVersion: v2
    appVersion: 2.7.{v}
    created: "2023-10-{day:02}T10:10:10.{v:06}Z"
    dependencies:
    - condition: redis.enabled
      name: redis
      repository: oci://registry-1.docker.io/bitnamicharts
      version: 18.x.x
    - name: common
      repository: oci://registry-1.docker.io/bitnamicharts
      tags:
      - bitnami-common
      version: 2.x.x
    description: Apache Airflow is a tool to express and execute workflows as directed
      acyclic graphs (DAGs). It includes utilities to schedule tasks, monitor task
      progress and handle task dependencies.
    digest: {digest}
    home: https://bitnami.com
    icon: https://bitnami.com/assets/stacks/airflow/img/airflow-stack-220x234.png
    keywords:
    - apache
    - airflow
    - workflow
    maintainers:
    - name: VMware, Inc.
      url: https://github.com/bitnami/charts
    name: {name}
    sources:
    - https://github.com/bitnami/charts/tree/main/bitnami/airflow
    urls:
    - https://charts.bitnami.com/bitnami/{name}-{major}.{v}.0.tgz
    version: {major}.{v}.0
"""
PER_CHART = 180


def write_index(target: Path, megabytes: int, generated: str) -> None:
    """An index of about that size, a chart at a time, so that it is not in this process."""
    with target.open("w") as out:
        out.write("apiVersion: v1\nentries:\n")
        for chart in itertools.count():
            name = f"chart-{chart:04}"
            out.write(f"  {name}:\n")
            for v in range(PER_CHART):
                digest = hashlib.sha256(f"{name}{v}".encode()).hexdigest()
                out.write(VERSION.format(name=name, v=v, major=v // 50 + 1, day=v % 28 + 1, digest=digest))
            if out.tell() >= megabytes * 10**6:
                break
        out.write(f'generated: "{generated}"\n')


def memory(pid: int) -> tuple[float, float]:
    """MiB of a process now and at most, of its own: pages of mapped files are the system's to take back."""
    found = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return int(found["RssAnon"].split()[0]) / 1024, int(found["VmHWM"].split()[0]) / 1024


def processor(pid: int) -> float:
    """Seconds that a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def load(bench: HelmBench) -> float:
    """Seconds of one run. Raises AssertionError where it does not end well."""
    begun = time.perf_counter()
    outcome = await bench.run("HelmRepository", "museum")
    assert outcome.result in ("succeeded", "unchanged"), outcome
    return time.perf_counter() - begun


async def measured(arguments: argparse.Namespace, folder: Path, url: str) -> dict[str, float]:
    workers = Workers(1)
    served = folder / "served" / "index.yaml"
    loads: list[float] = []
    costs: list[float] = []
    refreshes: list[float] = []
    try:
        await workers.start()
        async with opened(folder, workers) as bench:
            bench.repository(url=url)
            served.write_text("apiVersion: v1\nentries: {}\n")
            os.utime(served, (time.time(), 10**9 - 1))
            await load(bench)  # the worker is there
            pids = [os.getpid(), *(each.pid or 0 for each in (workers._pool._processes or {}).values())]  # type: ignore[union-attr]
            before = [memory(pid)[0] for pid in pids]
            for trial in range(arguments.trials):
                write_index(served, arguments.mb, str(trial))
                os.utime(served, (time.time(), 10**9 + trial))
                spent = sum(map(processor, pids))
                loads.append(await load(bench))
                costs.append(sum(map(processor, pids)) - spent)
                refreshes += [await load(bench) for _ in range(5)]
            peaks = [memory(pid)[1] - was for pid, was in zip(pids, before, strict=True)]
            stored = bench.artifacts.file(bench.status("HelmRepository", "museum")["artifact"]["path"])
            assert stored is not None
            begun = time.perf_counter()
            found = await workers.run(find_version, stored, "chart-0050", "2.x", timeout=timedelta(seconds=30))
            looked = time.perf_counter() - begun
            assert found.version == "2.99.0", found
            return {
                "load_seconds": min(loads),
                "load_cpu_seconds": min(costs),
                "load_seconds_worst": max(loads),
                "refresh_ms": sorted(refreshes)[len(refreshes) // 2] * 1000,
                "look_up_ms": looked * 1000,
                "service_peak_mib": peaks[0],
                "worker_peak_mib": max(peaks[1:]),
            }
    finally:
        await workers.close()


def main() -> int:
    """Print the figures and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=25)
    parser.add_argument("--trials", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="helm-index-") as name:
        folder, port = Path(name), free_port()
        (folder / "served").mkdir()
        command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(folder / "served")]
        museum = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(1)
            found = asyncio.run(measured(arguments, folder, f"http://127.0.0.1:{port}"))
            begun = time.perf_counter()
            urllib.request.urlretrieve(f"http://127.0.0.1:{port}/index.yaml", folder / "copy")
            found["copy_seconds"] = time.perf_counter() - begun
            write_index(folder / "small", 1, "now")
            begun = time.perf_counter()
            yaml.load((folder / "small").read_text(), Loader=yaml.CSafeLoader)
            found["pyyaml_seconds_a_mb"] = time.perf_counter() - begun
        finally:
            museum.kill()
            museum.wait()
    for what, value in found.items():
        print(f"{what:22} {value:9.3f}")
    print(json.dumps({"mb": arguments.mb, **{what: round(value, 4) for what, value in found.items()}}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
