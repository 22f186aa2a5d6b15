"""The short way against real Git servers, through GitStore, as the service uses it."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pygit2
import pytest
from aiohttp import web

from service.gitserver import GitServer
from service.kinds.source import GitRef
from service.sources.credentials import Credentials
from service.sources.fetcherror import AuthRefused, FetchError, NoRef, RemoteFailed, Stopped
from service.sources.fetchprocess import Limits
from service.sources.gitref import wanted
from service.sources.gitstore import GitStore
from service.sources.smart import Smart
from service.sources.transfer import Fetched
from tests.peers.socks import PASSWORD, SocksProxy

MAIN = wanted(GitRef(branch="main"))
RANGE = wanted(GitRef(semver="1.x"))
NOBODY = Credentials()
SECRETS = [Credentials(username="git", password="s3cret"), Credentials(bearer="s3cret")]


class Old(GitServer):
    """A server that has not heard of protocol v2."""

    def _environment(self, request: web.Request) -> dict[str, str]:
        return {**super()._environment(request), "GIT_PROTOCOL": ""}


@dataclass
class Front:
    """Stands before a real server: notes what is asked, and may answer itself."""

    server: GitServer
    asked: list[str] = field(default_factory=list)
    between: Callable[[web.Request, str], Awaitable[web.StreamResponse | None]] | None = None
    port: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        what = (
            "offer" if request.method == "GET" else "refs" if b"command=ls-refs" in body else "pack" if b"command=fetch" in body else "old"
        )
        if request.headers.get("User-Agent") != "git/2.0 (sluice)":
            what = "libgit2"
        self.asked.append(what)
        told = await self.between(request, what) if self.between is not None else None
        return told if told is not None else await self.server.answer(request)

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{path:.*}", self.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=tls).start()
        self.port = runner.addresses[0][1]
        try:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/fleet.git"
        finally:
            await runner.cleanup()

    def taken(self) -> list[str]:
        """What was asked since the last call, in the order of the alphabet."""
        found, self.asked[:] = sorted(self.asked), []
        return found


@pytest.fixture
async def smart() -> AsyncIterator[Smart]:
    smart = Smart()
    yield smart
    await smart.close()


@pytest.fixture
async def front(remote) -> Front:
    return Front(GitServer(root=remote.bare.parent))


@pytest.fixture
async def url(front) -> AsyncIterator[str]:
    async with front.serving() as url:
        yield url


@pytest.fixture
def store(tmp_path, smart) -> GitStore:
    return GitStore(tmp_path / "git", smart=smart)


async def fetch(store: GitStore, url: str, uid: str = "u1", *, hint: str = "", ref=MAIN, credentials=NOBODY) -> Fetched:
    return await store.fetch(uid=uid, url=url, credentials=credentials, wanted=ref.hinted([hint]), timeout=timedelta(seconds=5))


def check(remote, got: Fetched) -> None:
    """Git itself finds the store complete, and the object's ref at what was said."""
    remote.git("-C", str(got.store), "fsck", "--connectivity-only", "--strict")
    assert remote.git("-C", str(got.store), "rev-parse", "refs/sluice/u1") == got.commit
    assert remote.git("-C", str(got.store), "rev-parse", f"{got.commit}^{{tree}}") == got.tree
    blobs = remote.git("-C", str(got.store), "ls-tree", "-r", got.commit)
    assert blobs == remote.git("-C", str(remote.bare), "ls-tree", "-r", got.commit)


async def test_a_push_is_one_round_of_two_requests(remote, front, store, url):
    first = remote.commit({"a.yaml": "a: 1\n", **{f"apps/{n}/x.yaml": f"x: {n}\n" for n in range(50)}})
    assert (await fetch(store, url)).commit == first
    assert set(front.taken()) == {"libgit2"}, "the first fetch is a clone"
    second = remote.commit({"apps/7/x.yaml": "x: seven\n"}, message="Second")
    got = await fetch(store, url, hint=second)
    assert (got.commit, got.before, got.subject, got.author, got.is_behind) == (second, first, "Second", "Ada", False)
    assert front.taken() == ["offer", "pack", "refs"]
    check(remote, got)
    third = remote.commit({"apps/8/x.yaml": None, "new/deep/b.yaml": "b: 1\n"})
    got = await fetch(store, url, hint=third)
    assert (got.commit, front.taken()) == (third, ["pack", "refs"])
    check(remote, got)
    assert (await fetch(store, url)).commit == third
    assert front.taken() == ["refs"]
    fourth = remote.commit({"a.yaml": "a: 4\n"})
    got = await fetch(store, url)
    assert (got.commit, front.taken()) == (fourth, ["pack", "refs"])
    check(remote, got)


