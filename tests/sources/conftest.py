"""A real remote for the tests of this room: a bare repository behind `git http-backend` on loopback, and a clone to push from."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.gitserver import GitServer
from service.kinds.meta import ObjectKey, git_revision
from service.sources.snapshot import Snapshot, ignore_files
from service.workers import Workers

WHO = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}


@dataclass(frozen=True)
class Remote:
    """`bare` is what is served at `url`, `work` is a clone beside it that pushes by path."""

    bare: Path
    work: Path
    url: str

    def git(self, *args: str, data: bytes | None = None) -> str:
        done = subprocess.run(("git", *args), cwd=self.work, input=data, capture_output=True, env={**os.environ, **WHO})
        assert done.returncode == 0, (args, done.stderr.decode())
        return done.stdout.decode(errors="replace").strip()

    def commit(self, files: dict[str, str | None], *, branch: str = "main", message: str = "change") -> str:
        """Write the files (None deletes), commit, push to `branch`; returns the commit id."""
        for name, text in files.items():
            path = self.work / name
            if text is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        self.git("push", "-q", "--force", "origin", f"HEAD:refs/heads/{branch}")
        return self.git("rev-parse", "HEAD")


def make_remote(root: Path, name: str, base_url: str) -> Remote:
    remote = Remote(bare=root / f"{name}.git", work=root / f"{name}-work", url=f"{base_url}/{name}.git")
    remote.work.mkdir(parents=True)
    remote.git("init", "-q", "--bare", "-b", "main", str(remote.bare))
    remote.git("-C", str(remote.bare), "config", "gc.auto", "0")  # no second hand in the packs
    remote.git("init", "-q", "-b", "main")
    remote.git("remote", "add", "origin", str(remote.bare))
    return remote


@pytest.fixture
async def remote(tmp_path: Path) -> AsyncIterator[Remote]:
    async with GitServer(root=tmp_path / "remotes", push=True).serving() as base_url:
        yield await asyncio.to_thread(make_remote, tmp_path / "remotes", "fleet", base_url)


class History:
    """Commits of a local repository as snapshots."""

    key = ObjectKey(group="source.toolkit.fluxcd.io", kind="GitRepository", namespace="apps", name="fleet")

    def __init__(self, remote: Remote) -> None:
        self.remote = remote

    def snapshot(self, ignore: str | None = None) -> Snapshot:
        commit, tree = self.remote.git("rev-parse", "HEAD", "HEAD^{tree}").split()
        return Snapshot(
            key=self.key,
            revision=git_revision(commit, "main"),
            store_path=self.remote.bare,
            commit=commit,
            tree=tree,
            ignore=ignore,
            ignore_files=ignore_files(self.remote.bare, tree),
        )

    def commit(self, files: dict[str, str | None], ignore: str | None = None) -> Snapshot:
        self.remote.commit(files)
        return self.snapshot(ignore)

    def raw(self, name: bytes, mode: str = "100644", content: bytes = b"x") -> None:
        """Put an entry into the index that no file system has to hold, and commit it."""
        blob = self.remote.git("hash-object", "-w", "--stdin", data=content)
        self.remote.git("update-index", "-z", "--index-info", data=f"{mode} {blob}\t".encode() + name + b"\0")
        self.remote.git("commit", "-q", "-m", "raw")
        self.remote.git("push", "-q", "--force", "origin", "HEAD:refs/heads/main")


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(make_remote(tmp_path / "local", "fleet", ""))


@pytest.fixture(scope="module")
def workers():
    pool = Workers(1)
    yield pool
    loop = asyncio.new_event_loop()
    loop.run_until_complete(pool.close())
    loop.close()
