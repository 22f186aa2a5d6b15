"""spec.include: other GitRepositories in the tree of this one, followed as they move."""

import asyncio
import io
import shutil
import tarfile
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from service.gitserver import GitServer
from service.kinds.meta import ObjectKey
from service.reconcile.queue import Trigger
from service.sources import packs
from service.sources.includes import INCLUDE
from service.sources.openrepo import borrowed, repository
from service.sources.snapshot import Snapshot, changed_paths
from service.sources.tree import GitTree, walk
from tests.sources.bench import Bench, opened
from tests.sources.conftest import Remote, make_remote
from tests.sources.test_submodules import link, serving

BY_INCLUDE = (Trigger(reason=INCLUDE),)


@pytest.fixture
async def bench(tmp_path, workers) -> AsyncIterator[Bench]:
    async with opened("GitRepository", tmp_path, workers) as made:
        yield made


@pytest.fixture
async def base(tmp_path) -> AsyncIterator[tuple[list[str], str]]:
    server, paths = GitServer(root=tmp_path / "remotes"), []

    async def answer(request):
        paths.append(request.path)
        return await server.answer(request)

    async with serving(answer) as url:
        yield paths, url


def spec(url: str, *include: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"url": url, "interval": "1m0s", "timeout": "10s", "ref": {"branch": "main"}, "include": list(include), **more}


def of(name: str, **paths: str) -> dict[str, Any]:
    return {"repository": {"name": name}, **paths}


async def made(tmp_path, *names: str) -> list[Remote]:
    return await asyncio.to_thread(lambda: [make_remote(tmp_path / "remotes", name, "") for name in names])


def snapshot(bench: Bench, name: str = "fleet") -> Snapshot:
    return bench.published[ObjectKey(group="source.toolkit.fluxcd.io", kind="GitRepository", namespace="apps", name=name)]


def paths(bench: Bench, name: str = "fleet") -> list[str]:
    return [path for path, is_folder in walk(GitTree.open(snapshot(bench, name))) if not is_folder]


async def test_an_included_source_is_followed_without_asking_the_remote(bench, base, tmp_path):
    asked, url = base
    fleet, lib = await made(tmp_path, "fleet", "lib")
    head = fleet.commit({"b.yaml": "b: 1\n"})
    first = lib.commit({"deploy/a.yaml": "a: 1\n", "deploy/x.md": "x", "other/o.yaml": "o", ".sourceignore": "*.md\n"})
    bench.api.put(spec(f"{url}/fleet.git", of("lib"), of("lib", fromPath="./deploy", toPath="apps/lib")))
    outcome = await bench.run()
    words = "could not get resource for include 'lib': gitrepositories.source.toolkit.fluxcd.io \"lib\" not found"
    assert (outcome.result, outcome.backoff, bench.revisions, bench.api.ready()) == ("failed", True, [], ("False", "NotFound", words))
    assert bench.api.condition("IncludeUnavailable")["status"] == "True"
    bench.api.put(spec(f"{url}/lib.git"), name="lib")
    await bench.run()
    assert bench.api.ready() == ("False", "NoArtifact", "no artifact available for include 'lib'")

    await bench.run("lib")
    assert (await bench.run()).result == "succeeded"
    assert paths(bench) == ["apps/lib/a.yaml", "b.yaml", "lib/.sourceignore", "lib/deploy/a.yaml", "lib/other/o.yaml"]
    status, theirs = bench.status, bench.api.objects["lib"]["status"]["artifact"]
    assert status["artifact"]["revision"] == f"main@sha1:{head}", "the revision is that of the commit, as with Flux"
    assert theirs["revision"] == f"main@sha1:{first}"
    assert status["includedArtifacts"] == [theirs, theirs]
    assert status["observedInclude"] == [of("lib"), of("lib", fromPath="./deploy", toPath="apps/lib")]
    assert bench.api.condition("IncludeUnavailable") is None
    with tarfile.open(fileobj=io.BytesIO(bench.artifacts.file(status["artifact"]["path"]).read_bytes())) as tar:
        assert [each.name for each in tar if each.isreg()] == paths(bench)

    before = snapshot(bench)
    lib.commit({"deploy/a.yaml": "a: 2\n", "deploy/new.md": "left out"})
    await bench.run("lib")
    asked.clear()
    assert (await bench.run(triggers=BY_INCLUDE)).result == "succeeded"
    assert asked == [], "nothing of it is at the remote"
    assert changed_paths(before, snapshot(bench)) == ("apps/lib/a.yaml", "lib/deploy/a.yaml")
    assert bench.status["includedArtifacts"][0]["digest"] == bench.api.objects["lib"]["status"]["artifact"]["digest"]
    assert bench.status["artifact"]["digest"] != status["artifact"]["digest"]
    await bench.run("lib")
    assert (await bench.run()).result == "unchanged"
    assert bench.api.patches == []


