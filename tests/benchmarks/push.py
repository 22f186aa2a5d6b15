"""From the webhook to the change in the cluster, seen from outside, beside what a bare client needs for the same work.

usage: python -m tests.benchmarks.push [--apps 3,100] [--trials 15] [--git-ms 100] [--events 500] [--real | --kubeconfig FILE]
(else on the embedded API). Each app (a Deployment of no replicas, a Service, a ConfigMap) is a Kustomization on one GitRepository. A trial
commits a change to one of them, sends the signed payload, and takes the time until a watch shows the ConfigMap changed, that Kustomization
Ready at the new revision, all of them at it, and until Slack's stand-in has the message. The floor, in turn with the trials: one fetch, one
server-side apply. Then what a push costs, and when the service's own steps end by its log. Prints a table and one JSON line for each number
of apps. With the embedded API its processor time, memory and Lease writes are part of the service's. With --git-ms the Git host is as far
away as that many milliseconds of a round trip, for the service and for the floor. With --events every second trial is made while others
post so many events a second, which become messages to a fast target; its times stand in lines of their own.
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pygit2

from service.cluster.client import APPLY_PATCH, Cluster
from service.cluster.discovery import Discovery, Resource, object_path
from service.cluster.watch import Change, Watch
from service.compose.install import install_kinds
from service.demo.slack import SlackStandIn
from service.gitserver import GitServer
from tests.benchmarks.costs import api_writes, cpu_seconds, pss_mib, step_medians
from tests.benchmarks.faraway import faraway
from tests.benchmarks.strangers import KIND, Strangers
from tests.end_to_end.fleet import git
from tests.end_to_end.kubernetes import Kubernetes
from tests.end_to_end.sluice_process import Sluice
from tests.peers.kube import ControlPlane

TOKEN = "a-benchmark's-token"
NAMESPACE = "bench-push"
KUSTOMIZATION = Resource(group="kustomize.toolkit.fluxcd.io", version="v1", plural="kustomizations", namespaced=True, kind="Kustomization")
CONFIGMAP = Resource(group="", version="v1", plural="configmaps", namespaced=True, kind="ConfigMap")
LIMIT_SECONDS = 120
SETTLE_SECONDS = 1


def manifests(name: str, value: str) -> dict[str, str]:
    """An app's files."""
    metadata = f"metadata:\n  name: {name}\n  namespace: {NAMESPACE}\n"
    template = f"  template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec: {{containers: [{{name: main, image: {name}}}]}}\n"
    deployment = f"spec:\n  replicas: 0\n  selector: {{matchLabels: {{app: {name}}}}}\n{template}"
    service = f"spec:\n  clusterIP: None\n  selector: {{app: {name}}}\n  ports: [{{port: 80}}]\n"
    return {
        "kustomization.yaml": "resources: [configmap.yaml, deployment.yaml, service.yaml]\n",
        "configmap.yaml": f"apiVersion: v1\nkind: ConfigMap\n{metadata}data:\n  value: {value}\n",
        "deployment.yaml": f"apiVersion: apps/v1\nkind: Deployment\n{metadata}{deployment}",
        "service.yaml": f"apiVersion: v1\nkind: Service\n{metadata}{service}",
    }


