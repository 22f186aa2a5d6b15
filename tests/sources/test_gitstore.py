import asyncio
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pygit2
import pytest
from aiohttp import web

from service.gitserver import GitServer
from service.kinds.source import GitRef
from service.sources.credentials import Credentials
from service.sources.fetcherror import AuthRefused, NoRef, RemoteEmpty, RemoteFailed, RemoteGone, Stopped
from service.sources.fetchprocess import Limits
from service.sources.gitref import wanted
from service.sources.gitstore import GitStore
from service.sources.transfer import Fetched

MAIN = wanted(GitRef(branch="main"))
NOBODY = Credentials()


async def fetch(store: GitStore, url: str, uid: str = "u1", *, ref=MAIN, credentials=NOBODY, seconds: float = 10) -> Fetched:
    return await store.fetch(uid=uid, url=url, credentials=credentials, wanted=ref, timeout=timedelta(seconds=seconds))


def refs(fetched: Fetched) -> dict[str, str]:
    repo = pygit2.Repository(str(fetched.store))
    return {name: str(repo.references[name].target) for name in repo.references}


async def ended(work: Awaitable[Fetched]) -> None:
    with suppress(Stopped):
        await work


async def test_fetch_returns_what_the_remote_names_and_moves_one_ref(remote, tmp_path):
    store = GitStore(tmp_path / "git")
    first = remote.commit({"a.yaml": "a: 1\n"}, message="First\n\nbody")
    got = await fetch(store, remote.url)
    assert (got.commit, got.before, got.subject, got.author) == (first, "", "First", "Ada")
    assert refs(got) == {"refs/sluice/u1": first}
    second = remote.commit({"a.yaml": "a: 2\n"})
    got = await fetch(store, remote.url)
    assert (got.commit, got.before) == (second, first)
    other = await fetch(store, remote.url, "u2")
    assert other.store == got.store
    third = remote.commit({"a.yaml": "a: 3\n"})
    await fetch(store, remote.url, "u2")
    assert refs(got) == {"refs/sluice/u1": second, "refs/sluice/u2": third}


async def test_store_is_shallow_and_complete(remote, tmp_path):
    for n in range(12):
        remote.commit({"a.yaml": f"a: {n}\n"})
    store = GitStore(tmp_path / "git")
    got = await fetch(store, remote.url)
    assert remote.git("-C", str(got.store), "rev-list", "--count", got.commit) == "1"
    remote.commit({"b.yaml": "b: 1\n"})
    got = await fetch(store, remote.url)
    remote.git("-C", str(got.store), "fsck", "--connectivity-only")


@pytest.mark.parametrize("most", [2_000, 8])
async def test_fetch_after_forced_push_back_behind_the_oldest_commit(remote, tmp_path, most):
    ids = [remote.commit({"a.yaml": f"a: {n}\n"}) for n in range(12)]
    store = GitStore(tmp_path / "git", limits=Limits(objects=most))
    await fetch(store, remote.url)
    remote.git("push", "-q", "--force", "origin", f"{ids[8]}:refs/heads/main")
    got = await fetch(store, remote.url)
    assert (got.commit, got.before) == (ids[8], ids[11])
    repo = pygit2.Repository(str(got.store))
    assert repo[repo[ids[8]].tree["a.yaml"].id].data == b"a: 8\n"
    assert (ids[3] in repo) == (most > 8)  # over the limit the history is left out
    back = remote.commit({"a.yaml": "a: again\n"})
    assert (await fetch(store, remote.url)).commit == back


async def test_store_stays_short_and_complete_over_many_pushes(remote, tmp_path):
    store = GitStore(tmp_path / "git")
    for n in range(18):
        commit = remote.commit({"a.yaml": f"a: {n}\n", f"b{n}.yaml": "b"})
        got = await fetch(store, remote.url)
        assert got.commit == commit
    assert int(remote.git("-C", str(got.store), "rev-list", "--count", "--all")) <= 17
    remote.git("-C", str(got.store), "fsck", "--connectivity-only")


async def test_merge_of_an_old_branch_brings_no_history(remote, tmp_path):
    ids = [remote.commit({"a.yaml": f"a: {n}\n"}) for n in range(24)]
    store = GitStore(tmp_path / "git", limits=Limits(objects=20))
    await fetch(store, remote.url)
    for n in range(3):
        remote.git("checkout", "-q", "-b", f"old{n}", ids[15])
        remote.commit({f"c{n}.yaml": "c: 1\n"}, branch=f"old{n}")
        remote.git("checkout", "-q", "main")
        remote.git("merge", "-q", "--no-edit", f"old{n}")
        commit = remote.commit({})
        got = await fetch(store, remote.url)
        assert got.commit == commit
        repo = pygit2.Repository(str(got.store))
        assert ids[3] not in repo
        assert repo[repo[commit].tree[f"c{n}.yaml"].id].data == b"c: 1\n"
        remote.git("-C", str(got.store), "fsck", "--connectivity-only")
        assert (await fetch(store, remote.url)).before == commit
    assert refs(got) == {"refs/sluice/u1": commit}


