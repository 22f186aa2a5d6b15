"""How fast hooks are answered while much is built and applied for the first time.

usage: python -m tests.benchmarks.busy [--objects 1000 | --apps 300] [--real]
Signed deliveries go to the webhook port over one kept connection, one after the other with a short pause, first with nothing else going on,
then from the moment a Kustomization with that many objects appears until it is Ready; with --apps from the moment the source of that many
Kustomizations, of three objects each, is fetched for the first time until all of them are Ready. They are pushes to a repository that no
source has, as an organisation's hook sends them: verified and stored on disk like any other, and no fetch comes of them.
Prints p50, p99 and the worst of both, and one JSON line.
"""

import argparse
import hashlib
import hmac
import http.client
import json
import statistics
import time
from collections.abc import Callable, Sequence

from tests.benchmarks.ground import TOKEN, Ground, ground, kustomization, names
from tests.benchmarks.push import NAMESPACE
from tests.end_to_end.kubernetes import is_ready

OBJECTS_OF_AN_APP = 3
IDLE_SECONDS, PAUSE_SECONDS, LIMIT_SECONDS = 3, 0.005, 180
LOOK_SECONDS = 0.5


class Sender:
    """A Git host with one kept connection."""

    def __init__(self, ground: Ground, path: str) -> None:
        self._path, self._count = path, 0
        self._connection = http.client.HTTPConnection("127.0.0.1", ground.sluice.ports["listen"], timeout=30)

    def send(self) -> float:
        """Milliseconds until the answer. Raises SystemExit if it is not 200."""
        self._count += 1
        commit = hashlib.sha1(str(self._count).encode()).hexdigest()
        repository = {"full_name": "bench/other", "clone_url": "https://git.example.com/bench/other.git"}
        body = json.dumps({"ref": "refs/heads/main", "before": "0" * 40, "after": commit, "repository": repository, "commits": []}).encode()
        signature = "sha256=" + hmac.new(TOKEN.encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "X-GitHub-Event": "push",
            "X-GitHub-Delivery": commit,
            "X-Hub-Signature-256": signature,
            "Content-Type": "application/json",
        }
        began = time.perf_counter()
        self._connection.request("POST", self._path, body, headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise SystemExit(f"a hook was answered {answer.status}: {text.decode(errors='replace')}")
        return (time.perf_counter() - began) * 1000

    def until(self, done: Callable[[], bool], seconds: float) -> list[float]:
        """Send until `done`, which is asked now and then. Raises SystemExit when the time is over."""
        taken, end, look = [], time.monotonic() + seconds, time.monotonic() + LOOK_SECONDS
        while True:
            taken.append(self.send())
            time.sleep(PAUSE_SECONDS)
            if time.monotonic() > look:
                if done():
                    return taken
                look = time.monotonic() + LOOK_SECONDS
            if time.monotonic() > end:
                raise SystemExit(f"the Kustomization was not Ready in {seconds:g} s")


def summary(taken: Sequence[float]) -> dict[str, float]:
    """p50, p99 and the worst, in milliseconds."""
    return {"hooks": len(taken), "p50": statistics.median(taken), "p99": statistics.quantiles(taken, n=100)[98], "max": max(taken)}


def measure(ground: Ground) -> dict[str, dict[str, float]]:
    """Idle, then while the Kustomization of everything comes up."""
    ground.kube.apply(ground.source("fleet"), *ground.receiver("*"))
    ground.kube.wait("GitRepository", NAMESPACE, "fleet", is_ready)
    hook = ground.kube.wait("Receiver", NAMESPACE, "hook", lambda seen: is_ready(seen) and seen["status"].get("webhookPath"))
    sender = Sender(ground, hook["status"]["webhookPath"])
    sender.send()
    end = time.monotonic() + IDLE_SECONDS
    idle = sender.until(lambda: time.monotonic() > end, IDLE_SECONDS + 10)
    began = time.monotonic()
    ground.kube.apply(kustomization("everything", source="fleet", path="./apps"))
    busy = sender.until(
        lambda: is_ready(ground.kube.get("Kustomization", NAMESPACE, "everything") or {"metadata": {"generation": 0}}), LIMIT_SECONDS
    )
    seconds = time.monotonic() - began
    (built,) = ground.sluice.log(msg="built")
    whole = {"seconds": seconds, "build_seconds": built["seconds"], "objects": built["objects"]}
    return {"idle": summary(idle), "busy": summary(busy) | whole}


def measure_apps(ground: Ground, apps: Sequence[str]) -> dict[str, dict[str, float]]:
    """Idle, then while all apps are synchronised for the first time."""
    source = ground.source("fleet")
    source["spec"]["suspend"] = True
    ground.kube.apply(source, *ground.receiver("*"), *(kustomization(app, source="fleet", path=f"./apps/{app}") for app in apps))
    hook = ground.kube.wait("Receiver", NAMESPACE, "hook", lambda seen: is_ready(seen) and seen["status"].get("webhookPath"))
    time.sleep(IDLE_SECONDS)  # until all of them have said that they wait for their source
    sender = Sender(ground, hook["status"]["webhookPath"])
    sender.send()
    end = time.monotonic() + IDLE_SECONDS
    idle = sender.until(lambda: time.monotonic() > end, IDLE_SECONDS + 10)
    began = time.monotonic()
    source["spec"]["suspend"] = False
    ground.kube.apply(source)
    busy = sender.until(lambda: ground.ready("Kustomization") == len(apps), LIMIT_SECONDS)
    seconds = time.monotonic() - began
    built = sum(line["seconds"] for line in ground.sluice.log(msg="built"))
    return {"idle": summary(idle), "busy": summary(busy) | {"seconds": seconds, "build_seconds": built, "objects": 3 * len(apps)}}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=1000)
    parser.add_argument("--apps", type=int, default=0, help="so many Kustomizations of three objects, instead of one of --objects")
    parser.add_argument("--real", action="store_true", help="on a kube-apiserver of its own (see make peers)")
    chosen = parser.parse_args()
    apps = chosen.apps or -(-chosen.objects // OBJECTS_OF_AN_APP)
    with ground(apps=apps, real=chosen.real) as made:
        result = measure_apps(made, names(apps)) if chosen.apps else measure(made)
    print(f"{result['busy']['objects']} objects".ljust(16) + "hooks    p50    p99    max ms")
    for name, row in result.items():
        print(f"{name:<14}{row['hooks']:7.0f}{row['p50']:7.1f}{row['p99']:7.1f}{row['max']:7.1f}")
    print(f"built in {result['busy']['build_seconds']:.2f} s, Ready after {result['busy']['seconds']:.1f} s")
    rows = {name: {key: round(value, 3) for key, value in row.items()} for name, row in result.items()}
    print(json.dumps({"real": chosen.real, **rows}))


if __name__ == "__main__":
    main()