async def test_a_busy_include_does_not_keep_the_remote_from_being_asked(bench, base, tmp_path):
    asked, url = base
    fleet, lib = await made(tmp_path, "fleet", "lib")
    fleet.commit({"b.yaml": "b: 1\n"})
    lib.commit({"a.yaml": "a: 1\n"})
    bench.api.put(spec(f"{url}/lib.git"), name="lib")
    bench.api.put(spec(f"{url}/fleet.git", of("lib"), interval="1s"))
    await bench.run("lib")
    await bench.run()
    asked.clear()
    async with asyncio.timeout(10):
        while not asked:
            assert (await bench.run(triggers=BY_INCLUDE)).result == "unchanged"
            await asyncio.sleep(0.05)
    bench.api.put(spec(f"{url}/fleet.git", of("lib"), interval="10m"))
    asked.clear()
    await bench.run(triggers=BY_INCLUDE)
    assert asked, "the object has changed"


async def test_the_artifact_of_what_is_included_is_made_by_whoever_comes_first(bench, base, tmp_path):
    _, url = base
    fleet, lib = await made(tmp_path, "fleet", "lib")
    fleet.commit({"b.yaml": "b: 1\n"})
    lib.commit({"a.yaml": "a: 1\n"})
    bench.api.put(spec(f"{url}/fleet.git", of("lib")))
    bench.api.put(spec(f"{url}/lib.git"), name="lib")
    await bench.run("lib")
    await bench.run()
    second = lib.commit({"a.yaml": "a: 2\n"})

    async def both() -> None:
        bench.when_told = lambda: None if running.done() or len(bench.revisions) != 3 else started.set()
        await bench.run("lib")

    started, running = asyncio.Event(), asyncio.get_running_loop().create_future()
    lib_run = asyncio.create_task(both())
    await started.wait()
    running.set_result(None)
    assert (await bench.run(triggers=BY_INCLUDE)).result == "succeeded"
    await lib_run
    assert bench.api.objects["lib"]["status"]["artifact"]["revision"] == f"main@sha1:{second}"
    assert bench.status["includedArtifacts"] == [bench.api.objects["lib"]["status"]["artifact"]]


async def test_after_a_restart_the_remotes_are_not_needed(bench, base, tmp_path):
    _, url = base
    fleet, lib = await made(tmp_path, "fleet", "lib")
    fleet.commit({"b.yaml": "b: 1\n"})
    lib.commit({"a.yaml": "a: 1\n"})
    bench.api.put(spec(f"{url}/fleet.git", of("lib")))
    bench.api.put(spec(f"{url}/lib.git"), name="lib")
    await bench.run("lib")
    await bench.run()
    last = snapshot(bench)
    (tmp_path / "remotes").rename(tmp_path / "away")
    bench.restart()
    outcome = await bench.run()
    assert (outcome.result, outcome.requeue_after) == ("waiting", timedelta(seconds=30)), "of lib nothing is published yet"
    await bench.run("lib")
    assert (await bench.run()).result == "failed"
    assert snapshot(bench) == last
    (tmp_path / "away").rename(tmp_path / "remotes")
    del bench.api.objects["lib"]
    await bench.run("lib")
    assert (await bench.run()).result == "failed"
    assert paths(bench) == ["b.yaml", "lib/a.yaml"], "what was put together stays readable"


async def test_includes_of_includes_with_submodules_sparse_checkout_and_ignore(bench, base, tmp_path):
    _, url = base
    fleet, lib, deep, module = await made(tmp_path, "fleet", "lib", "deep", "module")
    pinned = module.commit({"m.yaml": "m: 1\n", "m.md": "m"})
    link(fleet, {"vendor/module": ("../module.git", pinned)}, {"apps/b.yaml": "b: 1\n", "apps/skip.txt": "x", "rest/r.yaml": "r"})
    lib.commit({"a.yaml": "a: 1\n", "skip.txt": "x"})
    deep.commit({"d/d.yaml": "d: 1\n"})
    bench.api.put(spec(f"{url}/deep.git"), name="deep")
    bench.api.put(spec(f"{url}/lib.git", of("deep", toPath="deep")), name="lib")
    more = {"recurseSubmodules": True, "sparseCheckout": ["apps", "vendor/module"], "ignore": "*.txt\n"}
    bench.api.put(spec(f"{url}/fleet.git", of("lib", toPath="rest/lib"), **more))
    for name in ("deep", "lib", "fleet"):
        assert (await bench.run(name)).result == "succeeded", bench.api.ready(name)
    assert paths(bench) == ["apps/b.yaml", "rest/lib/a.yaml", "rest/lib/deep/d/d.yaml", "vendor/module/m.md", "vendor/module/m.yaml"]
    before = snapshot(bench)
    deep.commit({"d/d.yaml": "d: 2\n"})
    for name in ("deep", "lib", "fleet"):
        assert (await bench.run(name)).result == "succeeded"
    assert changed_paths(before, snapshot(bench)) == ("rest/lib/deep/d/d.yaml",)
    included = bench.status["includedArtifacts"][0]
    assert included["digest"] == bench.api.objects["lib"]["status"]["artifact"]["digest"]
    bench.restart()
    for name in ("deep", "lib", "fleet"):
        assert (await bench.run(name)).result == "unchanged"
    assert snapshot(bench).tree != before.tree


