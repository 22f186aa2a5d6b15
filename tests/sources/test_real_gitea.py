"""The short way against a real Git host, with its own credentials. Needs the real Gitea."""

import asyncio
import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pygit2
import pytest

from service.kinds.source import GitRef
from service.sources.credentials import Credentials
from service.sources.gitref import wanted
from service.sources.gitstore import GitStore
from service.sources.smart import Smart
from tests.peers.gitea import USER, Gitea

pytestmark = pytest.mark.real


@pytest.fixture
def host(peers: Any, tmp_path: Path) -> Iterator[Gitea]:
    peers.need("gitea")
    with Gitea(tmp_path / "gitea") as host:
        yield host


async def test_gitea_serves_the_short_way(host, remote, tmp_path, caplog):  # a host that starts in 3 s
    caplog.set_level(logging.DEBUG, "service.sources.direct")
    smart = Smart()
    push_to = await asyncio.to_thread(host.make_repository, "fleet")
    known = Credentials(username=USER, password=host.password)
    store, main = GitStore(tmp_path / "git", smart=smart), wanted(GitRef(branch="main"))
    for number in range(4):
        commit = remote.commit({"a.yaml": f"a: {number}\n", f"apps/{number}/b.yaml": "b: 1\n"})
        remote.git("push", "-q", push_to, "HEAD:refs/heads/main")
        got = await store.fetch(
            uid="u1",
            url=f"{host.url}/{USER}/fleet.git",
            credentials=known,
            wanted=main.hinted([commit]),
            timeout=timedelta(seconds=10),
        )
        assert got.commit == commit
        remote.git("-C", str(got.store), "fsck", "--connectivity-only")
    assert [each.__dict__["reason"] for each in caplog.records] == ["the store is empty"], "only the first is a clone"
    await smart.close()


@pytest.mark.parametrize("is_short", [True, False])
async def test_gitea_serves_a_commit_by_its_id(host, remote, tmp_path, is_short):  # a host that starts in 3 s
    smart = Smart() if is_short else None
    push_to = await asyncio.to_thread(host.make_repository, "fleet")
    ids = [remote.commit({"a.yaml": f"a: {number}\n"}) for number in range(9)]
    remote.git("push", "-q", push_to, "HEAD:refs/heads/main")
    got = await GitStore(tmp_path / "git", smart=smart).fetch(
        uid="u1",
        url=f"{host.url}/{USER}/fleet.git",
        credentials=Credentials(username=USER, password=host.password),
        wanted=wanted(GitRef(commit=ids[4])),
        timeout=timedelta(seconds=10),
    )
    repo = pygit2.Repository(str(got.store))
    assert (got.commit, ids[3] in repo, ids[5] in repo) == (ids[4], False, False)
    if smart is not None:
        await smart.close()