async def test_a_payload_is_never_believed(remote, front, store, url):
    first = remote.commit({"a.yaml": "a: 1\n"})
    await fetch(store, url)
    remote.git("checkout", "-q", "-b", "other")
    elsewhere = remote.commit({"a.yaml": "a: evil\n"}, branch="other")
    got = await fetch(store, url, hint=elsewhere)
    assert (got.commit, got.is_behind) == (first, True)
    assert elsewhere not in pygit2.Repository(str(got.store)), "nothing of it is kept"
    front.taken()
    remote.git("checkout", "-q", "main")
    second = remote.commit({"a.yaml": "a: 2\n"})
    for hint in ("no id", elsewhere):
        got = await fetch(store, url, hint=hint)
        assert got.commit == second
    check(remote, got)


async def test_a_redelivered_push_changes_nothing_and_a_forced_one_back_does(remote, front, store, url):
    ids = [remote.commit({"a.yaml": f"a: {n}\n"}) for n in range(3)]
    await fetch(store, url)
    ids.append(remote.commit({"a.yaml": "a: 3\n"}))
    await fetch(store, url, hint=ids[3])
    front.taken()
    got = await fetch(store, url, hint=ids[2])
    assert (got.commit, got.is_behind, front.taken()) == (ids[3], False, ["refs"])
    remote.git("push", "-q", "--force", "origin", f"{ids[2]}:refs/heads/main")
    got = await fetch(store, url, hint=ids[2])
    assert (got.commit, got.before, front.taken()) == (ids[2], ids[3], ["refs"])
    check(remote, got)
    remote.git("push", "-q", "--force", "origin", f"{ids[0]}:refs/heads/main")
    got = await fetch(store, url, hint=ids[0])
    assert (got.commit, front.taken()) == (ids[0], ["pack", "refs"]), "it is older than the clone"
    check(remote, got)


async def test_a_ref_that_lags_behind_its_hook_is_asked_again(remote, front, store, url):
    first = remote.commit({"a.yaml": "a: 1\n"})
    await fetch(store, url)
    second = remote.commit({"a.yaml": "a: 2\n"})
    remote.git("push", "-q", "origin", f"{second}:refs/heads/soon")
    remote.git("push", "-q", "--force", "origin", f"{first}:refs/heads/main")
    front.taken()
    seen = 0

    async def later(_: web.Request, what: str) -> None:
        nonlocal seen
        seen += what == "refs"
        if seen == 3:
            seen += 1
            await asyncio.to_thread(remote.git, "push", "-q", "origin", f"{second}:refs/heads/main")

    front.between = later
    got = await fetch(store, url, hint=second)
    assert (got.commit, got.before) == (second, first)
    assert front.asked.count("refs") == 3
    check(remote, got)


async def test_a_ref_that_never_follows_costs_a_moment(remote, front, store, url):
    first = remote.commit({"a.yaml": "a: 1\n"})
    await fetch(store, url)
    front.taken()
    async with asyncio.timeout(1.5):
        assert (await fetch(store, url, hint="a" * 40)).commit == first
    assert front.asked.count("refs") == 5


async def test_several_commits_a_merge_and_an_unrelated_history(remote, front, store, url):
    base = remote.commit({"a.yaml": "a: 1\n"})
    await fetch(store, url)
    for n in range(3):
        tip = remote.commit({f"b{n}.yaml": "b: 1\n"})
    got = await fetch(store, url, hint=tip)
    check(remote, got)
    remote.git("checkout", "-q", "-b", "side", base)
    remote.commit({"c.yaml": "c: 1\n"}, branch="side")
    remote.git("checkout", "-q", "main")
    remote.git("merge", "-q", "--no-edit", "side")
    tip = remote.commit({})
    got = await fetch(store, url, hint=tip)
    check(remote, got)
    remote.git("checkout", "-q", "--orphan", "new")
    tip = remote.commit({"d.yaml": "d: 1\n"})
    got = await fetch(store, url, hint=tip)
    assert got.commit == tip
    check(remote, got)
    front.taken()
    assert "libgit2" not in front.asked