async def test_a_large_push_is_fetched_too(remote, tmp_path):
    remote.commit({"a.yaml": "a: 0\n"})
    store = GitStore(tmp_path / "git", limits=Limits(objects=20))
    await fetch(store, remote.url)
    commit = remote.commit({f"many/{n}.yaml": f"{n}" for n in range(60)})
    assert (await fetch(store, remote.url)).commit == commit
    assert (await fetch(store, remote.url)).before == commit


async def test_unrelated_branch_in_a_shared_store(remote, tmp_path):
    main = remote.commit({"a.yaml": "a: 1\n"})
    remote.git("checkout", "-q", "--orphan", "other")
    other = remote.commit({"b.yaml": "b: 1\n"}, branch="other")
    store = GitStore(tmp_path / "git")
    assert (await fetch(store, remote.url)).commit == main
    got = await fetch(store, remote.url, "u2", ref=wanted(GitRef(branch="other")))
    assert refs(got) == {"refs/sluice/u1": main, "refs/sluice/u2": other}


async def test_tags_are_peeled_and_follow_a_move(remote, tmp_path):
    first = remote.commit({"a.yaml": "a: 1\n"})
    remote.git("tag", "-a", "-m", "one", "v1")
    remote.git("push", "-q", "origin", "v1")
    store, tag = GitStore(tmp_path / "git"), wanted(GitRef(tag="v1"))
    assert (await fetch(store, remote.url, ref=tag)).commit == first
    second = remote.commit({"a.yaml": "a: 2\n"})
    remote.git("tag", "-f", "v1")
    remote.git("push", "-q", "--force", "origin", "v1")
    got = await fetch(store, remote.url, ref=tag)
    assert (got.commit, list(refs(got))) == (second, ["refs/sluice/u1"])
    named = await fetch(store, remote.url, ref=wanted(GitRef(name="refs/tags/v1^{}")))
    assert named.commit == second
    assert (await fetch(store, remote.url, "u3", ref=wanted(GitRef(name="HEAD")))).commit == second


async def test_commit_must_be_on_the_branch(remote, tmp_path):
    first = remote.commit({"a.yaml": "a: 1\n"})
    second = remote.commit({"a.yaml": "a: 2\n"})
    remote.git("checkout", "-q", "-b", "fork", first)
    elsewhere = remote.commit({"a.yaml": "a: evil\n"}, branch="fork")
    store = GitStore(tmp_path / "git")
    assert (await fetch(store, remote.url, ref=wanted(GitRef(branch="main", commit=first)))).commit == first
    assert (await fetch(store, remote.url, "u2", ref=wanted(GitRef(commit=second)))).commit == second
    with pytest.raises(NoRef, match="not on branch 'main'"):
        await fetch(store, remote.url, "u3", ref=wanted(GitRef(branch="main", commit=elsewhere)))
    assert (await fetch(store, remote.url, "u4", ref=wanted(GitRef(commit=elsewhere)))).commit == elsewhere
    with pytest.raises(NoRef, match="not on any branch"):
        await fetch(store, remote.url, "u5", ref=wanted(GitRef(commit="0" * 39 + "1")))


async def test_missing_branch_empty_and_gone_repository(remote, tmp_path):
    store = GitStore(tmp_path / "git")
    with pytest.raises(RemoteEmpty, match="git repository is empty"):
        await fetch(store, remote.url)
    remote.commit({"a.yaml": "a: 1\n"})
    before = await fetch(store, remote.url)
    with pytest.raises(NoRef) as told:
        await fetch(store, remote.url, ref=wanted(GitRef(branch="nope")))
    assert "refs/heads/nope" in str(told.value)
    assert remote.url in str(told.value)
    assert refs(before) == {"refs/sluice/u1": before.commit}
    with pytest.raises(RemoteGone, match="repository not found"):
        await fetch(store, remote.url.replace("fleet", "gone"))


@pytest.mark.parametrize("credentials", [NOBODY, Credentials(bearer="s3cret")], ids=("nobody", "bearer"))
async def test_nothing_listens(tmp_path, credentials):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/a.git"
    with pytest.raises(RemoteFailed, match="unable to clone"):
        await fetch(GitStore(tmp_path / "git"), url, credentials=credentials)


