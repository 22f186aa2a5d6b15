"""Git over TLS with client certificates: the remote wants one, on each of the ways that a fetch can take."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientConnectorError, ClientSession, web

from service.gitserver import GitServer
from service.kinds.source import GitRef
from service.sources.credentials import Credentials, InvalidSecret, read_credentials
from service.sources.fetcherror import AuthRefused, FetchError, NoRef, RemoteFailed, RemoteGone
from service.sources.fetchprocess import Limits
from service.sources.gitref import wanted
from service.sources.gitstore import GitStore
from service.sources.relay import relayed
from service.sources.smart import Smart
from service.sources.transfer import Request
from tests.sources.bench import opened
from tests.sources.test_gitstore import answering, fetch

EC = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"


@dataclass(frozen=True)
class Papers:
    """What a server that wants certificates shows, and the credentials of a client that has one, and of one by another authority."""

    server: ssl.SSLContext
    good: Credentials
    other: Credentials

    @property
    def without(self) -> Credentials:
        return Credentials(ca=self.good.ca)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    folder: Path = tmp_path_factory.mktemp("papers")
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    lines = [f"req -x509 {EC} -days 1 -subj /CN={name} -keyout {name}.key -out {name}.crt" for name in ("ca", "other")]
    for name, by in (("server", "ca"), ("client", "ca"), ("stranger", "other")):
        lines.append(f"req {EC} -subj /CN={name} -keyout {name}.key -out {name}.csr")
        lines.append(f"x509 -req -in {name}.csr -CA {by}.crt -CAkey {by}.key -CAcreateserial -days 1 -extfile san -out {name}.crt")
    for line in lines:
        subprocess.run(["openssl", *line.split()], cwd=folder, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=folder / "ca.crt")
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED

    def client(name: str) -> Credentials:
        data = {"tls.crt": f"{name}.crt", "tls.key": f"{name}.key", "ca.crt": "ca.crt"}
        return read_credentials({key: (folder / file).read_bytes() for key, file in data.items()})

    return Papers(server=context, good=client("client"), other=client("stranger"))


@asynccontextmanager
async def stores(folder: Path) -> AsyncIterator[GitStore]:
    smart = Smart()
    try:
        yield GitStore(folder / "git", smart=smart)
    finally:
        await smart.close()


@pytest.mark.parametrize("login", [Credentials(), Credentials(username="git", password="s3cret"), Credentials(bearer="s3cret")])
async def test_every_way_of_a_fetch_shows_the_certificate(remote: Any, tmp_path: Path, papers: Papers, login: Credentials) -> None:
    """The first fetch and a pinned commit go by libgit2, the second by the short way."""
    first = remote.commit({"a.yaml": "a: 1\n"})
    shown = replace(papers.good, username=login.username, password=login.password, bearer=login.bearer)
    server = GitServer(root=remote.bare.parent, password=login.password or login.bearer)
    async with server.serving(tls=papers.server) as base, stores(tmp_path) as store:
        url = f"{base}/fleet.git"
        assert (await fetch(store, url, credentials=shown)).commit == first
        second = remote.commit({"a.yaml": "a: 2\n"})
        assert (await fetch(store, url, credentials=shown)).commit == second
        pinned = wanted(GitRef(branch="main", commit=first))
        assert (await fetch(store, url, "u2", ref=pinned, credentials=shown)).commit == first
        remote.git("tag", "v1.2.3")
        remote.git("push", "-q", "origin", "v1.2.3")
        assert (await fetch(store, url, "u3", ref=wanted(GitRef(semver="1.x")), credentials=shown)).commit == second
        with pytest.raises(NoRef, match=rf"unable to clone '{url}'"):
            await fetch(store, url, "u4", ref=wanted(GitRef(branch="none")), credentials=shown)
    assert store.path(url, shown) != store.path(url, replace(shown, certificate=b"x"))


async def test_without_a_good_certificate_nothing_is_fetched(remote: Any, tmp_path: Path, papers: Papers) -> None:
    remote.commit({"a.yaml": "a: 1\n"})
    async with GitServer(root=remote.bare.parent).serving(tls=papers.server) as base, stores(tmp_path) as store:
        url = f"{base}/fleet.git"
        with pytest.raises(RemoteFailed, match=rf"'{url}': the remote ends the connection without an answer; is the client certificate"):
            await fetch(store, url, credentials=papers.other)
        with pytest.raises(FetchError):
            await fetch(store, url, credentials=papers.without)
        with pytest.raises(RemoteFailed, match=r"certificate is not trusted; a private CA belongs into the key ca\.crt"):
            await fetch(store, url, credentials=replace(papers.good, ca=b""))


@pytest.mark.parametrize(
    ("status", "login", "error", "words"),
    [
        (401, True, AuthRefused, "the remote refuses the credentials"),
        (403, False, AuthRefused, "asks for more than the client certificate"),
        (404, False, RemoteGone, "repository not found"),
        (500, False, RemoteFailed, "it answered 500"),
        (302, True, RemoteFailed, r"redirects to 'https://localhost.*write it into spec\.url"),
    ],
)
async def test_what_the_remote_says_no_with_is_told(
    tmp_path: Path, papers: Papers, status: int, login: bool, error: type[FetchError], words: str
) -> None:
    seen: list[str] = []

    async def refuse(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(status=status, text="secret words", headers={"Location": "https://localhost:1/x", "WWW-Authenticate": "Basic"})

    shown = replace(papers.good, username="git", password="s3cret") if login else papers.good
    async with answering(refuse, papers.server) as port, stores(tmp_path) as store:
        with pytest.raises(error, match=words) as told:
            await fetch(store, f"https://127.0.0.1:{port}/fleet.git", credentials=shown)
    assert not {"secret words", "s3cret"} & set(str(told.value).split())
    assert set(seen) == {"/fleet.git/info/refs"}


async def test_objects_take_the_certificate_of_their_secret(remote: Any, tmp_path: Path, papers: Papers, workers: Any) -> None:
    commit = remote.commit({"a.yaml": "a: 1\n"})
    good = {"tls.crt": papers.good.certificate, "tls.key": papers.good.key, "ca.crt": papers.good.ca}
    async with GitServer(root=remote.bare.parent).serving(tls=papers.server) as base, opened("GitRepository", tmp_path, workers) as bench:
        spec = {"url": f"{base}/fleet.git", "interval": "1m", "ref": {"branch": "main"}, "secretRef": {"name": "tls"}}
        bench.api.put(spec)
        for data, words in (
            ({**good, "tls.key": b""}, "has only one of 'tls.crt' and 'tls.key'"),
            ({**good, "tls.key": b"-----BEGIN"}, "a certificate or key that cannot be used"),
        ):
            bench.secrets["tls"] = data
            await bench.run()
            assert bench.api.ready()[:2] == ("False", "AuthenticationFailed")
            assert words in bench.api.ready()[2]
        bench.secrets["tls"] = good
        await bench.run()
        assert bench.status["artifact"]["revision"] == f"main@sha1:{commit}"
        bench.api.put({**spec, "url": spec["url"].replace("https:", "http:")})
        await bench.run()
        assert "are for https addresses only" in bench.api.ready()[2]


async def test_what_is_cut_on_the_way_is_told_and_fetched_again(remote: Any, tmp_path: Path, papers: Papers) -> None:
    commit = remote.commit({"a.yaml": "a: 1\n"})
    server, cut = GitServer(root=remote.bare.parent), True

    async def answer(asked: web.Request) -> web.StreamResponse:
        if asked.method == "GET" or not cut:
            return await server.answer(asked)
        whole = await server.answer(asked)
        assert isinstance(whole, web.Response)
        assert isinstance(whole.body, bytes)
        half = web.StreamResponse(headers={"Content-Type": whole.headers["Content-Type"], "Content-Length": str(len(whole.body))})
        await half.prepare(asked)
        await half.write(whole.body[:-9])
        assert asked.transport is not None
        asked.transport.abort()
        return half

    async with answering(answer, papers.server) as port, stores(tmp_path) as store:
        url = f"https://127.0.0.1:{port}/fleet.git"
        with pytest.raises(RemoteFailed, match=rf"unable to clone '{url}': (no answer|the remote ends the connection)"):
            await fetch(store, url, credentials=papers.good)
        cut = False
        assert (await fetch(store, url, credentials=papers.good)).commit == commit


async def test_what_libgit2_asks_in_pieces_is_asked_whole(remote: Any, tmp_path: Path, papers: Papers) -> None:
    request = Request(store=tmp_path, url="", uid="u", wanted=wanted(GitRef(branch="main")), credentials=papers.good, seconds=10)
    seen: list[bytes] = []

    async def answer(asked: web.Request) -> web.Response:
        seen.append(await asked.read())
        return web.Response(content_type="application/x-git-upload-pack-result")

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"a" * 70_000
            await asyncio.sleep(0.05)

    async with answering(answer, papers.server) as port:
        async with relayed(replace(request, url=f"https://127.0.0.1:{port}/fleet.git"), Limits()) as here, ClientSession() as session:
            async with session.post(f"{here.url}/git-upload-pack", data=pieces()) as found:
                assert found.status == 200
            for method, path in (("GET", "/git-upload-pack"), ("GET", "/"), ("POST", "/git-receive-pack")):
                async with session.request(method, f"{here.url}{path}") as found:
                    assert found.status == 404
            async with session.post(f"http://{urlsplit(here.url).netloc}/guessed/git-upload-pack") as found:
                assert found.status == 404
        with pytest.raises(ClientConnectorError):
            async with ClientSession() as session, session.get(here.url):
                pass
    assert seen == [b"a" * 210_000]


def test_old_names_of_the_keys() -> None:
    found = read_credentials({"certFile": b"c", "keyFile": b"k", "username": b"u", "password": b"p"})
    assert (found.certificate, found.key, found.username) == (b"c", b"k", "u")
    with pytest.raises(InvalidSecret, match="only one of"):
        read_credentials({"certFile": b"c"})