async def test_many_pushes_keep_the_store_short(remote, store, url):
    for n in range(20):
        tip = remote.commit({"a.yaml": f"a: {n}\n"})
        got = await fetch(store, url, hint=tip)
    assert int(remote.git("-C", str(got.store), "rev-list", "--count", "--all")) <= 17
    check(remote, got)


async def test_tags_names_and_HEAD(remote, front, store, url):  # noqa: N802 - Git's own name
    first = remote.commit({"a.yaml": "a: 1\n"})
    tag = wanted(GitRef(tag="v1"))
    remote.git("tag", "-a", "-m", "one", "v1")
    remote.git("push", "-q", "origin", "v1")
    assert (await fetch(store, url, ref=tag)).commit == first
    second = remote.commit({"a.yaml": "a: 2\n"})
    remote.git("tag", "-a", "-f", "-m", "two", "v1")
    remote.git("push", "-q", "--force", "origin", "v1")
    front.taken()
    got = await fetch(store, url, ref=tag, hint=remote.git("rev-parse", "v1"))  # a payload names the tag's own id
    assert (got.commit, got.is_behind, front.taken()) == (second, False, ["offer", "pack", "refs"])
    for number, name in enumerate(("HEAD", "refs/heads/main", "refs/tags/v1^{}")):
        assert (await fetch(store, url, f"named{number}", ref=wanted(GitRef(name=name)))).commit == second
    assert "libgit2" not in front.taken()
    with pytest.raises(NoRef, match="refs/heads/main2"):
        await fetch(store, url, ref=wanted(GitRef(branch="main2")))


async def test_a_large_push_goes_the_ordinary_way(remote, front, store, url):
    remote.commit({"a.yaml": "a: 1\n"})
    await fetch(store, url)
    for n, files in enumerate(({f"many/{n}.yaml": f"{n}" for n in range(250)}, {"big.bin": "".join(map(str, range(400_000)))})):
        tip = remote.commit(files)
        front.taken()
        got = await fetch(store, url, hint=tip)
        assert got.commit == tip
        assert "libgit2" in front.taken(), n
        check(remote, got)
    tip = remote.commit({"a.yaml": "a: 2\n"})
    assert (await fetch(store, url, hint=tip)).commit == tip
    assert front.taken() == ["pack", "refs"], "one large push does not close the short way"


Answer = Callable[[web.Request], web.Response]


def packed(body: bytes, kind: str = "application/x-git-upload-pack-result", **headers: str) -> Answer:
    return lambda _: web.Response(body=body, headers={"Content-Type": kind, **headers})


@pytest.mark.parametrize(
    ("what", "answer"),
    [
        ("offer", packed(b"", "application/x-git-upload-pack-advertisement")),
        ("offer", packed(b"000eversion 3\n0000", "application/x-git-upload-pack-advertisement")),
        ("offer", packed(b"<html>", "text/html")),
        ("offer", lambda _: web.Response(status=500)),
        ("refs", packed(b"")),
        ("refs", packed(b"0000")),
        ("refs", packed(b"garbage")),
        ("refs", packed(b"0000", "text/html")),
        ("refs", packed(b"0000", **{"Content-Encoding": "br"})),
        ("pack", packed(b"000dpackfile\n" + b"0009\1PACK" + b"0000")),
        ("pack", packed(b"000dpackfile\n" + b"0009\3oops" + b"0000")),
        ("pack", packed(b"x" * 2**20)),
        ("pack", lambda _: web.Response(status=403)),
    ],
)
async def test_whatever_a_server_answers_the_ordinary_way_is_left(remote, front, store, url, what, answer):
    first = remote.commit({"a.yaml": "a: 1\n"})
    await fetch(store, url)

    async def instead(request: web.Request, asked: str) -> web.Response | None:
        return answer(request) if asked == what else None

    front.between = instead
    second = remote.commit({"a.yaml": "a: 2\n"})
    got = await fetch(store, url, hint=second)
    assert (got.commit, got.before) == (second, first)
    assert {what, "libgit2"} <= set(front.taken())
    check(remote, got)