async def test_a_remote_that_went_away_costs_no_store(remote, tmp_path):
    remote.commit({"a.yaml": "a: 1\n"})
    store, known = GitStore(tmp_path / "git"), Credentials(bearer="s3cret")
    async with GitServer(root=remote.bare.parent, password="s3cret").serving() as base:
        url = f"{base}/fleet.git"
        got = await fetch(store, url, credentials=known)
    (got.store / "mark").touch()
    with pytest.raises(RemoteFailed):
        await fetch(store, url, credentials=known)
    assert (got.store / "mark").exists(), "it was made anew for a network error"


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (Credentials(username="git", password="s3cret"), Credentials(username="git", password="wr0ng")),
        (Credentials(bearer="s3cret"), Credentials(bearer="wr0ng")),
    ],
)
async def test_credentials(remote, tmp_path, good, bad):
    remote.commit({"a.yaml": "a: 1\n"})
    store = GitStore(tmp_path / "git")
    async with GitServer(root=remote.bare.parent, password="s3cret").serving() as base:
        url = f"{base}/fleet.git"
        got = await fetch(store, url, credentials=good)
        with pytest.raises(AuthRefused, match=r"spec\.secretRef") as told:
            await fetch(store, url, credentials=bad)
        assert "wr0ng" not in str(told.value)
        with pytest.raises(AuthRefused, match=r"set spec\.secretRef"):
            await fetch(store, url)
        with pytest.raises(AuthRefused) as told:
            await fetch(store, url.replace("://", "://git:wr0ng@"))
        assert "wr0ng" not in str(told.value)
    assert store.path(url, good) != store.path(url, bad)
    assert got.store == store.path(url, good)


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> tuple[Path, Path]:
    """A self-made CA: (ca.crt, certificate with key of 127.0.0.1)."""
    folder = tmp_path_factory.mktemp("ca")
    for line in (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=ca -keyout ca.key -out ca.crt",
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=git -keyout git.key -out git.csr",
        "x509 -req -in git.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 1 -extfile san -out git.crt",
    ):
        (folder / "san").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        subprocess.run(["openssl", *line.split()], cwd=folder, check=True, capture_output=True)
    (folder / "pair.pem").write_bytes((folder / "git.crt").read_bytes() + (folder / "git.key").read_bytes())
    return folder / "ca.crt", folder / "pair.pem"


async def test_private_ca_is_trusted_for_its_own_fetch_only(remote, tmp_path, authority):  # two forked processes
    remote.commit({"a.yaml": "a: 1\n"})
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority[1])
    store = GitStore(tmp_path / "git")
    async with GitServer(root=remote.bare.parent).serving(tls=context) as base:
        url = f"{base}/fleet.git"
        trusting = Credentials(ca=authority[0].read_bytes())
        with pytest.raises(RemoteFailed, match=r"ca\.crt"):
            await fetch(store, url)
        good, refused = await asyncio.gather(fetch(store, url, credentials=trusting), fetch(store, url, "u2"), return_exceptions=True)
        assert isinstance(good, Fetched)
        assert isinstance(refused, RemoteFailed)
        with pytest.raises(RemoteFailed):
            await fetch(store, url)


