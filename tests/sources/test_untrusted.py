"""Remotes that are not who they should be, for each kind of source: it is told, they are shown nothing, what was stored stays."""

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import encode_basic_auth, web

from service.gitserver import GitServer
from tests.peers.authority import Authority
from tests.sources import helmbench
from tests.sources.bench import Bench, opened
from tests.sources.registry import StandIn, tarball
from tests.sources.s3 import StandIn as Store

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
KINDS = pytest.mark.parametrize("source", ["GitRepository", "OCIRepository", "HelmRepository", "Bucket"], indirect=True)


@dataclass
class Source:
    """One object of a kind, and what serves its remote; the key `ca.crt` of the Secret named `tls` is trusted."""

    secrets: dict[str, dict[str, bytes]]
    tls: str
    answer: Answer
    put: Callable[[str], None]
    run: Callable[[], Awaitable[Any]]
    ready: Callable[[], tuple[str, str, str]]

    def trust(self, pem: bytes) -> None:
        self.secrets.setdefault(self.tls, {})["ca.crt"] = pem


@asynccontextmanager
async def served(answer: Answer, folder: Path, pair: tuple[bytes, bytes]) -> AsyncIterator[int]:
    """With TLS, by a certificate and its key."""
    (folder / "pair.pem").write_bytes(b"".join(pair))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "pair.pem")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.fixture
async def source(request: pytest.FixtureRequest, remote: Any, tmp_path: Path, workers: Any) -> AsyncIterator[Source]:
    if request.param == "HelmRepository":
        async with helmbench.opened(tmp_path, workers) as helm:
            helm.museum.publish(helmbench.chart("web", "1.0.0"), "web", "1.0.0")
            helm.museum.login = ("robot", "hunter2")
            helm.secrets |= {"login": {"username": b"robot", "password": b"hunter2"}, "tls": {}}
            named = {"secretRef": {"name": "login"}, "certSecretRef": {"name": "tls"}}
            yield Source(
                helm.secrets, "tls", helm.museum.answer,
                put=lambda host: helm.repository(url=f"https://{host}", **named),
                run=lambda: helm.run("HelmRepository", "museum"),
                ready=lambda: helm.condition("HelmRepository", "museum") or ("", "", ""),
            )  # fmt: skip
        return
    async with opened(request.param, tmp_path, workers) as bench:
        yield {"GitRepository": git, "OCIRepository": oci, "Bucket": bucket}[request.param](bench, remote)


def git(bench: Bench, remote: Any) -> Source:
    remote.commit({"a.yaml": "a: 1\n"})
    bench.secrets["login"] = {"username": b"git", "password": b"hunter2"}
    spec = {"interval": "1m", "ref": {"branch": "main"}, "secretRef": {"name": "login"}}
    answer = GitServer(root=remote.bare.parent, password="hunter2").answer
    put = lambda host: bench.api.put({**spec, "url": f"https://{host}/fleet.git"})  # noqa: E731
    return Source(bench.secrets, "login", answer, put=put, run=bench.run, ready=bench.api.ready)


def oci(bench: Bench, _: Any) -> Source:
    registry = StandIn()
    registry.push("1.0", tarball({"a.yaml": b"a: 1\n"}))
    bench.secrets["tls"] = {}

    def put(host: str) -> None:
        auths = {host: {"username": "robot", "password": "hunter2"}}
        bench.secrets["login"] = {".dockerconfigjson": json.dumps({"auths": auths}).encode()}
        spec = {"url": f"oci://{host}/team/app", "interval": "1m", "ref": {"tag": "1.0"}, "secretRef": {"name": "login"}}
        bench.api.put({**spec, "certSecretRef": {"name": "tls"}})

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != encode_basic_auth("robot", "hunter2"):
            return web.Response(status=401, headers={"WWW-Authenticate": "Basic realm=x"})
        return await registry.answer(request)

    return Source(bench.secrets, "tls", answer, put=put, run=bench.run, ready=bench.api.ready)


def bucket(bench: Bench, _: Any) -> Source:
    store = Store()
    store.objects["a.yaml"], store.signed = b"a: 1\n", True
    bench.secrets |= {"login": {"accesskey": b"key", "secretkey": b"hunter2"}, "tls": {}}
    spec = {"bucketName": "apps", "interval": "1m", "timeout": "20s", "secretRef": {"name": "login"}, "certSecretRef": {"name": "tls"}}
    put = lambda host: bench.api.put({**spec, "endpoint": host})  # noqa: E731
    return Source(bench.secrets, "tls", store.answer, put=put, run=bench.run, ready=bench.api.ready)


@KINDS
async def test_certificate_that_is_not_good_is_told_and_mended(source: Source, tmp_path: Path) -> None:
    ours, theirs = Authority(), Authority()
    seen: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request.path)
        return await source.answer(request)

    async with served(answer, tmp_path, theirs.pair()) as port:
        source.trust(ours.pem)
        source.put(f"127.0.0.1:{port}")
        await source.run()
        status, _, words = source.ready()
        assert (status, "certificate" in words.lower()) == ("False", True), words
        source.trust(theirs.pem)
        source.put(f"localhost:{port}")  # it is no certificate of that name
        await source.run()
        status, _, words = source.ready()
        assert (status, "certificate" in words.lower()) == ("False", True), words
        assert seen == []
        source.put(f"127.0.0.1:{port}")
        await source.run()
        assert source.ready()[0] == "True", source.ready()


@KINDS
async def test_log_in_that_has_ended_is_told(source: Source, tmp_path: Path) -> None:
    authority, ended = Authority(), False

    async def answer(request: web.Request) -> web.StreamResponse:
        if ended:
            return web.Response(status=401, text="hunter2 has expired", headers={"WWW-Authenticate": "Basic realm=x"})
        return await source.answer(request)

    source.trust(authority.pem)
    async with served(answer, tmp_path, authority.pair()) as port:
        source.put(f"127.0.0.1:{port}")
        await source.run()
        assert source.ready()[0] == "True", source.ready()
        ended = True
        await source.run()
        status, reason, words = source.ready()
        assert (status, reason) == ("False", "AuthenticationFailed"), words
        assert "hunter2" not in words
        ended = False
        await source.run()
        assert source.ready()[0] == "True"


@KINDS
async def test_log_in_goes_to_no_host_that_the_remote_names(source: Source, tmp_path: Path) -> None:
    """Nor where that one asks for it, and names its own token server."""
    authority = Authority()
    seen: list[tuple[str, str | None]] = []
    (tmp_path / "other").mkdir()

    async def elsewhere(request: web.Request) -> web.Response:
        seen.append((request.path, request.headers.get("Authorization")))
        challenge = f'Bearer realm="https://localhost:{other}/token",service="x"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge, "X-Basic": "Basic realm=x"})

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": f"https://localhost:{other}{request.path_qs}"})

    source.trust(authority.pem)
    async with (
        served(elsewhere, tmp_path / "other", authority.pair("localhost")) as other,
        served(answer, tmp_path, authority.pair()) as port,
    ):
        source.put(f"127.0.0.1:{port}")
        await source.run()
    assert source.ready()[0] == "False"
    assert {header for _, header in seen} <= {None}
    assert "/token" not in {path for path, _ in seen}
    assert "hunter2" not in source.ready()[2]