def pack_of(remote, objects: list[str]) -> bytes:
    listed = "\n".join(objects).encode()
    return subprocess.run(["git", "pack-objects", "-q", "--stdout"], cwd=remote.work, input=listed, capture_output=True, check=True).stdout


async def test_a_pack_without_all_objects_is_refused_whole(remote, front, store, url):
    remote.commit({"a/a.yaml": "a: 1\n"})
    await fetch(store, url)
    second = remote.commit({"a/a.yaml": "a: 2\n", "b/b.yaml": "b: 2\n"})
    objects = remote.git("rev-list", "--objects", "--no-object-names", "HEAD", "^HEAD~1").split()
    for missing in objects:
        pack = await asyncio.to_thread(pack_of, remote, [each for each in objects if each != missing])
        cut = packed(b"000dpackfile\n" + b"%04x\1" % (len(pack) + 5) + pack + b"0000")

        async def instead(request: web.Request, asked: str, cut: Answer = cut) -> web.Response | None:
            return cut(request) if asked == "pack" else web.Response(status=500) if asked == "libgit2" else None

        front.between = instead
        with pytest.raises(RemoteFailed):
            await fetch(store, url, hint=second)
        repo = pygit2.Repository(str(store.located("u1")))
        assert not any(each in repo for each in objects), "something of it was stored"
    front.between = None
    check(remote, await fetch(store, url, hint=second))


async def test_a_server_without_protocol_v2_is_not_asked_twice(remote, front, store, url):
    remote.commit({"a.yaml": "a: 1\n"})
    await fetch(store, url)

    async def old(request: web.Request, _: str) -> web.StreamResponse:
        return await Old(root=front.server.root).answer(request)

    front.between = old
    for n in range(2):
        front.taken()
        tip = remote.commit({"a.yaml": f"a: old {n}\n"})
        assert (await fetch(store, url, hint=tip)).commit == tip
        assert front.asked.count("offer") == 1 - n


@pytest.mark.parametrize("credentials", SECRETS, ids=("basic", "bearer"))
async def test_credentials_go_to_the_one_host_alone(remote, store, smart, credentials):
    tip = remote.commit({"a.yaml": "a: 1\n"})
    front = Front(GitServer(root=remote.bare.parent, password="s3cret"))
    seen: list[str | None] = []

    async def elsewhere(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.Response(status=404)

    other = web.AppRunner(web.Application(middlewares=[web.middleware(lambda request, _: elsewhere(request))]))
    await other.setup()
    await web.TCPSite(other, "127.0.0.1", 0).start()
    async with front.serving() as url:
        await fetch(store, url, credentials=credentials)
        tip = remote.commit({"a.yaml": "a: 2\n"})
        front.taken()
        assert (await fetch(store, url, credentials=credentials, hint=tip)).commit == tip
        assert front.taken() == ["offer", "pack", "refs"]

        async def moved(request: web.Request, _: str) -> web.Response:
            return web.Response(status=302, headers={"Location": f"http://127.0.0.1:{other.addresses[0][1]}{request.path_qs}"})

        front.between = moved
        with pytest.raises(RemoteFailed):
            await fetch(store, url, credentials=credentials, hint="b" * 40)
        assert set(seen) <= {None}

        async def refused(_request: web.Request, _: str) -> web.Response:
            return web.Response(status=401, headers={"WWW-Authenticate": "Basic realm=git"})

        front.between = refused
        with pytest.raises(AuthRefused):
            await fetch(store, url, credentials=credentials)
    await other.cleanup()


async def test_a_private_ca_vouches_for_its_own_remote_alone(remote, store, authority):
    tip = remote.commit({"a.yaml": "a: 1\n"})
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority[1])
    front, trusting = Front(GitServer(root=remote.bare.parent)), Credentials(ca=authority[0].read_bytes())
    async with front.serving(context) as url:
        await fetch(store, url, credentials=trusting)
        tip = remote.commit({"a.yaml": "a: 2\n"})
        front.taken()
        assert (await fetch(store, url, credentials=trusting, hint=tip)).commit == tip
        assert front.taken() == ["offer", "pack", "refs"]
        with pytest.raises(RemoteFailed, match=r"ca\.crt"):
            await fetch(store, url)
        assert front.taken() == []


