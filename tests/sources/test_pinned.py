"""A pinned commit against real Git servers: those that serve ids, those that refuse them, and a branch that must lead to it."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pygit2
import pytest
from pygit2.enums import ObjectType

from service.gitserver import GitServer
from service.kinds.source import GitRef
from service.sources.credentials import Credentials
from service.sources.fetcherror import NoRef
from service.sources.gitref import wanted
from service.sources.gitstore import GitStore
from service.sources.smart import Smart
from service.sources.transfer import Fetched
from tests.sources.conftest import Remote
from tests.sources.test_direct import Front

MANY = 200


@pytest.fixture
async def front(remote) -> AsyncIterator[tuple[Front, str]]:
    front = Front(GitServer(root=remote.bare.parent))
    async with front.serving() as url:
        yield front, url


def long(remote: Remote, branch: str = "main", start: str = "") -> list[str]:
    """Make a branch of MANY commits, each with a file of its own content; returns their ids, oldest first."""
    lines = []
    for number in range(MANY):
        text = f"{branch}: {number}\n" * 20
        lines += [f"commit refs/heads/{branch}", f"mark :{number + 1}", f"committer Ada <ada@example.com> {number} +0000", "data 1", "x"]
        lines += [f"from {start}"] if start and not number else []
        lines += ["M 100644 inline a.yaml", f"data {len(text)}", text]
    remote.git("-C", str(remote.bare), "fast-import", "--quiet", "--force", data="\n".join(lines).encode())
    return remote.git("-C", str(remote.bare), "rev-list", "--reverse", f"refs/heads/{branch}").split()


def behind(remote: Remote, got: Fetched) -> int:
    """How many commits the store admits to; Git itself finds it complete."""
    remote.git("-C", str(got.store), "fsck", "--connectivity-only", "--strict")
    return int(remote.git("-C", str(got.store), "rev-list", "--count", got.commit))


def commits(got: Fetched) -> int:
    """How many commits lie in the store, admitted or not."""
    repo = pygit2.Repository(str(got.store))
    return sum(repo.odb.read_header(each)[0] == ObjectType.COMMIT for each in set(repo.odb))


async def fetch(store: GitStore, url: str, ref: GitRef, uid: str = "u1", credentials: Credentials = Credentials()) -> Fetched:  # noqa: B008
    return await store.fetch(uid=uid, url=url, credentials=credentials, wanted=wanted(ref), timeout=timedelta(seconds=10))


async def test_an_id_that_is_refused_costs_no_history(remote, front, tmp_path):
    _, url = front
    long(remote)
    remote.git("-C", str(remote.bare), "config", "uploadpack.allowReachableSHA1InWant", "true")
    with pytest.raises(NoRef, match="not on any branch or tag"):
        await fetch(GitStore(tmp_path / "git"), url, GitRef(commit="0" * 39 + "1"))
    (store,) = (tmp_path / "git").iterdir()
    assert list(pygit2.Repository(str(store)).odb) == []


@pytest.mark.parametrize("at", [0, 120, MANY - 1])
async def test_an_id_brings_one_commit(remote, front, tmp_path, at):
    server, url = front
    ids = long(remote)
    remote.git("-C", str(remote.bare), "config", "uploadpack.allowReachableSHA1InWant", "true")
    got = await fetch(GitStore(tmp_path / "git"), url, GitRef(commit=ids[at]))
    assert (got.commit, behind(remote, got), commits(got)) == (ids[at], 1, 1)
    server.taken()
    again = GitStore(tmp_path / "git")
    assert (await fetch(again, url, GitRef(commit=ids[at]))).before == ids[at]
    assert server.taken() == [], "what an id names never changes"
    moved = await fetch(again, url, GitRef(commit=ids[50]))
    assert (moved.commit, moved.before, commits(moved)) == (ids[50], ids[at], 2)


async def test_an_id_is_asked_for_in_one_round(remote, front, tmp_path):
    server, url = front
    ids = long(remote)  # protocol v2 serves ids, whatever the server says of version 0
    smart = Smart()
    store = GitStore(tmp_path / "git", smart=smart)
    got = await fetch(store, url, GitRef(commit=ids[7]))
    assert (got.commit, behind(remote, got), commits(got), server.taken()) == (ids[7], 1, 1, ["offer", "pack"])
    got = await fetch(store, url, GitRef(commit=ids[9]))
    assert (got.commit, behind(remote, got), commits(got), server.taken()) == (ids[9], 1, 2, ["pack"])
    tip = await fetch(store, url, GitRef(branch="main"), "u2")
    assert (tip.commit, behind(remote, tip)) == (ids[-1], 1)
    with pytest.raises(NoRef, match="not on any branch or tag"):
        await fetch(store, url, GitRef(commit="0" * 39 + "1"), "u3")
    await smart.close()


async def test_a_server_that_refuses_ids_is_looked_through_in_stretches(remote, front, tmp_path):
    _, url = front
    ids = long(remote)
    store = GitStore(tmp_path / "git")
    got = await fetch(store, url, GitRef(commit=ids[-30]))
    assert (got.commit, commits(got)) == (ids[-30], 64), "and no further"
    assert behind(remote, got) <= 16 + 1
    got = await fetch(store, url, GitRef(commit=ids[3]), "u2")
    assert (got.commit, commits(got)) == (ids[3], MANY)
    remote.git("-C", str(remote.bare), "tag", "-a", "-m", "x", "v1", ids[0])
    got = await fetch(GitStore(tmp_path / "other"), url, GitRef(commit=ids[0]))
    assert (got.commit, commits(got)) == (ids[0], 1), "a tag leads to it"


async def test_a_branch_must_lead_to_its_commit(remote, front, tmp_path):
    _, url = front
    ids = long(remote)
    fork = long(remote, "fork", start=ids[150])
    remote.git("-C", str(remote.bare), "config", "uploadpack.allowAnySHA1InWant", "true")
    smart = Smart()
    store = GitStore(tmp_path / "git", smart=smart)
    await fetch(store, url, GitRef(commit=fork[-1]))
    with pytest.raises(NoRef, match="not on branch 'main'"):
        await fetch(store, url, GitRef(branch="main", commit=fork[-1]), "u2")
    with pytest.raises(NoRef, match="refs/heads/nope"):
        await fetch(store, url, GitRef(branch="nope", commit=ids[1]), "u2")
    other = GitStore(tmp_path / "other")
    got = await fetch(other, url, GitRef(branch="main", commit=ids[-40]))
    assert (got.commit, commits(got)) == (ids[-40], 64)
    got = await fetch(other, url, GitRef(branch="main", commit=ids[-1]), "u2")
    assert (got.commit, behind(remote, got) <= 17) == (ids[-1], True)
    await smart.close()


async def test_tags_and_ranges_bring_one_commit(remote, front, tmp_path):
    _, url = front
    ids = long(remote)
    for number, commit in enumerate(ids[100:110]):
        remote.git("-C", str(remote.bare), "tag", f"v1.0.{number}", commit)
    for number, ref in enumerate((GitRef(tag="v1.0.3"), GitRef(semver="1.0.x"), GitRef(name="refs/tags/v1.0.4"))):
        got = await fetch(GitStore(tmp_path / f"git{number}"), url, ref)
        assert (behind(remote, got), commits(got)) == (1, 1)
