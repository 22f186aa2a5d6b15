"""One reconciler of a source with real parts around it, on the part of the Kubernetes API that it sees."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp import web

from service.cluster.client import Cluster
from service.cluster.discovery import Discovery
from service.identities.grants import Grants
from service.kinds.meta import ObjectKey
from service.outbound import Outbound, Policy
from service.reconcile.queue import Trigger
from service.sources.artifact import ArtifactStore
from service.sources.bucket import BucketOrigin
from service.sources.gitrepository import GitOrigin
from service.sources.gitstore import GitStore
from service.sources.ocirepository import OCIOrigin
from service.sources.published import Published
from service.sources.reconciler import Needs, SourceReconciler
from service.sources.snapshot import Snapshot
from service.workers import Workers

ORIGINS: dict[str, Any] = {"GitRepository": GitOrigin, "OCIRepository": OCIOrigin, "Bucket": BucketOrigin}
PLURALS = {"GitRepository": "gitrepositories", "OCIRepository": "ocirepositories", "Bucket": "buckets"}


def merge(into: Any, patch: Any) -> Any:
    """https://www.rfc-editor.org/rfc/rfc7386"""
    if not isinstance(patch, dict):
        return patch
    found = dict(into) if isinstance(into, dict) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merge(found.get(name), value)
    return found


class Api:
    """The part of the Kubernetes API that one reconciler sees: objects by name, read and merge-patched; mostly the one named fleet."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.objects: dict[str, dict[str, Any]] = {}
        self.patches: list[dict[str, Any]] = []
        self.away = False

    @property
    def object(self) -> dict[str, Any] | None:
        return self.objects.get("fleet")

    def put(self, spec: dict[str, Any], name: str = "fleet", **metadata: Any) -> None:
        uid = "u-1" if name == "fleet" else f"u-{name}"
        new = {"metadata": {"generation": 0, "uid": uid, "finalizers": []}, "status": {"observedGeneration": -1}}
        before = self.objects.get(name) or new
        self.objects[name] = {
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": self.kind,
            "metadata": {**before["metadata"], "name": name, "namespace": "apps", "resourceVersion": "1", **metadata},
            "spec": spec,
            "status": before["status"],
        }
        self.objects[name]["metadata"]["generation"] += 1

    async def answer(self, request: web.Request) -> web.Response:
        if self.away:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if request.path.endswith("/v1"):
            return web.json_response({"resources": [{"name": PLURALS[self.kind], "namespaced": True, "kind": self.kind}]})
        name = request.path.removesuffix("/status").rpartition("/")[2]
        found = self.objects.get(name)
        if found is None:
            return web.json_response({"kind": "Status", "code": 404, "reason": "NotFound", "message": "not found"}, status=404)
        if request.method == "PATCH":
            patch = await request.json()
            self.patches.append(patch)
            changed = merge(found, patch)
            changed["metadata"]["resourceVersion"] = str(int(found["metadata"]["resourceVersion"]) + 1)
            self.objects[name] = changed
            if "deletionTimestamp" in changed["metadata"] and not changed["metadata"]["finalizers"]:
                del self.objects[name]
            return web.json_response(changed)
        return web.json_response(found)

    def condition(self, kind: str, name: str = "fleet") -> dict[str, Any] | None:
        return next((each for each in self.objects[name]["status"].get("conditions", ()) if each["type"] == kind), None)

    def ready(self, name: str = "fleet") -> tuple[str, str, str]:
        found = self.condition("Ready", name)
        assert found is not None
        return found["status"], found["reason"], found["message"]


class Bench:
    """A reconciler with real parts around it; `restart` makes a new one on the same state folder."""

    def __init__(self, api: Api, cluster: Cluster, workers: Workers, state: Path) -> None:
        self.api, self.cluster, self.workers, self.state = api, cluster, workers, state
        self.key = ObjectKey(group="source.toolkit.fluxcd.io", kind=api.kind, namespace="apps", name="fleet")
        self.secrets: dict[str, dict[str, bytes]] = {}
        self.pull_secrets: dict[str, tuple[str, ...]] = {}
        self.when_told: Callable[[], object] = lambda: None
        self.outbound = Outbound(Policy(loopback=True))
        self.grants: Grants | None = None
        self.restart()

    def restart(self, shadow: bool = False) -> None:
        self.revisions: list[str] = []
        self.events: list[tuple[str, str, str]] = []
        self.artifacts = ArtifactStore(self.state / "artifacts", "http://sluice", self.workers)
        self.published = Published(self.told)
        needs = Needs(
            cluster=self.cluster,
            discovery=Discovery(self.cluster),
            workers=self.workers,
            gitstore=GitStore(self.state / "git"),
            artifacts=self.artifacts,
            read_secret=self.read_secret,
            read_pull_secrets=self.read_pull_secrets,
            outbound=self.outbound,
            grants=self.grants,
            published=self.published,
            on_event=lambda event: self.events.append((event.severity, event.reason, event.message)),
        )
        self.reconciler = SourceReconciler(needs, ORIGINS[self.api.kind](needs), shadow=shadow)

    def told(self, snapshot: Snapshot, triggers: object) -> None:
        self.revisions.append(snapshot.revision)
        self.when_told()

    async def read_secret(self, namespace: str, name: str) -> dict[str, bytes] | None:
        assert namespace == "apps"
        return self.secrets.get(name)

    async def read_pull_secrets(self, namespace: str, account: str) -> tuple[str, ...] | None:
        assert namespace == "apps"
        return self.pull_secrets.get(account)

    async def run(self, name: str = "fleet", triggers: tuple[Trigger, ...] = ()):
        self.api.patches.clear()
        return await self.reconciler.reconcile(replace(self.key, name=name), triggers)

    @property
    def status(self) -> dict[str, Any]:
        assert self.api.object is not None
        return self.api.object["status"]


@asynccontextmanager
async def opened(kind: str, tmp_path: Path, workers: Workers) -> AsyncIterator[Bench]:
    api = Api(kind)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server = f"http://127.0.0.1:{runner.addresses[0][1]}"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    cluster = await Cluster.from_kubeconfig(tmp_path / "kubeconfig")
    try:
        yield Bench(api, cluster, workers, tmp_path / "state")
    finally:
        await cluster.close()
        await runner.cleanup()
