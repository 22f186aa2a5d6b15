"""Runs the demo: makes the fleet, starts the service as its own process, applies the objects, pushes, prints what happened and when."""

import asyncio
import hashlib
import hmac
import json
import socket
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp

from service.cluster.client import APPLY_PATCH, ApiAway, ApiError, Cluster
from service.cluster.discovery import Discovery, object_path
from service.demo.fleet import APPS, NAMESPACE, STAGES, TOKEN, Fleet, objects
from service.demo.slack import SlackStandIn, text_of
from service.demo.timeline import Timeline
from service.gitserver import GitServer

KUSTOMIZATIONS = tuple(f"{app}-{stage}" for app in APPS for stage in STAGES)
KEPT_LINES = 40


class DemoFailed(Exception):
    """A step did not happen; the message says which and shows the end of the service's log."""


@dataclass(slots=True)
class Service:
    """The service as a process, with its log read line by line."""

    folder: Path
    ports: Mapping[str, int]
    timeline: Timeline
    process: asyncio.subprocess.Process | None = None
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kube" / "kubeconfig"

    async def start(self) -> None:
        addresses = [part for flag, port in self.ports.items() for part in (f"--{flag}", f"127.0.0.1:{port}")]
        command = [sys.executable, "-m", "service", "serve", "--embedded", str(self.folder / "kube"), "--simulate-workloads"]
        command += ["--state", str(self.folder / "state"), "--log-format", "json", *addresses]  # its Slack is here
        self.process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE, limit=2**20)

    async def read_log(self) -> None:
        assert self.process is not None
        assert self.process.stderr is not None
        async for raw in self.process.stderr:
            text = raw.decode(errors="replace").rstrip()
            self.tail.append(text)
            self.timeline.read(text)

    async def stop(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            try:
                async with asyncio.timeout(15):
                    await self.process.wait()
            except TimeoutError:
                self.process.kill()


class Demo:
    """One run of the demo in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fleet = Fleet(folder)
        self._slack = SlackStandIn()
        self._timeline = Timeline()
        self._service = Service(folder, {flag: _free_port() for flag in ("listen", "probes", "cluster", "admin")}, self._timeline)
        self._git_url = ""

    async def run(self, *, once: bool) -> None:
        """Raises DemoFailed. With `once` it ends after the first round, else when interrupted."""
        self._folder.mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(self._fleet.create)
        async with GitServer(root=self._fleet.bare.parent, push=True).serving() as git, asyncio.TaskGroup() as tasks:
            self._git_url = f"{git}/fleet.git"
            try:
                await self._slack.start()
                await self._service.start()
                reader = tasks.create_task(self._service.read_log(), name="service log")
                await self._round()
                if not once:
                    self._say_what_next()
                    await reader
            finally:
                await self._service.stop()
                await self._slack.stop()

    async def _round(self) -> None:
        await self._until(self._is_ready, "the service to be ready", 60)
        print(f"sluice runs, with everything it needs, in {self._folder} (this machine only, nothing else installed)\n")
        print(f"  webhooks        http://127.0.0.1:{self._service.ports['listen']}")
        print(f"  Kubernetes API  kubectl --kubeconfig {self._service.kubeconfig}   (embedded, workloads simulated)")
        print(f"  Git             {self._git_url}")
        print("  Slack           a stand-in that prints what it gets\n")
        await self._first_sync()
        await self._push()

    async def _is_ready(self) -> bool:
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self._service.ports['probes']}/readyz") as answer,
            ):
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def _first_sync(self) -> None:
        began = time.perf_counter()
        async with _connected(self._service.kubeconfig) as (cluster, discovery):
            for object_ in objects(git_url=self._git_url, slack_url=self._slack.url):
                await _apply(cluster, discovery, object_)
        await self._until(self._all_ready, "the first sync of all Kustomizations", 90)
        print(f"first sync: {len(KUSTOMIZATIONS)} Kustomizations applied and healthy (simulated) in {time.perf_counter() - began:.1f} s\n")
        await asyncio.sleep(1)
        while not self._slack.messages.empty():
            self._slack.messages.get_nowait()

    async def _all_ready(self) -> bool:
        async with _connected(self._service.kubeconfig) as (cluster, _):
            answer = await cluster.request("GET", f"/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{NAMESPACE}/kustomizations")
        ready = [c for item in answer.body["items"] for c in item.get("status", {}).get("conditions", []) if c["type"] == "Ready"]
        return len(ready) == len(KUSTOMIZATIONS) and all(c["status"] == "True" for c in ready)

    async def _push(self) -> None:
        changed = "apps/shop/production/settings.env"
        subject = "Greet the winter guests"
        (self._fleet.work / changed).write_text("GREETING=Warm welcome to the winter shop\n")
        commit = await asyncio.to_thread(self._fleet.commit, subject, push_to=self._git_url)
        print(f'git push: {commit[:7]} "{subject}" changes {changed}; the Git host sends its signed webhook\n')
        payload = {
            "ref": "refs/heads/main",
            "before": "0" * 40,
            "after": commit,
            "repository": {"full_name": "demo/fleet", "clone_url": self._git_url, "default_branch": "main"},
            "commits": [{"id": commit, "message": subject, "added": [], "modified": [changed], "removed": []}],
        }
        await self._send(json.dumps(payload).encode(), commit)
        arrived, message = await self._alert(commit)
        await self._until(self._told, "each step of the push in the log", 30)
        for step, milliseconds, detail in self._timeline.rows():
            print(f"  {milliseconds:8.1f} ms  {step:<9} {detail}")
        print(f"  {(arrived - self._timeline.sent_at) * 1000:8.1f} ms  alerted   Slack has the message:\n")
        for line in dict.fromkeys(part for text in text_of(message) for part in text.splitlines()):
            print(f"      | {line}")
        print()

    async def _send(self, body: bytes, delivery: str) -> None:
        async with _connected(self._service.kubeconfig) as (cluster, _):
            receiver = await cluster.request("GET", f"/apis/notification.toolkit.fluxcd.io/v1/namespaces/{NAMESPACE}/receivers/github")
        path = receiver.body.get("status", {}).get("webhookPath", "")
        signature = "sha256=" + hmac.new(TOKEN.encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "X-GitHub-Event": "push",
            "X-GitHub-Delivery": delivery,
            "X-Hub-Signature-256": signature,
            "Content-Type": "application/json",
        }
        async with aiohttp.ClientSession() as session:
            self._timeline.start(time.time())
            url = f"http://127.0.0.1:{self._service.ports['listen']}{path}"
            async with session.post(url, data=body, headers=headers) as answer:
                if answer.status >= 300:
                    raise DemoFailed(f"the webhook was answered {answer.status}\n{self._log()}")

    async def _alert(self, commit: str) -> tuple[float, dict[str, Any]]:
        try:
            async with asyncio.timeout(30):
                while True:
                    arrived, message = await self._slack.messages.get()
                    if commit[:7] in json.dumps(message):
                        return arrived, message
        except TimeoutError as error:
            raise DemoFailed(f"no alert arrived within 30 s\n{self._log()}") from error

    async def _told(self) -> bool:
        return self._timeline.complete

    async def _until(self, happened: Any, what: str, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not await happened():
            if self._service.process is not None and self._service.process.returncode is not None:
                raise DemoFailed(f"the service ended with code {self._service.process.returncode}\n{self._log()}")
            if time.monotonic() > end:
                missing = f" (missing: {', '.join(self._timeline.missing)})" if self._timeline.sent_at else ""
                raise DemoFailed(f"waited {seconds:g} s for {what}{missing}\n{self._log()}")
            await asyncio.sleep(0.05)

    def _log(self) -> str:
        return "the end of the service's log:\n" + "\n".join(self._service.tail)

    def _say_what_next(self) -> None:
        print("It stays up. Try:")
        print(f"  export KUBECONFIG={self._service.kubeconfig}")
        print("  kubectl get gitrepositories,kustomizations -n flux-system")
        print("  kubectl get deployments,configmaps -n production")
        print(f"  cd {self._fleet.work}   # edit, commit, git push {self._git_url} main")
        print(
            "  kubectl -n flux-system annotate --overwrite gitrepository/fleet reconcile.fluxcd.io/requestedAt=$(date +%s)   # or a webhook"
        )
        print("Ctrl-C ends it.")


@asynccontextmanager
async def _connected(kubeconfig: Path) -> AsyncIterator[tuple[Cluster, Discovery]]:
    cluster = await Cluster.from_kubeconfig(kubeconfig)
    try:
        yield cluster, Discovery(cluster)
    finally:
        await cluster.close()


async def _apply(cluster: Cluster, discovery: Discovery, object_: Mapping[str, Any]) -> None:
    """As `kubectl apply --server-side` does. Tries for a moment: kinds may have just been installed."""
    metadata = object_["metadata"]
    for attempt in range(20):
        try:
            resource = await discovery.resource(object_["apiVersion"], object_["kind"])
            path = object_path(resource, metadata.get("namespace", ""), metadata["name"])
            query = {"fieldManager": "kubectl", "force": "true"}
            await cluster.request("PATCH", path, query=query, body=object_, content_type=APPLY_PATCH, timeout=timedelta(seconds=10))
            return
        except (ApiAway, ApiError):
            if attempt == 19:
                raise
            await asyncio.sleep(0.25)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
