"""Sources as people write them, against stand-ins of the very hosts that they name: each becomes Ready, and follows what changes there.

The service reaches github.com, the chart repositories and ghcr.io through a proxy of its environment, which leads all of them to one
server here, with certificates that the service trusts. The manifests are those of tests/kinds/manifests, unchanged.
"""

import asyncio
import contextlib
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from service.gitserver import GitServer
from tests.end_to_end.fleet import git
from tests.end_to_end.kubernetes import Kubernetes, is_ready
from tests.end_to_end.sluice_process import Sluice
from tests.peers.authority import Authority
from tests.peers.process import free_port
from tests.sources.registry import StandIn, tarball

MANIFESTS = Path(__file__).parents[1] / "kinds" / "manifests"
CHARTS = ("charts.bitnami.com", "kubernetes.github.io", "charts.jetstack.io")
REPOSITORIES = ("myorg/fleet-infra.git", "myorg/gitops-repo", "user/fleet-infra")
CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
INDEX = "apiVersion: v1\nentries:\n  web:\n  - {{apiVersion: v2, name: web, version: {version}, urls: [web-{version}.tgz]}}\n"


class Internet:
    """What stands behind the names. `index` is what every chart repository serves."""

    def __init__(self, folder: Path) -> None:
        self.port, self.index = free_port(), INDEX.format(version="1.0.0")
        self.git = GitServer(root=folder)
        self.registries = {"stefanprodan/charts/podinfo": StandIn(), "org/charts": StandIn()}
        for name, registry in self.registries.items():
            registry.name, registry.host = name, "ghcr.io"
        self.asked: list[str] = []

    def push_chart(self, repository: str, *tags: str) -> None:
        for tag in tags:
            layer = tarball({"web/Chart.yaml": f"name: web\nversion: {tag}\n".encode()})
            self.registries[repository].push(tag, layer, media_type=CHART)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        host = request.host.partition(":")[0]
        self.asked.append(f"{host}{request.path}")
        if host == "github.com":
            return await self.git.answer(request)
        if host in CHARTS:
            return web.Response(text=self.index) if request.path.endswith("/index.yaml") else web.Response(status=404)
        for name, registry in self.registries.items():
            if request.path.startswith(f"/v2/{name}/"):
                return await registry.answer(request)
        return web.Response(status=404)

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The proxy: CONNECT, then bytes both ways."""
        await reader.readuntil(b"\r\n\r\n")
        there, towards = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

        async def pipe(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(2**16):
                    target.write(data)
                    await target.drain()
            target.close()

        await asyncio.gather(pipe(reader, towards), pipe(there, writer))


@contextlib.contextmanager
def served(internet: Internet, tls: ssl.SSLContext) -> Iterator[str]:
    """Yields the proxy's URL."""
    ready, stop, found = threading.Event(), asyncio.Event(), []

    async def run() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", internet.answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", internet.port, ssl_context=tls).start()
        proxy = await asyncio.start_server(internet.connect, "127.0.0.1", 0)
        found.append((asyncio.get_running_loop(), proxy.sockets[0].getsockname()[1]))
        ready.set()
        await stop.wait()
        proxy.close()
        await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield f"http://127.0.0.1:{found[0][1]}"
    finally:
        found[0][0].call_soon_threadsafe(stop.set)
        thread.join(10)


@pytest.fixture
def internet(tmp_path: Path) -> Internet:
    made = Internet(tmp_path / "github")
    work = tmp_path / "work"
    git("init", "-q", "-b", "main", str(work))
    for name in REPOSITORIES:
        git("init", "-q", "--bare", "-b", "main", str(tmp_path / "github" / name))
        git("remote", "add", name.replace("/", "-"), str(tmp_path / "github" / name), cwd=work)
    push(work, "first")
    made.push_chart("stefanprodan/charts/podinfo", "5.9.0", "6.0.0", "6.1.0")
    made.push_chart("org/charts", "v1.0.0")
    return made


