"""A start with many apps that have not changed: how long until every ref is checked, and that nothing is done again.

usage: python -m tests.benchmarks.start [--apps 300] [--sources 10] [--real]
The apps are Kustomizations, spread over GitRepositories of one remote. Once all are Ready the service is stopped and started again. Times
run from the start of the process: to /readyz, to the last ref checked at the remote, to the last Kustomization looked at. Then what the
start did: write requests to the API (without Leases), builds, applies. Prints a table and one JSON line; exit 1 if it built or applied.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence

from tests.benchmarks.costs import api_writes, cpu_seconds, pss_mib
from tests.benchmarks.ground import Ground, ground, kustomization, names

FIRST_SYNC_SECONDS, CHECK_SECONDS = 240, 60
QUIET_SECONDS = 2


def unchanged(ground: Ground, kind: str) -> int:
    """How many reconciles of a kind have ended since the start and found nothing to do."""
    begin = f'sluice_reconcile_total{{kind="{kind}",outcome="unchanged"}} '
    lines = ground.sluice.call("probes", "/metrics").body.splitlines()
    return sum(int(float(line.removeprefix(begin))) for line in lines if line.startswith(begin))


def wait(done: Callable[[], bool], seconds: float, what: str) -> None:
    """Ask often. Raises SystemExit."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise SystemExit(f"not seen within {seconds:g} s: {what}")
        time.sleep(0.02)


def settle(ground: Ground, apps: Sequence[str], sources: Sequence[str]) -> None:
    """Apply the objects and wait until all are Ready."""
    ground.kube.apply(*(ground.source(name) for name in sources))
    for number, app in enumerate(apps):
        ground.kube.apply(kustomization(app, source=sources[number % len(sources)], path=f"./apps/{app}"))
    end = time.monotonic() + FIRST_SYNC_SECONDS
    while (ready := ground.ready("Kustomization")) < len(apps):
        if time.monotonic() > end:
            raise SystemExit(f"{ready} of {len(apps)} Kustomizations became Ready in {FIRST_SYNC_SECONDS} s")
        time.sleep(1)
    time.sleep(QUIET_SECONDS)  # what follows a status: artifacts, events


def measure(ground: Ground, apps: int, sources: int) -> dict[str, float]:
    """Stop, start, look."""
    settle(ground, names(apps), [f"fleet-{number}" for number in range(sources)])
    ground.sluice.stop()
    before, lines = api_writes(ground.kube), len(ground.sluice.log())
    began = time.monotonic()
    ground.sluice.start()
    result = {"ready_s": time.monotonic() - began}
    wait(lambda: unchanged(ground, "GitRepository") >= sources, CHECK_SECONDS, "every ref checked")
    result["refs_checked_s"] = time.monotonic() - began
    wait(lambda: unchanged(ground, "Kustomization") >= apps, CHECK_SECONDS, "every Kustomization looked at")
    result["apps_checked_s"] = time.monotonic() - began
    time.sleep(QUIET_SECONDS)
    said = [line.get("msg") for line in ground.sluice.log()[lines:]]
    pid = ground.sluice.running.pid
    result |= {name: said.count(name) for name in ("built", "applied", "reconciled")}
    result["api_writes"] = api_writes(ground.kube) - before
    return result | {"cpu_seconds": cpu_seconds(pid), "pss_mib": pss_mib(pid)}


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--apps", type=int, default=300)
    parser.add_argument("--sources", type=int, default=10)
    parser.add_argument("--real", action="store_true", help="on a kube-apiserver of its own (see make peers)")
    chosen = parser.parse_args()
    with ground(apps=chosen.apps, real=chosen.real) as made:
        result = measure(made, chosen.apps, chosen.sources)
    print(f"a start with {chosen.apps} unchanged apps of {chosen.sources} sources")
    for name, value in result.items():
        print(f"{name:<18}{value:10.2f}")
    print(json.dumps({"apps": chosen.apps, "sources": chosen.sources, "real": chosen.real} | {k: round(v, 3) for k, v in result.items()}))
    return 1 if result["built"] or result["applied"] else 0


if __name__ == "__main__":
    sys.exit(main())
