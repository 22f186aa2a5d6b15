from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.sources.snapshot import changed_paths
from service.sources.sparse import BadSparse, below, folders_of
from service.sources.tree import GitTree, walk
from tests.sources.bench import Bench, opened

FILES: dict[str, str | None] = {
    "root.yaml": "a: 1\n",
    ".sourceignore": "*.txt\n",
    "apps/one/a.yaml": "a: 1\n",
    "apps/one/notes.txt": "kept: the root's rules are not checked out\n",
    "apps/two/b.yaml": "b: 1\n",
    "apps2/c.yaml": "c: 1\n",
    "infra/.sourceignore": "*.md\n",
    "infra/d.md": "left out\n",
    "infra/deep/e.yaml": "e: 1\n",
}


@pytest.fixture
async def bench(tmp_path, workers) -> AsyncIterator[Bench]:
    async with opened("GitRepository", tmp_path, workers) as made:
        yield made


def spec(url: str, **more: Any) -> dict[str, Any]:
    return {"url": url, "interval": "1m0s", "timeout": "10s", "ref": {"branch": "main"}, **more}


def files(bench: Bench) -> list[str]:
    return [path for path, is_folder in walk(GitTree.open(bench.published[bench.key])) if not is_folder]


async def test_only_the_directories_are_there(bench, remote):
    remote.commit(FILES)
    bench.api.put(spec(remote.url, sparseCheckout=["./apps/one/", "infra"]))
    assert (await bench.run()).result == "succeeded"
    assert files(bench) == ["apps/one/a.yaml", "apps/one/notes.txt", "infra/.sourceignore", "infra/deep/e.yaml"]
    tree = GitTree.open(bench.published[bench.key])
    assert (tree.kind("apps"), tree.kind("apps/two"), tree.kind("root.yaml"), tree.kind("apps2")) == ("dir", None, None, None)
    assert bench.status["observedSparseCheckout"] == ["./apps/one/", "infra"]
    first = bench.status["artifact"]

    before = bench.published[bench.key]
    remote.commit({"root.yaml": "a: 2\n", "infra/deep/e.yaml": "e: 2\n", "apps/.sourceignore": "*\n"})
    await bench.run()
    assert changed_paths(before, bench.published[bench.key]) == ("infra/deep/e.yaml",)

    bench.api.put(spec(remote.url, sparseCheckout=["apps/two"]))
    await bench.run()
    assert files(bench) == ["apps/two/b.yaml"]
    assert bench.status["artifact"]["digest"] != first["digest"]
    bench.api.put(spec(remote.url))
    await bench.run()
    assert "root.yaml" in files(bench)
    assert "observedSparseCheckout" not in bench.status


async def test_a_directory_that_is_missing_is_named(bench, remote):
    remote.commit(FILES)
    for wrong in ("nowhere", "root.yaml"):
        bench.api.put(spec(remote.url, sparseCheckout=["apps", wrong]))
        assert (await bench.run()).backoff
        assert bench.api.ready()[1:] == (
            "GitOperationFailed",
            f"failed to checkout and determine revision: sparse checkout dir '{wrong}' does not exist in repository",
        )
    bench.api.put(spec(remote.url, sparseCheckout=["../up"]))
    assert (await bench.run()).result == "stalled"


async def test_restart_shows_the_same(bench, remote):
    remote.commit(FILES)
    bench.api.put(spec(remote.url, sparseCheckout=["infra"]))
    await bench.run()
    before = bench.published[bench.key]
    bench.restart()
    assert (await bench.run()).result == "unchanged"
    assert bench.published[bench.key] == before
    assert before.ignore_digest != replace(before, only=("apps",)).ignore_digest


@pytest.mark.parametrize("wrong", ["..", "../a", "a/../../b", "a\nb"])
def test_directories_outside_are_refused(wrong):
    with pytest.raises(BadSparse):
        folders_of([wrong])


@given(st.lists(st.text(max_size=12), max_size=4))
def test_any_list_is_checked(given_):
    try:
        found = folders_of(given_)
    except BadSparse:
        return
    assert folders_of(found) == found
    assert below((("", "x"),), found) == (() if found else (("", "x"),))
