"""A large OCI artifact: by how much the memory of the service and of its worker grows while it is pulled, stored and packed again.

usage: python -m tests.benchmarks.oci_memory [--mib 50]
A real distribution registry (tests/peers/build registry) holds the layer: 50 MiB packed, of bytes that cannot be packed smaller, as 2,000
files, as one file, or stored as it is (`operation: copy`). The reconciler, its worker process, the registry and the requests to the
Kubernetes API are real. Growth is the highest resident memory during the run less what was resident before it, after a run of a small
artifact that has started everything; the baseline is holding the layer once, --mib.
"""

import argparse
import asyncio
import gzip
import io
import json
import multiprocessing
import os
import random
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from service.workers import Workers
from tests.peers.registry import Registry
from tests.sources.bench import Bench, opened

CASES = {"files": 2000, "one_file": 1, "copied": 2000}


def packed(mib: int, files: int) -> bytes:
    """A tar.gz of about that size."""
    dice, out = random.Random(files), io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1, mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        for number in range(files):
            entry = tarfile.TarInfo(f"folder-{number % 50}/{number}.bin")
            entry.size = mib * 2**20 // files
            tar.addfile(entry, io.BytesIO(dice.randbytes(entry.size)))
    return out.getvalue()


def served(folder: Path) -> Registry:
    return Registry(folder, hook="http://127.0.0.1:9/", token="none")


def push(folder: Path, mib: int) -> None:
    """Push all artifacts; what was pushed stays in the folder."""
    with served(folder) as registry:
        registry.push("team/big", "small", packed(1, 20))
        for case, files in CASES.items():
            registry.push("team/big", case, packed(mib, files))


def resident(pid: int, name: str) -> float:
    """MiB: VmRSS now, VmHWM at most since `forget`."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(f"{name}:"))


def forget(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def spec(registry: Registry, tag: str, **more: Any) -> dict[str, Any]:
    return {"url": f"oci://{registry.host}/team/big", "interval": "10m", "insecure": True, "ref": {"tag": tag}, "timeout": "5m", **more}


async def grown(bench: Bench, workers: Workers, wanted: dict[str, Any]) -> tuple[float, float, float]:
    """MiB by which the service and its worker grow in one run, and its seconds."""
    pids = [os.getpid(), *(each.pid or 0 for each in (workers._pool._processes or {}).values())]  # type: ignore[union-attr]
    for pid in pids:
        forget(pid)
    before = [resident(pid, "VmRSS") for pid in pids]
    bench.api.put(wanted)
    begun = time.perf_counter()
    outcome = await bench.run()
    seconds = time.perf_counter() - begun
    assert outcome.result == "succeeded", bench.api.ready()
    peaks = [resident(pid, "VmHWM") - was for pid, was in zip(pids, before, strict=True)]
    return peaks[0], max(peaks[1:]), seconds


async def measured(folder: Path, registry: Registry) -> dict[str, tuple[float, float, float]]:
    found = {}
    for case in CASES:
        workers = Workers(1)
        await workers.start()
        try:
            async with opened("OCIRepository", folder / case, workers) as bench:
                more = (
                    {"layerSelector": {"mediaType": "application/vnd.oci.image.layer.v1.tar", "operation": "copy"}}
                    if case == "copied"
                    else {}
                )
                bench.api.put(spec(registry, "small", **more))
                await bench.run()
                assert bench.api.ready()[0] == "True", bench.api.ready()
                found[case] = await grown(bench, workers, spec(registry, case, **more))
        finally:
            await workers.close()
    return found


def main() -> int:
    """Print the figures and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=50)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="oci-memory-") as name:
        folder = Path(name)
        for case in CASES:
            (folder / case).mkdir()
        pushing = multiprocessing.get_context("spawn").Process(target=push, args=(folder / "registry", arguments.mib))
        pushing.start()  # so that nothing of it is in this process
        pushing.join()
        with served(folder / "registry") as registry:
            found = asyncio.run(measured(folder, registry))
    print(f"{'MiB more':10} {'service':>9} {'worker':>9} {'seconds':>9}")
    for case, (service, worker, seconds) in found.items():
        print(f"{case:10} {service:9.1f} {worker:9.1f} {seconds:9.1f}")
    print(json.dumps({case: [round(value, 2) for value in values] for case, values in found.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
