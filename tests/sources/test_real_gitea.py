"""Fetches from a real Git host with its own credentials, over http by the short way, and over ssh. Needs the real Gitea."""

import asyncio
import logging
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pygit2
import pytest

from service.kinds.source import GitRef
from service.sources.credentials import Credentials
from service.sources.fetcherror import AuthRefused, RemoteFailed
from service.sources.gitref import wanted
from service.sources.gitstore import GitStore
from service.sources.smart import Smart
from service.sources.ssh import read_ssh
from service.sources.tree import GitTree
from tests.peers.gitea import USER, Gitea
from tests.sources.bench import opened
from tests.sources.conftest import make_remote
from tests.sources.test_ssh import keygen
from tests.sources.test_submodules import link

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


@pytest.fixture
def ssh_host(peers: Any, tmp_path: Path) -> Iterator[Gitea]:
    peers.need("gitea")
    if shutil.which("ssh-keyscan") is None:
        pytest.skip("needs ssh-keyscan, of Debian's openssh-client")
    with Gitea(tmp_path / "gitea", ssh=True) as host:
        yield host


async def test_gitea_over_ssh(ssh_host, remote, tmp_path):  # a host that starts in 3 s, and a process for each fetch
    push_to = await asyncio.to_thread(ssh_host.make_repository, "fleet")
    for name in ("known", "stranger"):
        keygen(tmp_path / name, "ed25519")
    ssh_host.add_key("fleet", (tmp_path / "known.pub").read_text())
    scan = ("ssh-keyscan", "-p", str(ssh_host.ssh_port), "127.0.0.1")
    hosts = (await asyncio.to_thread(subprocess.run, scan, capture_output=True, check=True, timeout=20)).stdout
    good, bad = (read_ssh({"identity": (tmp_path / name).read_bytes(), "known_hosts": hosts}) for name in ("known", "stranger"))
    store, url = GitStore(tmp_path / "git"), f"ssh://git@127.0.0.1:{ssh_host.ssh_port}/{USER}/fleet.git"

    async def fetch(credentials: Credentials, ref: GitRef) -> str:
        return (await store.fetch(uid="u1", url=url, credentials=credentials, wanted=wanted(ref), timeout=timedelta(seconds=20))).commit

    for number in range(2):
        commit = remote.commit({"a.yaml": f"a: {number}\n"})
        remote.git("push", "-q", push_to, "HEAD:refs/heads/main")
        assert await fetch(good, GitRef(branch="main")) == commit
    remote.git("push", "-q", push_to, "HEAD:refs/tags/v1.4.0")
    assert await fetch(good, GitRef(semver="1.x")) == commit
    with pytest.raises(AuthRefused, match="the remote refuses the key 'identity'"):
        await fetch(bad, GitRef(branch="main"))
    other = (tmp_path / "stranger.pub").read_text()
    strange = read_ssh({"identity": (tmp_path / "known").read_bytes(), "known_hosts": f"[127.0.0.1]:{ssh_host.ssh_port} {other}".encode()})
    with pytest.raises(RemoteFailed, match="host key is not in the key 'known_hosts'"):
        await fetch(strange, GitRef(branch="main"))


async def test_private_submodules_and_includes_of_gitea(host, remote, tmp_path, workers):  # a host that starts in 3 s
    lib = await asyncio.to_thread(make_remote, tmp_path / "remotes", "lib", "")
    pinned = lib.commit({"l.yaml": "l: 1\n"})
    lib.commit({"l.yaml": "l: 2\n"})
    link(remote, {"vendor/lib": ("../lib.git", pinned)}, {"a.yaml": "a: 1\n"})
    for name, each in (("lib", lib), ("fleet", remote)):
        each.git("push", "-q", await asyncio.to_thread(host.make_repository, name), "HEAD:refs/heads/main")
    async with opened("GitRepository", tmp_path, workers) as bench:
        bench.secrets["login"] = {"username": USER.encode(), "password": host.password.encode()}
        given = {"interval": "1m0s", "timeout": "20s", "ref": {"branch": "main"}, "secretRef": {"name": "login"}}
        bench.api.put({"url": f"{host.url}/{USER}/lib.git", **given}, name="lib")
        include = [{"repository": {"name": "lib"}, "toPath": "newest"}]
        bench.api.put({"url": f"{host.url}/{USER}/fleet.git", "recurseSubmodules": True, "include": include, **given})
        assert (await bench.run("lib")).result == "succeeded", bench.api.ready("lib")
        assert (await bench.run()).result == "succeeded", bench.api.ready()
        tree = GitTree.open(bench.published[bench.key])
        assert (tree.read("vendor/lib/l.yaml"), tree.read("newest/l.yaml")) == (b"l: 1\n", b"l: 2\n")