async def test_packed_stores_and_lost_ones_come_back(bench, base, tmp_path):
    _, url = base
    fleet, lib = await made(tmp_path, "fleet", "lib")
    fleet.commit({"b.yaml": "b: 1\n"})
    lib.commit({"a.yaml": "a: 1\n"})
    bench.api.put(spec(f"{url}/fleet.git", of("lib")))
    bench.api.put(spec(f"{url}/lib.git"), name="lib")
    await bench.run("lib")
    await bench.run()
    store = snapshot(bench).store_path
    own = sum(1 for _ in repository(store))
    for each in (store, *borrowed(store)):
        packs.pack(each)
        packs.drop(each)
    assert len(borrowed(store)) == 2
    assert sum(1 for _ in repository(store)) == own, "what is borrowed is not packed along"
    assert GitTree.open(snapshot(bench)).read("lib/a.yaml") == b"a: 1\n"
    before = snapshot(bench)
    lib.commit({"a.yaml": "a: 2\n"})
    await bench.run("lib")
    await bench.run(triggers=BY_INCLUDE)
    assert changed_paths(before, snapshot(bench)) == ("lib/a.yaml",)

    shutil.rmtree(snapshot(bench, "lib").store_path)
    fleet.commit({"b.yaml": "b: 2\n"})
    assert (await bench.run()).result == "failed"
    assert "made anew" in bench.api.ready()[2]
    assert (await bench.run("lib")).result == "unchanged"
    assert (await bench.run()).result == "succeeded", bench.api.ready()
    assert GitTree.open(snapshot(bench)).read("lib/a.yaml") == b"a: 2\n"
    bench.api.objects.clear()
    await bench.run("lib")
    assert paths(bench) == ["b.yaml", "lib/a.yaml"]
    await bench.run()
    assert [each.name for each in (bench.state / "git").iterdir()] == [], "all of it goes with the objects"


@pytest.mark.parametrize(
    ("include", "words"),
    [
        (of("lib", toPath="apps"), "failed to copy 'lib' include from . to apps: there is something at that path already"),
        (of("lib", toPath="/"), "failed to copy 'lib' include from . to /: there is something at that path already"),
        (of("lib", toPath="../b.yaml"), "there is something"),
        (of("lib", fromPath="gone"), "failed to copy 'lib' include from gone to lib: there is no 'gone' in it"),
        (of("lib", fromPath="x.md"), "there is no 'x.md' in it"),
        (of("lib", toPath="b.yaml/under"), "'b.yaml' is no directory"),
        (of("lib", toPath="x/.git/hooks"), ".git"),
    ],
)
async def test_what_cannot_be_included_is_said(bench, base, tmp_path, include, words):
    _, url = base
    fleet, lib = await made(tmp_path, "fleet", "lib")
    fleet.commit({"b.yaml": "b: 1\n", "apps/c.yaml": "c"})
    lib.commit({"a.yaml": "a: 1\n", "x.md": "x"})
    bench.api.put(spec(f"{url}/lib.git", ignore="*.md\n"), name="lib")
    bench.api.put(spec(f"{url}/fleet.git", include))
    await bench.run("lib")
    assert (await bench.run()).result == "failed"
    status, reason, message = bench.api.ready()
    assert (status, reason) == ("False", "CopyFailure")
    assert words in message
    assert bench.api.condition("StorageOperationFailed")["status"] == "True"


async def test_a_file_may_be_included_and_replaces_one(bench, base, tmp_path):
    _, url = base
    fleet, lib = await made(tmp_path, "fleet", "lib")
    fleet.commit({"b.yaml": "b: 1\n"})
    lib.commit({"d/a.yaml": "a: 1\n"})
    bench.api.put(spec(f"{url}/lib.git"), name="lib")
    bench.api.put(spec(f"{url}/fleet.git", of("lib", fromPath="d/a.yaml", toPath="../../b.yaml")))
    await bench.run("lib")
    assert (await bench.run()).result == "succeeded"
    assert GitTree.open(snapshot(bench)).read("b.yaml") == b"a: 1\n"


async def test_a_loop_is_named(bench, base, tmp_path):
    _, url = base
    fleet, lib = await made(tmp_path, "fleet", "lib")
    fleet.commit({"b.yaml": "b: 1\n"})
    lib.commit({"a.yaml": "a: 1\n"})
    bench.api.put(spec(f"{url}/fleet.git", of("lib")))
    bench.api.put(spec(f"{url}/lib.git", of("deep")), name="lib")
    bench.api.put(spec(f"{url}/lib.git", of("fleet")), name="deep")
    outcome = await bench.run()
    assert (outcome.result, bench.api.ready()) == (
        "stalled",
        ("False", "IncludeLoop", "spec.include leads back to this object: fleet -> lib -> deep -> fleet; remove one of them"),
    )
    assert bench.api.condition("IncludeUnavailable")["status"] == "True"
    bench.api.put(spec(f"{url}/fleet.git", of("fleet")))
    await bench.run()
    assert "fleet -> fleet" in bench.api.ready()[2]
