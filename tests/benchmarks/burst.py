"""A burst: 500 pushes to 50 apps of one repository within ten seconds, each with its signed hook; then how soon each was in the cluster.

usage: python -m tests.benchmarks.burst [--pushes 500] [--apps 50] [--seconds 10] [--real]     (else on the embedded API)
The commits are made beforehand; a push moves the branch and sends its hook, in an even beat. A push counts as applied when the watch of
its app's ConfigMap shows its value or a later one: what a later push overtakes need not be seen. Out: p50 and p99 from hook to applied,
the hook's own answer, how many Kustomizations ran and were built, and whether the end is right. Exits with 1 where it is not.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from service.cluster.client import APPLY_PATCH, Cluster
from service.cluster.discovery import Discovery, object_path
from service.cluster.watch import Change, Watch
from service.compose.install import install_kinds
from service.gitserver import GitServer
from tests.benchmarks.costs import cpu_seconds, pss_mib
from tests.benchmarks.ground import api_server, names
from tests.benchmarks.push import CONFIGMAP, KUSTOMIZATION, NAMESPACE, TOKEN, manifests
from tests.benchmarks.signed import signed
from tests.end_to_end.sluice_process import Sluice
from tests.kustomizations.repository import Repository

LIMIT_SECONDS = 120


@dataclass(slots=True)
class Seen:
    """What the watches have shown: each app's newest value with the times at which each was first passed."""

    values: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)

    def configmap(self, change: Change) -> None:
        name, value = change.object["metadata"]["name"], int((change.object.get("data") or {}).get("value", "v0")[1:])
        self.values.setdefault(name, []).append((value, time.perf_counter()))

    def kustomization(self, change: Change) -> None:
        status = change.object.get("status") or {}
        if any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or ()):
            self.revisions[change.object["metadata"]["name"]] = str(status.get("lastAppliedRevision", ""))

    def passed(self, name: str, value: int) -> float | None:
        """When the app first had this value or a later one."""
        return next((at for seen, at in self.values.get(name, ()) if seen >= value), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    app: str
    value: int
    commit: str


def objects(url: str, apps: list[str]) -> list[dict[str, Any]]:
    """The source, its Receiver, a Kustomization for each app."""
    source = {"kind": "GitRepository", "name": "fleet"}

    def made(api: str, kind: str, name: str, **content: Any) -> dict[str, Any]:
        return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, **content}

    hook = {"type": "github", "events": ["push"], "secretRef": {"name": "hook"}, "resources": [source]}
    each = {"interval": "60m", "prune": True, "sourceRef": source}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        made("v1", "Secret", "hook", stringData={"token": TOKEN}),
        made("source.toolkit.fluxcd.io/v1", "GitRepository", "fleet", spec={"interval": "60m", "url": url, "ref": {"branch": "main"}}),
        made("notification.toolkit.fluxcd.io/v1", "Receiver", "hook", spec=hook),
        *(made(KUSTOMIZATION.api_version, "Kustomization", name, spec={**each, "path": f"./apps/{name}"}) for name in apps),
    ]


def commits(repository: Repository, apps: list[str], count: int) -> list[Push]:
    """The pushes, made and not yet pushed: the branch stands where it stood."""
    dice, head, found = random.Random(1), repository.head, []
    for number in range(1, count + 1):
        app = dice.choice(apps)
        path = f"apps/{app}/configmap.yaml"
        commit = repository.commit({path: manifests(app, f"v{number}")["configmap.yaml"]})
        found.append(Push(app=app, value=number, commit=commit))
    repository.point(head)
    return found


async def until(test: Any, what: str) -> None:
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            while not test():  # noqa: ASYNC110 - a server's doing
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise SystemExit(f"not seen within {LIMIT_SECONDS} s: {what}") from None


async def applied(cluster: Cluster, listed: list[dict[str, Any]]) -> None:
    discovery = Discovery(cluster)
    for object_ in listed:
        resource = await discovery.resource(object_["apiVersion"], object_["kind"])
        path = object_path(resource, object_["metadata"].get("namespace", ""), object_["metadata"]["name"])
        query = {"fieldManager": "bench", "force": "true"}
        await cluster.request("PATCH", path, query=query, body=object_, content_type=APPLY_PATCH)


async def hook_path(cluster: Cluster) -> str:
    path = f"/apis/notification.toolkit.fluxcd.io/v1/namespaces/{NAMESPACE}/receivers/hook"
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:
            if found := ((await cluster.request("GET", path)).body.get("status") or {}).get("webhookPath"):
                return str(found)
            await asyncio.sleep(0.1)


async def burst(url: str, repository: Repository, pushes: list[Push], seconds: float) -> tuple[dict[int, float], list[float]]:
    """Send them in an even beat; when each was sent, by value, and how long each answer took."""
    sent: dict[int, float] = {}
    answers: list[float] = []
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:

        async def one(push: Push) -> None:
            body, headers = signed(push.commit)
            began = time.perf_counter()
            async with session.post(url, data=body, headers=headers) as answer:
                if answer.status != 200:
                    raise SystemExit(f"the hook was answered {answer.status}: {await answer.text()}")
            answers.append(time.perf_counter() - began)

        start = time.perf_counter()
        for number, push in enumerate(pushes):
            await asyncio.sleep(max(0.0, start + number * seconds / len(pushes) - time.perf_counter()))
            repository.point(push.commit)
            sent[push.value] = time.perf_counter()
            tasks.create_task(one(push))
    return sent, answers


