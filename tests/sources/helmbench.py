"""HelmRepositories and HelmCharts with their real reconcilers: a part of the Kubernetes API with several objects, and a chart museum.

The museum is static files behind HTTP with a log-in, ETags and redirects as a test asks for.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

from aiohttp import encode_basic_auth, web

from service.cluster.client import Cluster
from service.cluster.discovery import Discovery
from service.compose.charts import Charts
from service.identities.grants import Grants
from service.kinds.meta import SOURCE_GROUP, ObjectKey
from service.kinds.table import KINDS
from service.outbound import Outbound, Policy
from service.sources.artifact import ArtifactStore
from service.sources.gitstore import GitStore
from service.sources.published import Published
from service.sources.reconciler import Needs
from service.workers import Workers
from tests.sources.bench import merge
from tests.sources.registry import tarball

PLURALS = {kind.kind: kind.plural for kind in KINDS if kind.group == SOURCE_GROUP}
BY_PLURAL = {plural: kind for kind, plural in PLURALS.items()}


def key_of(kind: str, name: str) -> ObjectKey:
    return ObjectKey(group=SOURCE_GROUP, kind=kind, namespace="apps", name=name)


def chart(name: str, version: str, files: dict[str, str] | None = None, about: str = "") -> bytes:
    """The archive of a chart."""
    held = {"Chart.yaml": f"apiVersion: v2\nname: {name}\nversion: {version}\n{about}", "values.yaml": "replicas: 1\n", **(files or {})}
    return tarball({f"{name}/{path}": text.encode() for path, text in held.items()})


class Api:
    """Objects by kind and name, read and merge-patched."""

    def __init__(self) -> None:
        self.objects: dict[ObjectKey, dict[str, Any]] = {}
        self.patches: list[tuple[str, dict[str, Any]]] = []

    def put(self, kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> None:
        before = self.objects.get(key_of(kind, name)) or {"metadata": {"generation": 0, "uid": f"u-{name}", "finalizers": []}}
        made = {
            "apiVersion": f"{SOURCE_GROUP}/v1",
            "kind": kind,
            "metadata": {**before["metadata"], "name": name, "namespace": "apps", "resourceVersion": "1", **metadata},
            "spec": spec,
            "status": before.get("status") or {"observedGeneration": -1},
        }
        made["metadata"]["generation"] += 1
        self.objects[key_of(kind, name)] = made

    async def answer(self, request: web.Request) -> web.Response:
        if request.path.count("/") == 3:
            named = [{"name": plural, "namespaced": True, "kind": kind} for kind, plural in PLURALS.items()]
            return web.json_response({"resources": named})
        plural, name = request.path.split("/")[6:8]
        key = key_of(BY_PLURAL[plural], name)
        if key not in self.objects:
            return web.json_response({"kind": "Status", "code": 404, "reason": "NotFound", "message": "not found"}, status=404)
        if request.method == "PATCH":
            patch = await request.json()
            self.patches.append((str(key), patch))
            changed = merge(self.objects[key], patch)
            changed["metadata"]["resourceVersion"] = str(int(changed["metadata"]["resourceVersion"]) + 1)
            self.objects[key] = changed
            if "deletionTimestamp" in changed["metadata"] and not changed["metadata"]["finalizers"]:
                del self.objects[key]
            return web.json_response(changed)
        return web.json_response(self.objects[key])


class Museum:
    """`asked` are the paths with their answers' statuses, `logins` the Authorization headers."""

    def __init__(self) -> None:
        self.url = self.other = ""
        self.files: dict[str, bytes] = {}
        self.login: tuple[str, str] | None = None
        self.moved: dict[str, str] = {}
        self.asked: list[tuple[str, int]] = []
        self.logins: list[tuple[str, str | None]] = []
        self.index: dict[str, list[dict[str, Any]]] = {}
        self.slow = 0.0
        self.age: float | None = None  # seconds since the last change, told instead of an ETag

    def publish(self, archive: bytes, name: str, version: str, *, url: str = "", **more: Any) -> None:
        """Put a chart into the museum and its index."""
        file = f"{name}-{version}.tgz"
        self.files[f"/{file}"] = archive
        entry = {"name": name, "version": version, "urls": [url or file], "digest": hashlib.sha256(archive).hexdigest(), **more}
        self.index.setdefault(name, []).append(entry)
        self.files["/index.yaml"] = json.dumps({"apiVersion": "v1", "entries": self.index, "generated": "now"}).encode()

    async def answer(self, request: web.Request) -> web.Response:
        self.logins.append((request.path, request.headers.get("Authorization")))
        await asyncio.sleep(self.slow)
        found = self._answered(request)
        self.asked.append((request.path, found.status))
        return found

    def _answered(self, request: web.Request) -> web.Response:
        if self.login and request.headers.get("Authorization") != encode_basic_auth(*self.login):
            return web.Response(status=401, text="hunter2 is wrong")
        if request.path in self.moved:
            return web.Response(status=302, headers={"Location": self.moved[request.path]})
        body = self.files.get(request.path)
        if body is None:
            return web.Response(status=404)
        if self.age is not None:
            told = formatdate(time.time() - self.age, usegmt=True)
            return (
                web.Response(status=304)
                if "If-Modified-Since" in request.headers
                else web.Response(body=body, headers={"Last-Modified": told})
            )
        tag = f'"{hashlib.sha256(body).hexdigest()}"'
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304)
        return web.Response(body=body, headers={"ETag": tag})

    async def answer_elsewhere(self, request: web.Request) -> web.Response:
        self.logins.append((f"elsewhere{request.path}", request.headers.get("Authorization")))
        return web.Response(body=self.files[request.path])