async def test_a_connection_that_went_stale_is_made_anew(remote, front, store):
    remote.commit({"a.yaml": "a: 1\n"})
    async with front.serving() as url:
        await fetch(store, url)
        await fetch(store, url)
    tip = remote.commit({"a.yaml": "a: 2\n"})
    async with front.serving() as url:
        front.taken()
        assert (await fetch(store, url, hint=tip)).commit == tip
        assert front.taken() == ["pack", "refs"]


async def test_a_silent_server_is_given_up(remote, front, tmp_path, url):
    remote.commit({"a.yaml": "a: 1\n"})
    smart = Smart(silence=timedelta(seconds=0.5))
    store = GitStore(tmp_path / "git", smart=smart)
    await fetch(store, url)

    async def silent(_request: web.Request, _: str) -> None:
        await asyncio.sleep(3)

    front.between = silent
    with pytest.raises(Stopped, match="unable to clone"):
        await fetch(store, url)
    await smart.close()


async def test_two_objects_of_one_store(remote, front, store, url):
    first = remote.commit({"a.yaml": "a: 1\n"})
    await fetch(store, url)
    got = await fetch(store, url, "u2")
    assert (got.commit, got.before) == (first, "")
    second = remote.commit({"a.yaml": "a: 2\n"})
    front.taken()
    both = await asyncio.gather(fetch(store, url, hint=second), fetch(store, url, "u2", hint=second))
    assert [each.commit for each in both] == [second, second]
    assert front.taken().count("pack") == 1, "what the one has fetched is there for the other"
    check(remote, both[0])


async def test_damaged_objects_are_fetched_again(remote, front, store, url):
    remote.commit({"a.yaml": "a: 1\n"})
    await fetch(store, url)
    second = remote.commit({"a.yaml": "a: 2\n"})
    got = await fetch(store, url, hint=second)
    await asyncio.to_thread(empty, got.store)
    third = remote.commit({"a.yaml": "a: 3\n"})
    got = await fetch(store, url, hint=third)
    assert got.commit == third
    assert pygit2.Repository(str(got.store))[third].tree["a.yaml"].data == b"a: 3\n"


def empty(store: Path) -> None:
    """What a power cut may leave of files just written."""
    for each in (store / "objects").glob("??/*"):
        each.chmod(0o600)
        each.write_bytes(b"")


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


async def test_a_range_of_versions_is_fetched_without_a_clone_of_all(remote, front, store, tmp_path, url):
    def tag(name: str, text: str, *more: str) -> str:
        commit = remote.commit({"a.yaml": f"a: {text}\n"})
        remote.git("tag", *more, name)
        remote.git("push", "-q", "origin", name)
        return commit

    def labelled(got: Fetched) -> tuple[str, str]:
        return got.label, RANGE.revision(got.commit, got.label).rpartition(":")[2]

    plain = GitStore(tmp_path / "plain")
    first = tag("v1.0.0", "one")
    tag("2.0.0", "two")
    for each in (store, plain):
        assert labelled(await fetch(each, url, ref=RANGE)) == ("v1.0.0", first)
    third = tag("1.4.0", "three", "-a", "-m", "annotated")
    front.taken()
    assert labelled(await fetch(store, url, ref=RANGE, hint=third)) == ("1.4.0", third)
    assert front.taken() == ["offer", "pack", "refs"]
    assert labelled(await fetch(plain, url, ref=RANGE)) == ("1.4.0", third)
    late = tag("3.0.0", "late")
    front.taken()
    got = await fetch(store, url, ref=RANGE, hint=late)
    assert (labelled(got), got.is_behind) == (("1.4.0", third), False)
    assert front.taken() == ["pack", "refs"], "a tag outside the range is asked for once"
    await asyncio.sleep(1.05)  # a commit's time has seconds
    newer = tag("v1.4.0", "the same version again")
    for each in (store, plain):
        assert labelled(await fetch(each, url, ref=RANGE)) == ("v1.4.0", newer)
    for each in (store, plain):
        with pytest.raises(NoRef, match="no match found for semver: >9"):
            await fetch(each, url, "u9", ref=wanted(GitRef(semver=">9")))