async def measure(folder: Path, kubeconfig: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """One run; the figures."""
    apps, seen = names(chosen.apps), Seen()
    repository = Repository(folder / "git" / "fleet.git")
    repository.commit({f"apps/{app}/{file}": text for app in apps for file, text in manifests(app, "v0").items()})
    cluster = await Cluster.from_kubeconfig(kubeconfig)
    await install_kinds(cluster, "flux-system")
    with Sluice(folder / "sluice", [f"--kubeconfig={kubeconfig}"]) as sluice:
        await asyncio.to_thread(sluice.start)
        async with GitServer(root=folder / "git").serving() as url, asyncio.TaskGroup() as tasks:
            await applied(cluster, objects(f"{url}/fleet.git", apps))
            running = [
                tasks.create_task(Watch(cluster, resource=resource, namespace=NAMESPACE, on_change=listener).run())
                for resource, listener in ((CONFIGMAP, seen.configmap), (KUSTOMIZATION, seen.kustomization))
            ]
            first = f"main@sha1:{repository.head}"
            await until(lambda: all(seen.revisions.get(app) == first for app in apps), "the first sync")
            pushes = await asyncio.to_thread(commits, repository, apps, chosen.pushes)
            target = f"http://127.0.0.1:{sluice.ports['listen']}{await hook_path(cluster)}"
            await asyncio.sleep(1)
            before, cpu, pid = _counted(sluice), cpu_seconds(sluice.running.pid), sluice.running.pid
            sent, answers = await burst(target, repository, pushes, chosen.seconds)
            last = f"main@sha1:{pushes[-1].commit}"
            await until(lambda: all(seen.passed(push.app, push.value) for push in pushes), "every change")
            done = time.perf_counter()
            await until(lambda: all(seen.revisions.get(app) == last for app in apps), "all at the last revision")
            every = time.perf_counter()
            after = _counted(sluice)
            for task in running:
                task.cancel()
        figures = {"cpu_seconds": cpu_seconds(pid) - cpu, "pss_mib": pss_mib(pid)}
    await cluster.close()
    newest = {push.app: push.value for push in pushes}
    right = all(seen.values[app][-1][0] == newest.get(app, 0) for app in apps)
    waits = [(seen.passed(push.app, push.value) or done) - sent[push.value] for push in pushes]
    last_sent = max(sent.values())
    return {
        "pushes": len(pushes), "apps": len(apps), "real": chosen.real, "right": right,
        "applied_ms": quantiles(waits), "answer_ms": quantiles(answers),
        "runs": after["runs"] - before["runs"], "built": after["built"] - before["built"], "fetches": after["fetches"] - before["fetches"],
        "all_applied_after_the_last_push_ms": (done - last_sent) * 1000,
        "all_at_the_last_revision_ms": (every - last_sent) * 1000, **figures,
    }  # fmt: skip


def _counted(sluice: Sluice) -> dict[str, int]:
    lines = sluice.call("probes", "/metrics").body.splitlines()

    def total(kind: str, outcomes: tuple[str, ...]) -> int:
        about = [line for line in lines if line.startswith("sluice_reconcile_total{") and f'kind="{kind}"' in line]
        return int(sum(float(line.rpartition(" ")[2]) for line in about if any(f'outcome="{one}"' in line for one in outcomes)))

    built = sum(line.get("msg") == "built" for line in sluice.log())
    fetches = sum(line.get("msg") == "new revision" for line in sluice.log())
    return {"runs": total("Kustomization", ("succeeded", "unchanged", "failed", "progressing")), "built": built, "fetches": fetches}


def quantiles(seconds: list[float]) -> dict[str, float]:
    """p50, p99 and the longest, in milliseconds."""
    cut = statistics.quantiles(seconds, n=100)
    return {"p50": cut[49] * 1000, "p99": cut[98] * 1000, "max": max(seconds) * 1000}


def main() -> None:
    """Run once, print a few lines and one of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pushes", type=int, default=500)
    parser.add_argument("--apps", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--real", action="store_true", help="on a kube-apiserver of its own (see make peers)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sluice-burst-") as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "git").mkdir()
        kubeconfig = stack.enter_context(api_server(folder / "kube", real=chosen.real))
        found = asyncio.run(measure(folder, kubeconfig, chosen))
    for what in ("applied_ms", "answer_ms"):
        print(what.ljust(12) + "  ".join(f"{name} {value:.1f}" for name, value in found[what].items()))
    pushed, seen, runs, built = (found[name] for name in ("pushes", "fetches", "runs", "built"))
    print(f"{pushed} pushes: {seen} revisions seen, {runs} runs, {built} builds; right: {found['right']}")
    print(json.dumps({key: round(value, 1) if isinstance(value, float) else value for key, value in found.items()}))
    sys.exit(0 if found["right"] and found["built"] < found["pushes"] else 1)


if __name__ == "__main__":
    main()