def push(work: Path, text: str) -> str:
    (work / "app.yaml").write_text(f"kind: {text}\n")
    git("add", "-A", cwd=work)
    git("-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "-m", text, cwd=work)
    for name in REPOSITORIES:
        git("push", "-q", name.replace("/", "-"), "main", cwd=work)
    return git("rev-parse", "HEAD", cwd=work)


@pytest.fixture
def cluster(internet: Internet, tmp_path: Path) -> Iterator[tuple[Kubernetes, Sluice]]:
    authority, tls = Authority(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for name, content in zip(("ca", "crt", "key"), (authority.pem, *authority.pair("github.com", "ghcr.io", *CHARTS)), strict=True):
        (tmp_path / name).write_bytes(content)
    tls.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    with served(internet, tls) as proxy, Sluice(tmp_path / "sluice", [f"--embedded={tmp_path / 'api'}"]) as sluice:
        sluice.start(environment={"HTTPS_PROXY": proxy, "NO_PROXY": "127.0.0.1,localhost", "SSL_CERT_FILE": str(tmp_path / "ca")})
        yield Kubernetes(next((tmp_path / "api").rglob("*kubeconfig*"))), sluice


def manifests(*names: str) -> list[dict[str, Any]]:
    found = [yaml.safe_load(next(MANIFESTS.glob(f"{name}*.yaml")).read_text()) for name in names]
    for each in found:
        each["metadata"].setdefault("namespace", "default")
    return found


def ask(kube: Kubernetes, kind: str, name: str, namespace: str = "flux-system") -> None:
    kube.patch(kind, namespace, name, {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": str(time.time())}}})


def ready(kube: Kubernetes, sluice: Sluice, object_: dict[str, Any], revision: str) -> None:
    metadata = object_["metadata"]

    def good(seen: dict[str, Any]) -> bool:
        return is_ready(seen) and revision in seen["status"]["artifact"]["revision"]

    try:
        kube.wait(object_["kind"], metadata["namespace"], metadata["name"], good)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{sluice.running.tail()}") from None


def test_git_repositories(internet: Internet, cluster: tuple[Kubernetes, Sluice], tmp_path: Path) -> None:
    """Rows 0.20, 2.14, 3.8, 3.18: by branch, with and without a Secret; a new commit is seen."""
    kube, sluice = cluster
    secret = {"username": "git", "password": "token"}
    kube.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "flux-system", "namespace": "flux-system"}, "stringData": secret}
    )
    head = git("rev-parse", "HEAD", cwd=tmp_path / "work")
    for name in ("0-02-", "2-01-", "3-01-"):
        (found,) = manifests(name)
        kube.apply(found)
        ready(kube, sluice, found, f"main@sha1:{head}")
    pushed = push(tmp_path / "work", "second")
    ask(kube, "GitRepository", "apps")
    ready(kube, sluice, manifests("2-01-")[0], f"main@sha1:{pushed}")


def test_chart_repositories(internet: Internet, cluster: tuple[Kubernetes, Sluice]) -> None:
    """Rows 0.21, 0.22, 1.42, 3.20: three in one file, other versions and time-outs; a changed index is a new revision."""
    kube, sluice = cluster
    three = manifests("0-03-", "0-04-", "0-05-")
    kube.apply(*three)
    for each in three:
        ready(kube, sluice, each, "sha256:")
    before = {each["metadata"]["name"]: kube.get("HelmRepository", "flux-system", each["metadata"]["name"]) for each in three}
    assert len({seen["status"]["artifact"]["revision"] for seen in before.values()}) == 1  # of equal content
    internet.index = INDEX.format(version="1.1.0")
    ask(kube, "HelmRepository", "jetstack")
    first = before["jetstack"]["status"]["artifact"]["revision"]
    kube.wait("HelmRepository", "flux-system", "jetstack", lambda seen: is_ready(seen) and seen["status"]["artifact"]["revision"] != first)
    for name in ("1-05-", "2-07-", "3-03-"):
        (found,) = manifests(name)
        kube.apply(found)
        ready(kube, sluice, found, "sha256:")
    assert {"charts.bitnami.com/bitnami/index.yaml", "charts.bitnami.com/index.yaml"} <= set(internet.asked)


def test_registries(internet: Internet, cluster: tuple[Kubernetes, Sluice]) -> None:
    """Row 0.23: the highest tag of a range, and the next one above it; a tag by name."""
    kube, sluice = cluster
    podinfo, named = manifests("0-06-", "1-11-")
    kube.apply(podinfo, named)
    ready(kube, sluice, podinfo, "6.1.0@sha256:")
    ready(kube, sluice, named, "v1.0.0@sha256:")
    internet.push_chart("stefanprodan/charts/podinfo", "6.2.0")
    ask(kube, "OCIRepository", "podinfo")
    ready(kube, sluice, podinfo, "6.2.0@sha256:")