@dataclass(slots=True)
class Seen:
    """What the watches and Slack's stand-in have shown, with the time of it."""

    values: dict[str, tuple[str, float]] = field(default_factory=dict)
    revisions: dict[str, tuple[str, float]] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def configmap(self, change: Change) -> None:
        self._note(self.values, change.object["metadata"]["name"], (change.object.get("data") or {}).get("value", ""))

    def kustomization(self, change: Change) -> None:
        status = change.object.get("status") or {}
        if any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or ()):
            self._note(self.revisions, change.object["metadata"]["name"], status.get("lastAppliedRevision", ""))

    def _note(self, known: dict[str, tuple[str, float]], name: str, value: str) -> None:
        if known.get(name, ("",))[0] != value:
            known[name] = (value, time.perf_counter())
            self.news.set()

    async def until(self, test: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                while not test():
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError:
            raise SystemExit(f"not seen within {LIMIT_SECONDS} s: {what}") from None


class Bench:
    """One run."""

    def __init__(self, folder: Path, cluster: Cluster, kube: Kubernetes, sluice: Sluice, shape: "Shape") -> None:
        self._work, self._bare = folder / "work", folder / "git" / "fleet.git"
        self._cluster, self._discovery, self._kube, self._sluice = cluster, Discovery(cluster), kube, sluice
        self._names = [f"app-{number:05d}" for number in range(shape.apps)]
        self._git_ms, self._events, self._strangers = shape.git_ms, shape.events, Strangers(shape.events, NAMESPACE)
        self._seen, self._slack = Seen(), SlackStandIn()
        self._hook_path = ""
        self._figures: dict[str, list[float]] = {name: [] for name in ("floor", "applied", "ready", "all", "alert")}
        self._sent: dict[str, float] = {}
        self.costs: dict[str, float] = {}
        self.steps: dict[str, float] = {}
        self.messages = 0

    async def run(self, trials: int) -> dict[str, list[float]]:
        """Milliseconds by what was waited for."""
        git("init", "-q", "--bare", "-b", "main", str(self._bare))
        git("init", "-q", "-b", "main", str(self._work))
        for key, value in (("user.name", "bench"), ("user.email", "bench@example.com")):
            git("config", key, value, cwd=self._work)
        await self._slack.start()
        with self._strangers:
            await self._measured(trials)
        await self._slack.stop()
        return self._figures

    async def _measured(self, trials: int) -> None:
        async with self._git_host() as url, asyncio.TaskGroup() as tasks:
            head = self._commit({name: "v0" for name in self._names})
            watches = [
                Watch(self._cluster, resource=CONFIGMAP, namespace=NAMESPACE, on_change=self._seen.configmap),
                Watch(self._cluster, resource=KUSTOMIZATION, namespace=NAMESPACE, on_change=self._seen.kustomization),
            ]
            running = [tasks.create_task(watch.run()) for watch in watches]
            for object_ in self._objects(f"{url}/fleet.git"):
                await self._apply(object_)
            await self._seen.until(lambda: self._all_at(head), "the first sync")
            self._hook_path = await self._receiver_path()
            floor = await self._bare_client(f"{url}/fleet.git")
            await self._trials(trials, floor)
            for task in running:
                task.cancel()

    @asynccontextmanager
    async def _git_host(self) -> AsyncIterator[str]:
        async with GitServer(root=self._bare.parent).serving() as url:
            if not self._git_ms:
                yield url
                return
            async with faraway(urlsplit(url).port or 0, round_trip_ms=self._git_ms) as port:
                yield f"http://127.0.0.1:{port}"

    async def _trials(self, trials: int, floor: Callable[[str], Awaitable[float]]) -> None:
        pick, pid, peak = random.Random(1), self._sluice.running.pid, 0.0
        await asyncio.sleep(SETTLE_SECONDS)
        cpu, writes = cpu_seconds(pid), await asyncio.to_thread(api_writes, self._kube)
        self._strangers.post_to(f"http://127.0.0.1:{self._sluice.ports['cluster']}/")
        for trial in range(1, trials + 1):
            noisy = bool(self._events) and trial % 2 == 0
            self._strangers.flow(noisy)
            await asyncio.sleep(SETTLE_SECONDS if noisy else 0)
            await self._trial(pick.choice(self._names), f"v{trial}", f" at {self._events:g} events/s" if noisy else "")
            self._strangers.flow(False)
            peak = max(peak, pss_mib(pid))
            await asyncio.sleep(SETTLE_SECONDS)
            self._figures["floor"].append(await floor(f"v{trial}"))
        writes = await asyncio.to_thread(api_writes, self._kube) - writes - trials  # the floor writes once a trial
        self.costs = {"cpu_seconds": (cpu_seconds(pid) - cpu) / trials, "api_writes": writes / trials, "pss_mib": peak}
        self.steps, self.messages = step_medians(self._sluice.log(), self._sent), self._strangers.taken()

    def _commit(self, values: dict[str, str]) -> str:
        for name, value in values.items():
            (self._work / "apps" / name).mkdir(parents=True, exist_ok=True)
            for file, text in manifests(name, value).items():
                (self._work / "apps" / name / file).write_text(text)
        git("add", "-A", cwd=self._work)
        git("commit", "-q", "-m", "Change an app", cwd=self._work)
        git("push", "-q", str(self._bare), "main", cwd=self._work)
        return git("rev-parse", "HEAD", cwd=self._work)

    def _all_at(self, commit: str) -> bool:
        return all(self._seen.revisions.get(name, ("",))[0] == f"main@sha1:{commit}" for name in self._names)

    def _objects(self, url: str) -> list[dict[str, Any]]:
        source, notification = {"kind": "GitRepository", "name": "fleet"}, "notification.toolkit.fluxcd.io"

        def made(api: str, kind: str, name: str, **content: Any) -> dict[str, Any]:
            return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, **content}

        hook = {"type": "github", "events": ["push"], "secretRef": {"name": "hook"}, "resources": [source]}
        alert = {"providerRef": {"name": "slack"}, "eventSources": [{"kind": "Kustomization", "name": "*"}]}
        return [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            made("v1", "Secret", "hook", stringData={"token": TOKEN}),
            made("v1", "Secret", "slack", stringData={"address": self._slack.url}),
            made("source.toolkit.fluxcd.io/v1", "GitRepository", "fleet", spec={"interval": "60m", "url": url, "ref": {"branch": "main"}}),
            made(f"{notification}/v1", "Receiver", "hook", spec=hook),
            made(f"{notification}/v1beta3", "Provider", "slack", spec={"type": "slack", "secretRef": {"name": "slack"}}),
            made(f"{notification}/v1beta3", "Alert", "all", spec=alert),
            made(f"{notification}/v1beta3", "Provider", "others", spec={"type": "generic", "address": self._strangers.address}),
            made(
                f"{notification}/v1beta3",
                "Alert",
                "others",
                spec={"providerRef": {"name": "others"}, "eventSources": [{"kind": KIND, "name": "*"}]},
            ),
            *(
                made(
                    KUSTOMIZATION.api_version,
                    "Kustomization",
                    name,
                    spec={"interval": "60m", "path": f"./apps/{name}", "prune": True, "sourceRef": source},
                )
                for name in self._names
            ),
        ]

    async def _apply(self, object_: dict[str, Any]) -> None:
        resource = await self._discovery.resource(object_["apiVersion"], object_["kind"])
        path = object_path(resource, object_["metadata"].get("namespace", ""), object_["metadata"]["name"])
        query = {"fieldManager": "bench", "force": "true"}
        await self._cluster.request("PATCH", path, query=query, body=object_, content_type=APPLY_PATCH)

    async def _trial(self, name: str, value: str, beside: str = "") -> None:
        commit = await asyncio.to_thread(self._commit, {name: value})
        repository = {"full_name": "bench/fleet", "clone_url": "http://127.0.0.1/fleet.git"}
        payload = {"ref": "refs/heads/main", "before": "0" * 40, "after": commit, "repository": repository, "commits": []}
        body = json.dumps(payload).encode()
        signature = "sha256=" + hmac.new(TOKEN.encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "X-GitHub-Event": "push",
            "X-GitHub-Delivery": commit,
            "X-Hub-Signature-256": signature,
            "Content-Type": "application/json",
        }
        url = f"http://127.0.0.1:{self._sluice.ports['listen']}{self._hook_path}"
        async with aiohttp.ClientSession() as session:
            self._sent[commit], began = time.time(), time.perf_counter()
            async with session.post(url, data=body, headers=headers) as answer:
                if answer.status != 200:
                    raise SystemExit(f"the hook was answered {answer.status}: {await answer.text()}")
        await self._seen.until(lambda: self._seen.values.get(name, ("",))[0] == value, "the change")
        await self._seen.until(lambda: self._all_at(commit), "all at the new revision")
        async with asyncio.timeout(LIMIT_SECONDS):
            arrived, message = await self._slack.messages.get()
            while commit[:7] not in json.dumps(message):
                arrived, message = await self._slack.messages.get()
            told = began + arrived - self._sent[commit]  # the stand-in's clock is that of the day
        at = {"applied": self._seen.values[name][1], "ready": self._seen.revisions[name][1], "alert": told}
        at["all"] = max(moment for _, moment in self._seen.revisions.values())
        for what, moment in at.items():
            self._figures.setdefault(what + beside, []).append((moment - began) * 1000)

    async def remove(self) -> None:
        """Delete what the run has made, Kustomizations first: the service prunes what they applied, and a next run begins as this."""
        for kind in ("kustomizations.kustomize", "receivers.notification", "alerts.notification", "gitrepositories.source"):
            plural, _, group = kind.partition(".")
            version = "v1beta3" if plural == "alerts" else "v1"
            path = f"/apis/{group}.toolkit.fluxcd.io/{version}/namespaces/{NAMESPACE}/{plural}"
            await self._cluster.request("DELETE", path)
            async with asyncio.timeout(LIMIT_SECONDS):
                while True:
                    if not (await self._cluster.request("GET", path)).body["items"]:
                        break
                    await asyncio.sleep(0.2)

    async def _receiver_path(self) -> str:
        path = f"/apis/notification.toolkit.fluxcd.io/v1/namespaces/{NAMESPACE}/receivers/hook"
        async with asyncio.timeout(LIMIT_SECONDS):
            while True:
                status = (await self._cluster.request("GET", path)).body.get("status") or {}
                if found := status.get("webhookPath"):
                    return str(found)
                await asyncio.sleep(0.2)

    async def _bare_client(self, url: str) -> Callable[[str], Any]:
        repository = pygit2.init_repository(str(self._work.parent / "floor.git"), bare=True)
        repository.remotes.create("origin", url, "+refs/heads/main:refs/heads/main")
        await asyncio.to_thread(repository.remotes["origin"].fetch)

        async def step(value: str) -> float:
            began = time.perf_counter()
            await asyncio.to_thread(lambda: repository.remotes["origin"].fetch())
            metadata = {"name": "floor", "namespace": NAMESPACE}
            await self._apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": value}})
            return (time.perf_counter() - began) * 1000

        await step("warm")
        return step


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How large, how often, how far."""

    apps: int
    trials: int
    git_ms: float = 0.0
    events: float = 0.0


async def measure(shape: Shape, kubeconfig: Path | None) -> dict[str, Any]:
    """One run in a folder and a service of its own; the figures as they are printed in the JSON line."""
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as name:
        folder = Path(name)
        where = ["--kubeconfig", str(kubeconfig)] if kubeconfig else ["--embedded", str(folder / "kube")]
        with Sluice(folder / "sluice", [*where, "--event-rate=100000"]) as sluice:
            if kubeconfig:
                await _prepare(kubeconfig)
            await asyncio.to_thread(sluice.start)
            chosen = kubeconfig or folder / "kube" / "kubeconfig"
            cluster = await Cluster.from_kubeconfig(chosen)
            bench = Bench(folder, cluster, Kubernetes(chosen), sluice, shape)
            figures = await bench.run(shape.trials)
            if kubeconfig:
                await bench.remove()
            await cluster.close()
    floor = statistics.median(figures["floor"])
    times = {
        what: {"min": min(values), "median": (middle := statistics.median(values)), "max": max(values), "ratio": middle / floor}
        for what, values in figures.items()
    }
    given = {"apps": shape.apps, "trials": shape.trials, "git_ms": shape.git_ms}
    return {
        **given, "real": kubeconfig is not None, "ms": times, "a_push": bench.costs, "steps_ms": bench.steps, "messages": bench.messages
    }  # fmt: skip


async def _prepare(kubeconfig: Path) -> None:
    cluster = await Cluster.from_kubeconfig(kubeconfig)
    await install_kinds(cluster, "flux-system")
    await cluster.close()


def show(result: dict[str, Any]) -> None:
    """The table, and the same as one JSON line."""
    print(f"{result['apps']} apps, {result['trials']} trials".ljust(26) + "     min   median      max    median : floor")
    for what, row in result["ms"].items():
        print(f"{what:<26}{row['min']:8.1f} {row['median']:8.1f} {row['max']:8.1f} ms {row['ratio']:12.2f}")
    costs = result["a_push"]
    print(f"messages of others: {result['messages']}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"a push: {costs['cpu_seconds']:.3f} CPU s, {costs['api_writes']:.1f} API writes; memory (PSS) {costs['pss_mib']:.0f} MiB")
    print("its steps: " + ", ".join(f"{step} {value:.1f}" for step, value in result["steps_ms"].items()) + " ms")
    print(json.dumps(rounded(result)), flush=True)


def rounded(value: Any) -> Any:
    """The same with numbers of three places."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return round(value, 3) if isinstance(value, float) else value


def main() -> None:
    """Run for each number of apps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--apps", default="3", help="numbers of apps, with commas")
    parser.add_argument("--trials", type=int, default=9)
    parser.add_argument("--git-ms", type=float, default=0.0, help="milliseconds of a round trip to the Git host")
    parser.add_argument("--real", action="store_true", help="on a kube-apiserver of its own (see make peers)")
    parser.add_argument("--kubeconfig", type=Path, help="a cluster of yours to throw away; its Leases in flux-system are taken")
    parser.add_argument("--events", type=float, default=0.0, help="events of others a second, during every second trial")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        kubeconfig: Path | None = chosen.kubeconfig
        if chosen.real:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-kube-")))
            kubeconfig = stack.enter_context(ControlPlane(folder)).kubeconfig
        for apps in map(int, chosen.apps.split(",")):
            show(asyncio.run(measure(Shape(apps=apps, trials=chosen.trials, git_ms=chosen.git_ms, events=chosen.events), kubeconfig)))


if __name__ == "__main__":
    main()
