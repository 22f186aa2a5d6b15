"""spec.recurseSubmodules on real remotes: what is fetched, what is sent where, what ends in the tree."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from service.gitserver import GitServer
from service.kinds.meta import ObjectKey
from service.sources.snapshot import changed_paths
from service.sources.tree import GitTree, walk
from tests.sources.bench import Bench, opened
from tests.sources.conftest import Remote, make_remote


@asynccontextmanager
async def serving(answer) -> AsyncIterator[str]:
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


KEY = ObjectKey(group="source.toolkit.fluxcd.io", kind="GitRepository", namespace="apps", name="fleet")


@pytest.fixture
async def bench(tmp_path, workers) -> AsyncIterator[Bench]:
    async with opened("GitRepository", tmp_path, workers) as made:
        yield made


@pytest.fixture
async def front(tmp_path) -> AsyncIterator[tuple[list[str], str]]:
    server, paths = GitServer(root=tmp_path / "remotes"), []

    async def answer(request: web.Request) -> web.StreamResponse:
        paths.append(request.path)
        return await server.answer(request)

    async with serving(answer) as url:
        yield paths, url


def spec(url: str, **more: Any) -> dict[str, Any]:
    return {"url": url, "interval": "1m0s", "timeout": "10s", "ref": {"branch": "main"}, "recurseSubmodules": True, **more}


def link(remote: Remote, links: dict[str, tuple[str, str]], files: dict[str, str | None] = {}) -> str:  # noqa: B006 - not changed
    """Commit gitlinks, path -> (address, commit), beside files."""
    text = "".join(f'[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n' for path, (url, _) in links.items())
    for path, (_, commit) in links.items():
        remote.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
        (remote.work / path).mkdir(parents=True, exist_ok=True)
    return remote.commit({**files, ".gitmodules": text})


def made(root, *names: str) -> list[Remote]:
    return [make_remote(root / "remotes", name, "") for name in names]


def paths(bench: Bench) -> list[str]:
    return [path for path, is_folder in walk(GitTree.open(bench.published[KEY])) if not is_folder]


async def test_the_pinned_commit_stands_in_its_place_and_is_fetched_once(bench, front, tmp_path):
    asked, base = front
    fleet, lib = await asyncio.to_thread(made, tmp_path, "fleet", "lib")
    old = lib.commit({"a.yaml": "a: 1\n", "x.md": "x", ".sourceignore": "*.md\n"})
    new = lib.commit({"a.yaml": "a: 2\n"})
    head = link(fleet, {"vendor/lib": ("../lib.git", old)}, {"b.yaml": "b: 1\n", "vendor/c.yaml": "c: 1\n"})
    bench.api.put(spec(f"{base}/fleet.git"))
    assert (await bench.run()).result == "succeeded"
    assert bench.revisions == [f"main@sha1:{head}"]
    assert paths(bench) == ["b.yaml", "vendor/c.yaml", "vendor/lib/.sourceignore", "vendor/lib/a.yaml"]
    assert GitTree.open(bench.published[KEY]).read("vendor/lib/a.yaml") == b"a: 1\n"
    assert bench.status["observedRecurseSubmodules"] is True
    first = bench.published[KEY]

    asked.clear()
    fleet.commit({"b.yaml": "b: 2\n"})
    assert (await bench.run()).result == "succeeded"
    assert not any("lib" in path for path in asked), "the gitlink has not moved"
    assert changed_paths(first, bench.published[KEY]) == ("b.yaml",)

    second = bench.published[KEY]
    link(fleet, {"vendor/lib": ("../lib.git", new)})
    assert (await bench.run()).result == "succeeded"
    assert changed_paths(second, bench.published[KEY]) == ("vendor/lib/a.yaml",)
    assert (await bench.run()).result == "unchanged"

    last = bench.published[KEY]
    fleet.bare.rename(fleet.bare.with_name("away"))
    bench.restart()
    assert (await bench.run()).result == "failed"
    assert bench.published[KEY] == last, "what was put together last, not the commit alone"


async def test_submodules_of_submodules_and_sparse_checkout(bench, front, tmp_path):
    asked, base = front
    fleet, lib, deep, other = await asyncio.to_thread(made, tmp_path, "fleet", "lib", "deep", "other")
    commit = deep.commit({"d/d.yaml": "d: 1\n"})
    commit = link(lib, {"in/deep": (f"{base}/deep.git", commit)}, {"a.yaml": "a: 1\n"})
    elsewhere = other.commit({"o.yaml": "o: 1\n"})
    link(fleet, {"lib": ("../lib.git", commit), "other": ("../other.git", elsewhere)}, {"apps/b.yaml": "b: 1\n"})
    bench.api.put(spec(f"{base}/fleet.git"))
    await bench.run()
    assert paths(bench) == ["apps/b.yaml", "lib/a.yaml", "lib/in/deep/d/d.yaml", "other/o.yaml"]
    bench.api.put(spec(f"{base}/fleet.git", sparseCheckout=["apps", "lib/in/deep/d"], ignore="*.md\n"))
    bench.restart()
    asked.clear()
    (bench.state / "git").rename(bench.state / "gone")
    bench.restart()
    await bench.run()
    assert paths(bench) == ["apps/b.yaml", "lib/in/deep/d/d.yaml"]
    assert not any("other" in path for path in asked), "it is not checked out"
    bench.api.put(spec(f"{base}/fleet.git", recurseSubmodules=False))
    await bench.run()
    assert paths(bench) == ["apps/b.yaml"]
    assert "observedRecurseSubmodules" not in bench.status


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("../../../x.git", "leads out of the host"),
        ("file:///etc", "'file' is not supported"),
        ("/srv/git/x", "is not supported"),
        ("git@other:x.git", "is not on the host of spec.url"),
        ("http://169.254.169.254/x.git", "not allowed"),
        ("../gone.git", "repository not found"),
    ],
)
async def test_what_cannot_be_fetched_is_said(bench, front, tmp_path, url, words):
    _, base = front
    (fleet,) = await asyncio.to_thread(made, tmp_path, "fleet")
    link(fleet, {"lib": (url, "1" * 40)}, {"b.yaml": "b: 1\n"})
    bench.api.put(spec(f"{base}/fleet.git"))
    outcome = await bench.run()
    assert (outcome.result, outcome.backoff, bench.revisions) == ("failed", True, [])
    status, reason, message = bench.api.ready()
    assert (status, reason) == ("False", "GitOperationFailed")
    assert "submodule 'lib'" in message
    assert words in message


async def test_gitlinks_without_an_address_are_left_out(bench, front, tmp_path):
    _, base = front
    (fleet,) = await asyncio.to_thread(made, tmp_path, "fleet")
    fleet.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},lib")
    (fleet.work / "lib").mkdir()
    fleet.commit({"b.yaml": "b: 1\n", ".gitmodules": '[submodule "x"]\npath = nowhere\nurl = ../x\n'})
    bench.api.put(spec(f"{base}/fleet.git"))
    assert (await bench.run()).result == "succeeded"
    assert paths(bench) == ["b.yaml"]


async def test_a_repository_in_itself_ends(bench, front, tmp_path):
    _, base = front
    (fleet,) = await asyncio.to_thread(made, tmp_path, "fleet")
    commit = fleet.commit({"b.yaml": "b: 1\n"})
    for _ in range(12):
        commit = link(fleet, {"me": ("../fleet.git", commit)})
    bench.api.put(spec(f"{base}/fleet.git"))
    assert (await bench.run()).result == "failed"
    assert "more than 10 deep" in bench.api.ready()[2]


async def test_credentials_go_to_the_origin_of_the_object_alone(bench, tmp_path):
    seen: list[tuple[str, bool]] = []

    def noting(name: str):
        server = GitServer(root=tmp_path / "remotes", password="s3cret" if name == "own" else "")

        async def answer(request: web.Request) -> web.StreamResponse:
            seen.append((name, "Authorization" in request.headers))
            return await server.answer(request)

        return answer

    fleet, lib, other = await asyncio.to_thread(made, tmp_path, "fleet", "lib", "other")
    async with serving(noting("own")) as own, serving(noting("foreign")) as foreign:
        commits = [each.commit({f"{each.bare.stem}.yaml": "a: 1\n"}) for each in (lib, other)]
        link(fleet, {"lib": ("../lib.git", commits[0]), "other": (f"{foreign}/other.git", commits[1])})
        bench.secrets["login"] = {"username": b"git", "password": b"s3cret"}
        bench.api.put(spec(f"{own}/fleet.git", secretRef={"name": "login"}))
        assert (await bench.run()).result == "succeeded"
        assert paths(bench) == ["lib/lib.yaml", "other/other.yaml"]
        assert {sent for name, sent in seen if name == "foreign"} == {False}

        link(fleet, {"lib": ("../lib.git", commits[0]), "other": (f"{own.replace('127.0.0.1', 'localhost')}/other.git", commits[1])})
        assert (await bench.run()).result == "failed"
        status, reason, message = bench.api.ready()
        assert (status, reason) == ("False", "AuthenticationFailed")
        assert "are for the host of spec.url alone" in message