class HelmBench:
    """`ran` are the charts that were asked to run because their source moved."""

    def __init__(self, api: Api, museum: Museum, cluster: Cluster, workers: Workers, state: Path) -> None:
        self.api, self.museum, self.cluster, self.workers, self.state = api, museum, cluster, workers, state
        self.secrets: dict[str, dict[str, bytes]] = {}
        self.pull_secrets: dict[str, tuple[str, ...]] = {}
        self.outbound = Outbound(Policy(loopback=True))
        self.grants: Grants | None = None
        self.restart()

    def restart(self) -> None:
        self.ran: list[str] = []
        self.events: list[tuple[str, str, str, str]] = []
        self.artifacts = ArtifactStore(self.state / "artifacts", "http://sluice", self.workers)
        self.published = Published(lambda snapshot, triggers: self.charts.moved(snapshot.key, triggers))
        self.charts = Charts(
            consumers=self._consumers,
            add=lambda key, **_: self.ran.append(key.name),
            repositories=_Repositories(self.api),
            runs=True,
        )
        self.gitstore = GitStore(self.state / "git")
        self.needs = Needs(
            cluster=self.cluster,
            discovery=Discovery(self.cluster),
            workers=self.workers,
            gitstore=self.gitstore,
            artifacts=self.artifacts,
            read_secret=self._read_secret,
            read_pull_secrets=self._read_pull_secrets,
            outbound=self.outbound,
            grants=self.grants,
            published=self.published,
            on_event=lambda event: self.events.append((event.involved.name, event.severity, event.reason, event.message)),
        )
        self.reconcilers = {each.kind: each for each in self.charts.reconcilers(self.needs, shadow=False)}

    def _consumers(self, source: ObjectKey) -> list[ObjectKey]:
        def of(found: dict[str, Any]) -> tuple[str, str]:
            reference = found["spec"].get("sourceRef") or {}
            return reference.get("kind", ""), reference.get("name", "")

        return [key for key, found in self.api.objects.items() if of(found) == (source.kind, source.name)]

    async def _read_secret(self, namespace: str, name: str) -> dict[str, bytes] | None:
        assert namespace == "apps"
        return self.secrets.get(name)

    async def _read_pull_secrets(self, namespace: str, account: str) -> tuple[str, ...] | None:
        assert namespace == "apps"
        return self.pull_secrets.get(account)

    async def run(self, kind: str, name: str) -> Any:
        self.api.patches.clear()
        return await self.reconcilers[kind].reconcile(key_of(kind, name), ())

    def repository(self, name: str = "museum", **more: Any) -> None:
        self.api.put("HelmRepository", name, {"url": self.museum.url, "interval": "1m", "timeout": "10s", **more})

    def chart(self, name: str = "web", **more: Any) -> None:
        spec = {"chart": "web", "interval": "1m", "sourceRef": {"kind": "HelmRepository", "name": "museum"}, **more}
        self.api.put("HelmChart", name, spec)

    def status(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api.objects[key_of(kind, name)]["status"]
        return found

    def condition(self, kind: str, name: str, which: str = "Ready") -> tuple[str, str, str] | None:
        for each in self.status(kind, name).get("conditions", ()):
            if each["type"] == which:
                return each["status"], each["reason"], each["message"]
        return None

    def stored(self, kind: str, name: str) -> bytes:
        file = self.artifacts.file(self.status(kind, name)["artifact"]["path"])
        assert file is not None
        return file.read_bytes()


class _Repositories(dict[tuple[str, str], Any]):
    def __init__(self, api: Api) -> None:
        super().__init__()
        self._api = api

    def items(self) -> Any:
        return {(key.namespace, key.name): found for key, found in self._api.objects.items() if key.kind == "HelmRepository"}.items()


@asynccontextmanager
async def opened(tmp_path: Path, workers: Workers) -> AsyncIterator[HelmBench]:
    api, museum, runners = Api(), Museum(), []
    for answer in (api.answer, museum.answer, museum.answer_elsewhere):
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        runners.append(runner)
    ports = [runner.addresses[0][1] for runner in runners]
    museum.url, museum.other = f"http://127.0.0.1:{ports[1]}", f"http://localhost:{ports[2]}"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{ports[0]}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    cluster = await Cluster.from_kubeconfig(tmp_path / "kubeconfig")
    try:
        yield HelmBench(api, museum, cluster, workers, tmp_path / "state")
    finally:
        await cluster.close()
        for runner in runners:
            await runner.cleanup()