async def stuck(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await reader.read()
    finally:
        writer.close()


async def test_stuck_server_ends_at_the_timeout_and_frees_the_store(tmp_path):
    server = await asyncio.start_server(stuck, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a.git"
        store = GitStore(tmp_path / "git", fetches=1, limits=Limits(silence=timedelta(seconds=1)))
        for _ in range(2):
            begun = time.monotonic()
            with pytest.raises(Stopped, match=r"not finished within 0\.2 s"):
                await fetch(store, url, seconds=0.2)
            assert time.monotonic() - begun < 1
        store.close()


async def test_a_host_that_hangs_holds_up_no_other(remote, tmp_path):
    remote.commit({"a.yaml": "a: 1\n"})
    server = await asyncio.start_server(stuck, "127.0.0.1", 0)
    async with server, asyncio.TaskGroup() as tasks:
        silent = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        store = GitStore(tmp_path / "git", fetches=3, of_a_host=2, limits=Limits(silence=timedelta(seconds=1)))
        hanging = [tasks.create_task(ended(fetch(store, f"{silent}/{n}.git", f"h{n}", seconds=1))) for n in range(6)]
        await asyncio.sleep(0.1)
        await fetch(store, remote.url, seconds=1)
        assert not any(each.done() for each in hanging)
        for each in hanging:
            each.cancel()
    store.close()


async def test_libgit2_gives_up_on_silence_by_itself(tmp_path):
    server = await asyncio.start_server(stuck, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a.git"
        store = GitStore(tmp_path / "git", limits=Limits(silence=timedelta(seconds=0.3)))
        with pytest.raises(Stopped, match="unable to clone"):
            await fetch(store, url)


def test_exit_does_not_wait_for_a_stuck_fetch(tmp_path):
    program = f"""
import asyncio, socket
from datetime import timedelta
from pathlib import Path
from service.kinds.source import GitRef
from service.sources.credentials import Credentials
from service.sources.gitref import wanted
from service.sources.gitstore import GitStore
silent = socket.create_server(("127.0.0.1", 0))
async def main():
    store = GitStore(Path({str(tmp_path)!r}))
    url = f"http://127.0.0.1:{{silent.getsockname()[1]}}/a.git"
    await store.fetch(uid="u", url=url, credentials=Credentials(), wanted=wanted(GitRef()), timeout=timedelta(seconds=0.2))
asyncio.run(main())
"""
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20)
    assert "Stopped" in done.stderr
    assert time.monotonic() - begun < 5


async def test_restart_finds_the_store_and_forget_removes_it(remote, tmp_path):
    commit = remote.commit({"a.yaml": "a: 1\n"})
    first = await fetch(GitStore(tmp_path / "git"), remote.url)
    store = GitStore(tmp_path / "git")
    assert store.located("u1") == first.store
    assert store.located("u2") is None
    await fetch(store, remote.url, "u2")
    await store.forget("u1")
    assert refs(first) == {"refs/sluice/u2": commit}
    await store.keep_only(set())
    assert not first.store.exists()


async def test_damaged_store_is_made_anew(remote, tmp_path):
    remote.commit({"a.yaml": "a: 1\n"})
    store = GitStore(tmp_path / "git")
    got = await fetch(store, remote.url)
    (got.store / "HEAD").unlink()
    remote.commit({"a.yaml": "a: 2\n"})
    assert (await fetch(store, remote.url)).before == ""


async def test_a_damaged_store_does_not_lead_to_the_repository_around_it(remote, tmp_path):
    remote.git("init", "-q", str(tmp_path))
    commit = remote.commit({"a.yaml": "a: 1\n"})
    store = GitStore(tmp_path / "git")
    got = await fetch(store, remote.url)
    (got.store / "HEAD").unlink()
    assert (await fetch(store, remote.url)).commit == commit
    assert remote.git("-C", str(tmp_path), "for-each-ref") == ""


@asynccontextmanager
async def answering(answer: Callable[[web.Request], Awaitable[web.Response]], tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve every request with `answer`; yields the port."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def redirect(to: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=301, headers={"Location": to + request.path_qs})

    return answer


SECRETS = [Credentials(username="git", password="s3cret"), Credentials(bearer="s3cret")]


@pytest.mark.parametrize("credentials", SECRETS)
@pytest.mark.parametrize("to", ["http", "https", "plain"])
async def test_credentials_do_not_follow_a_redirect_to_another_host(tmp_path, authority, credentials, to):
    """`http`: from http to http; `https`: both with TLS; `plain`: from TLS to none."""
    seen: list[str | None] = []

    async def catch(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.Response(status=401, headers={"WWW-Authenticate": "Basic realm=x"})

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority[1])
    store = GitStore(tmp_path / "git")
    trusting = replace(credentials, ca=authority[0].read_bytes())
    scheme = "https" if to == "https" else "http"
    async with answering(catch, context if to == "https" else None) as other:
        front = answering(redirect(f"{scheme}://localhost:{other}"), None if to == "http" else context)
        async with front as port:
            with pytest.raises(RemoteFailed, match=r"redirect.*spec\.url"):
                await fetch(store, f"{'http' if to == 'http' else 'https'}://127.0.0.1:{port}/fleet.git", credentials=trusting)
    assert set(seen) <= {None}


async def test_redirects_are_followed_on_the_same_host_and_without_secrets(remote, tmp_path):
    commit = remote.commit({"a.yaml": "a: 1\n"})
    store = GitStore(tmp_path / "git")
    async with answering(redirect(remote.url.removesuffix("/fleet.git"))) as port:
        assert (await fetch(store, f"http://127.0.0.1:{port}/fleet.git")).commit == commit
    server = GitServer(root=remote.bare.parent, password="s3cret")

    async def renamed(request: web.Request) -> web.Response:
        """Like GitLab, which sends /fleet on to /fleet.git."""
        if request.path.startswith("/fleet/"):
            return web.Response(status=301, headers={"Location": request.path_qs.replace("/fleet/", "/fleet.git/")})
        return await server.answer(request)

    async with answering(renamed) as port:
        for credentials in SECRETS:
            assert (await fetch(store, f"http://127.0.0.1:{port}/fleet", credentials=credentials)).commit == commit
