import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pygit2
import pytest
from aiohttp import web

from service.gitserver import GitServer
from service.kinds.source import GitRef
from service.sources.credentials import Credentials
from service.sources.fetcherror import AuthRefused
from service.sources.gitref import wanted
from service.sources.gitstore import GitStore
from service.sources.smart import Smart

MAIN = wanted(GitRef(branch="main"))
MANY = [f"u{n}" for n in range(200)]
KNOWN = Credentials(username="git", password="s3cret")


class Counted:
    """A Git host that counts what it is asked; each answer takes a while."""

    def __init__(self, server: GitServer) -> None:
        self.server, self.posts, self.url = server, 0, ""
        self.revoked = "nobody"  # how the header Authorization begins that is not let in any more
        self.asked = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.posts += request.method == "POST"
        self.asked.set()
        await asyncio.sleep(0.05)
        if request.headers.get("Authorization", "").startswith(self.revoked):
            return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})
        return await self.server.answer(request)


@pytest.fixture
async def counted(remote) -> AsyncIterator[Counted]:
    found = Counted(GitServer(root=remote.bare.parent, password="s3cret"))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/fleet.git"
    yield found
    await runner.cleanup()


async def fetch(store: GitStore, url: str, uid: str, *, credentials: Credentials = KNOWN, hint: str = "", age: float = 0):
    return await store.fetch(
        uid=uid,
        url=url,
        credentials=credentials,
        wanted=MAIN.hinted([hint]),
        timeout=timedelta(seconds=20),
        age=timedelta(seconds=age),
    )


async def test_two_hundred_objects_share_one_fetch(counted, remote, tmp_path):
    smart = Smart()
    store = GitStore(tmp_path / "git", smart=smart)
    first = remote.commit({"a.yaml": "a: 1\n"})
    await fetch(store, counted.url, "u0")
    counted.posts = 0
    second = remote.commit({"a.yaml": "a: 2\n"})
    found = await asyncio.gather(*(fetch(store, counted.url, uid, hint=second, age=1) for uid in MANY))
    assert {each.commit for each in found} == {second}
    assert [each.before for each in found] == [first] + [""] * 199
    assert counted.posts == 2  # the list of refs and the pack, side by side
    refs = remote.git("-C", str(found[0].store), "for-each-ref", "--format=%(objectname)", "refs/sluice/").split()
    assert refs == [second] * 200

    late = await fetch(store, counted.url, "u7", hint=second, age=60)
    assert (late.commit, late.before, counted.posts) == (second, second, 2)
    await smart.close()


async def test_what_was_asked_before_the_request_does_not_count(counted, remote, tmp_path):
    store = GitStore(tmp_path / "git")
    remote.commit({"a.yaml": "a: 1\n"})
    await fetch(store, counted.url, "u0")
    counted.asked.clear()
    running = asyncio.create_task(fetch(store, counted.url, "u1"))
    await counted.asked.wait()
    second = remote.commit({"a.yaml": "a: 2\n"})
    await running
    assert (await fetch(store, counted.url, "u2")).commit == second
    third = remote.commit({"a.yaml": "a: 3\n"})
    assert (await fetch(store, counted.url, "u3", hint=third, age=60)).commit == third
    fourth = remote.commit({"a.yaml": "a: 4\n"})
    assert (await fetch(store, counted.url, "u3", age=60)).commit == fourth


async def test_a_commit_counts_only_for_credentials_that_may_see_it(counted, remote, tmp_path):
    store = GitStore(tmp_path / "git")
    commit = remote.commit({"a.yaml": "a: 1\n"})
    wrong = Credentials(username="git", password="wr0ng")
    good, refused = await asyncio.gather(
        fetch(store, counted.url, "u0", hint=commit),
        fetch(store, counted.url, "u1", credentials=wrong, hint=commit, age=60),
        return_exceptions=True,
    )
    assert good.commit == commit
    assert isinstance(refused, AuthRefused)


@pytest.mark.parametrize("is_short", [False, True])
async def test_revoked_credentials_see_nothing_of_what_others_fetch(counted, remote, tmp_path, is_short):
    smart = Smart() if is_short else None
    store = GitStore(tmp_path / "git", smart=smart)
    other = Credentials(bearer="s3cret")
    try:
        first = remote.commit({"a.yaml": "a: 1\n"})
        for uid, known in (("u0", KNOWN), ("u1", other)):
            assert (await fetch(store, counted.url, uid, credentials=known)).commit == first
        counted.revoked = "Bearer"
        second = remote.commit({"a.yaml": "a: 2\n"})
        assert (await fetch(store, counted.url, "u0", hint=second)).commit == second
        pinned = wanted(GitRef(commit=second))
        for want in (MAIN, MAIN.hinted([second]), pinned):
            with pytest.raises(AuthRefused):
                await store.fetch(uid="u1", url=counted.url, credentials=other, wanted=want, timeout=timedelta(seconds=20))
        assert store.located("u1") != store.located("u0")
        assert second not in pygit2.Repository(str(store.located("u1")))
        assert first in pygit2.Repository(str(store.located("u1")))
    finally:
        if smart is not None:
            await smart.close()