async def test_a_password_is_given_to_each_connection_of_a_fetch(remote, tmp_path):
    ids = [remote.commit({"a.yaml": f"a: {n}\n"}) for n in range(24)]
    known = Credentials(username="git", password="s3cret")
    store = GitStore(tmp_path / "git", limits=Limits(objects=20))
    async with GitServer(root=remote.bare.parent, password="s3cret").serving() as base:
        await fetch(store, f"{base}/fleet.git", credentials=known)
        remote.git("checkout", "-q", "-b", "old", ids[15])
        remote.commit({"c.yaml": "c: 1\n"}, branch="old")
        remote.git("checkout", "-q", "main")
        remote.git("merge", "-q", "--no-edit", "old")
        for number in range(2):
            commit = remote.commit({"b.yaml": f"b: {number}\n"})
            assert (await fetch(store, f"{base}/fleet.git", credentials=known)).commit == commit
        with pytest.raises(NoRef):
            await fetch(store, f"{base}/fleet.git", credentials=known, ref=wanted(GitRef(branch="none")))


@asynccontextmanager
async def proxy(target: int, given: str, seen: list[str]) -> AsyncIterator[int]:
    """A proxy that asks for credentials and carries every connection to one port; yields its own."""

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                if f"Proxy-Authorization: {given}\r\n" in head:
                    break
                writer.write(b'HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic realm="p"\r\nContent-Length: 0\r\n\r\n')
            seen.append(head.partition("\r\n")[0])
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await asyncio.gather(pipe(reader, far_writer), pipe(far_reader, writer))
        writer.close()

    async with await asyncio.start_server(accepted, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_all_of_it_goes_through_the_proxy(remote, tmp_path, smart, authority):  # three forked processes
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority[1])
    front, seen = Front(GitServer(root=remote.bare.parent, password="s3cret")), []
    plain, short = GitStore(tmp_path / "plain"), GitStore(tmp_path / "short", smart=smart)
    url = "https://localhost:1/fleet.git"  # where nobody listens
    async with front.serving(context), proxy(front.port, "Basic cHJveHk6cCBk", seen) as port:
        known = replace(SECRETS[0], ca=authority[0].read_bytes(), proxy=f"http://proxy:p%20d@127.0.0.1:{port}")
        for number in range(2):
            commit = remote.commit({"a.yaml": f"a: {number}\n"})
            for each in (plain, short):
                assert (await fetch(each, url, credentials=known, hint=commit)).commit == commit
        assert set(seen) == {"CONNECT localhost:1 HTTP/1.1"}
        assert "pack" in front.asked
        wrong = replace(known, proxy=f"http://proxy:wr0ng@127.0.0.1:{port}")
        with pytest.raises(FetchError) as told:
            await fetch(plain, url, credentials=wrong)
        assert "wr0ng" not in str(told.value)
        await smart.close()


@pytest.mark.real
@pytest.mark.parametrize(("scheme", "heard"), [("socks5", "127.0.0.1"), ("socks5h", "localhost")])
async def test_all_of_it_goes_through_a_proxy_of_socks(peers, remote, tmp_path, smart, authority, scheme, heard):
    peers.need("socks")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority[1])
    front = Front(GitServer(root=remote.bare.parent, password="s3cret"))
    plain, short = GitStore(tmp_path / "plain"), GitStore(tmp_path / "short", smart=smart)
    with SocksProxy(tmp_path) as proxy:
        async with front.serving(context):
            url, known = (
                f"https://localhost:{front.port}/fleet.git",
                replace(SECRETS[0], ca=authority[0].read_bytes(), proxy=proxy.url(scheme)),
            )
            for number in range(2):
                commit = remote.commit({"a.yaml": f"a: {number}\n"})
                for each in (plain, short):
                    assert (await fetch(each, url, credentials=known, hint=commit)).commit == commit
            assert "pack" in front.asked
            assert "libgit2" in front.asked
            assert len(proxy.asked) >= 3
            assert all(heard in each for each in proxy.asked)
            wrong = replace(known, proxy=proxy.url(scheme).replace("ann", "ben"))
            with pytest.raises(FetchError) as told:
                await fetch(plain, url, credentials=wrong)
            assert PASSWORD not in str(told.value)
            assert proxy.url(scheme) not in str(told.value)
            await smart.close()
