"""Artifacts are put together as `cp` would do it, and only those whose files changed are made anew."""

import asyncio
import gzip
import io
import tarfile
from pathlib import Path
from typing import Any

import pygit2
import pytest

from service.kinds.codec import decode
from service.kinds.generator import ArtifactGenerator, ArtifactGeneratorSpec
from service.sources.generating import BadGenerator, BuildFailed, Made, make
from service.sources.gitstore import GitStore
from service.sources.snapshot import Snapshot
from tests.sources.conftest import History

FILES = {
    "apps/web/deploy.yaml": "web",
    "apps/web/config/a.yaml": "a: 1\nlist: [1, 2]\n",
    "apps/web/README.md": "about",
    "apps/api/deploy.yaml": "api",
    "apps/api/run.sh": "#!/bin/sh",
    "values.yaml": "a: 2\nb: {c: 3}\n---\nlist: [3]\n",
    "top.txt": "top",
}


def spec(*copies: dict[str, Any], **more: Any) -> ArtifactGeneratorSpec:
    return made_spec([{"name": "out", "copy": list(copies)}], **more)


def made_spec(artifacts: list[dict[str, Any]], **more: Any) -> ArtifactGeneratorSpec:
    sources = [{"alias": "repo", "kind": "GitRepository", "name": "fleet"}]
    found = {"metadata": {"name": "gen", "namespace": "apps"}, "spec": {"sources": sources, "artifacts": artifacts, **more}}
    return decode(ArtifactGenerator, found).spec


@pytest.fixture
async def store(tmp_path: Path) -> Path:
    return await GitStore(tmp_path / "stores").prepared("u-1")


def contents(store: Path, tree: str) -> dict[str, str]:
    found: dict[str, str] = {}

    def walk(folder: pygit2.Tree, path: str) -> None:
        for entry in folder:
            if isinstance(entry, pygit2.Tree):
                walk(entry, f"{path}{entry.name}/")
            else:
                found[f"{path}{entry.name}"] = entry.data.decode()

    walk(pygit2.Repository(str(store))[tree].peel(pygit2.Tree), "")
    return found


def built(store: Path, snapshot: Snapshot, *copies: dict[str, Any]) -> dict[str, str]:
    made = make(store, "u-1", spec(*copies), {"repo": snapshot}, None)
    return contents(store, made.outputs[0].tree)


@pytest.mark.parametrize(
    ("copy", "paths"),
    [
        ({"from": "@repo/apps/web/**", "to": "@artifact/"}, {"deploy.yaml", "config/a.yaml", "README.md"}),
        ({"from": "@repo/apps/web/", "to": "@artifact/x/"}, {"x/web/deploy.yaml", "x/web/config/a.yaml", "x/web/README.md"}),
        ({"from": "@repo/top.txt", "to": "@artifact/x/"}, {"x/top.txt"}),
        ({"from": "@repo/top.txt", "to": "@artifact/x/y.txt"}, {"x/y.txt"}),
        ({"from": "@repo/apps/*/deploy.yaml", "to": "@artifact/"}, {"apps/web/deploy.yaml", "apps/api/deploy.yaml"}),
        ({"from": "@repo/*.txt", "to": "@artifact/"}, {"top.txt"}),
        ({"from": "@repo/", "to": "@artifact/all"}, {f"all/{name}" for name in FILES}),
        ({"from": "@repo/**", "to": "@artifact/"}, set(FILES)),
        ({"from": "@repo/apps/web/**", "to": "@artifact/", "exclude": ["*.md"]}, {"deploy.yaml", "config/a.yaml"}),
        ({"from": "@repo/apps/web/**", "to": "@artifact/", "exclude": ["config/**"]}, {"deploy.yaml", "README.md"}),
        ({"from": "@repo/apps/web/**", "to": "@artifact/", "exclude": ["**/{config,x}/**", "apps/web/*.md"]}, {"deploy.yaml"}),
        ({"from": "@repo/apps/", "to": "@artifact/", "exclude": ["**/web"]}, {"apps/api/deploy.yaml", "apps/api/run.sh"}),
    ],
)
async def test_copies(store: Path, history: History, copy: dict[str, Any], paths: set[str]) -> None:
    snapshot = await asyncio.to_thread(history.commit, dict(FILES))
    assert set(built(store, snapshot, copy)) == paths


async def test_what_sourceignore_leaves_out_is_not_copied(store: Path, history: History) -> None:
    files = FILES | {".sourceignore": "*.md\n/apps/api/\n"}
    snapshot = await asyncio.to_thread(history.commit, dict(files))
    found = built(store, snapshot, {"from": "@repo/**", "to": "@artifact/"})
    assert not [path for path in found if path.endswith(".md") or path.startswith("apps/api")]
    assert "apps/web/deploy.yaml" in found


async def test_later_copies_win_and_a_directory_keeps_the_rest(store: Path, history: History) -> None:
    snapshot = await asyncio.to_thread(history.commit, dict(FILES))
    whole, one = {"from": "@repo/apps/web/**", "to": "@artifact/"}, {"from": "@repo/apps/api/deploy.yaml", "to": "@artifact/"}
    assert built(store, snapshot, whole, one)["deploy.yaml"] == "api"
    found = built(store, snapshot, one, whole)
    assert (found["deploy.yaml"], set(found)) == ("web", {"deploy.yaml", "config/a.yaml", "README.md"})
    two = built(store, snapshot, whole, {"from": "@repo/apps/api/**", "to": "@artifact/"})
    assert set(two) == {"deploy.yaml", "config/a.yaml", "README.md", "run.sh"}


async def test_merges_yaml_as_helm_merges_values(store: Path, history: History) -> None:
    snapshot = await asyncio.to_thread(history.commit, dict(FILES))
    copies = (
        {"from": "@repo/apps/web/config/a.yaml", "to": "@artifact/"},
        {"from": "@repo/values.yaml", "to": "@artifact/a.yaml", "strategy": "Merge"},
    )
    assert built(store, snapshot, *copies) == {"a.yaml": "a: 2\nb:\n  c: 3\nlist:\n- 3\n"}


def archive(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


async def test_extracts_archives(store: Path, history: History) -> None:
    def commit() -> Snapshot:
        (history.remote.work / "charts" / "deep").mkdir(parents=True)
        (history.remote.work / "charts" / "deep" / "web.tgz").write_bytes(archive({"web/Chart.yaml": b"name: web"}))
        (history.remote.work / "charts" / "bad.tar.gz").write_bytes(archive({"../out": b"x"}))
        return history.commit({"charts/notes.txt": "x"}, ignore="/nothing")

    snapshot = await asyncio.to_thread(commit)
    extract = {"to": "@artifact/all/", "strategy": "Extract"}
    assert built(store, snapshot, {"from": "@repo/charts/deep/web.tgz", **extract}) == {"all/web/Chart.yaml": "name: web"}
    assert built(store, snapshot, {"from": "@repo/**/*.tgz", **extract}) == {"all/web/Chart.yaml": "name: web"}
    for source, why in (("charts/bad.tar.gz", "leads out"), ("charts/notes.txt", "requires tarball"), ("charts/deep", "not supported")):
        with pytest.raises(BuildFailed, match=why):
            built(store, snapshot, {"from": f"@repo/{source}", **extract})


@pytest.mark.parametrize(
    ("copy", "why"),
    [
        ({"from": "@repo/none.yaml", "to": "@artifact/"}, "source 'none.yaml' does not exist"),
        ({"from": "@repo/none/*.yaml", "to": "@artifact/"}, r"no files match pattern 'none/\*\.yaml' in source 'repo'"),
        ({"from": "@repo/*.txt", "to": "@artifact/", "exclude": ["*.txt"]}, "all files matching pattern .* were excluded"),
        ({"from": "@other/a", "to": "@artifact/"}, "source alias 'other' not found"),
        ({"from": "@repo/[", "to": "@artifact/"}, "nothing closes"),
        ({"from": "@repo/../x", "to": "@artifact/"}, "leads out"),
    ],
)
async def test_what_cannot_be_copied_is_said(store: Path, history: History, copy: dict[str, Any], why: str) -> None:
    snapshot = await asyncio.to_thread(history.commit, dict(FILES))
    with pytest.raises(BuildFailed, match=f"out build failed: failed to apply copy operation from .*{why}"):
        built(store, snapshot, copy)


async def test_what_is_optional_may_be_missing(store: Path, history: History) -> None:
    snapshot = await asyncio.to_thread(history.commit, dict(FILES))
    missing = [{"from": f"@repo/{each}", "to": "@artifact/", "optional": True} for each in ("none.yaml", "none/*.yaml")]
    assert set(built(store, snapshot, *missing, {"from": "@repo/top.txt", "to": "@artifact/"})) == {"top.txt"}


APPS = [{"name": "{app}-app", "copy": [{"from": "@repo/apps/{app}/**", "to": "@artifact/{app}/"}]}]


async def test_a_pattern_makes_an_artifact_for_each_directory(store: Path, history: History) -> None:
    snapshot = await asyncio.to_thread(history.commit, FILES | {"apps/Shop/a.yaml": "x"})
    made = make(store, "u-1", made_spec(APPS, pathPattern="@repo/apps/{app}"), {"repo": snapshot}, None)
    assert [(each.wanted.name, dict(each.labels)) for each in made.outputs] == [
        ("shop-app", {"app": "shop"}), ("api-app", {"app": "api"}), ("web-app", {"app": "web"}),
    ]  # fmt: skip
    assert set(contents(store, made.outputs[0].tree)) == {"Shop/a.yaml"}


@pytest.mark.parametrize(
    ("pattern", "files", "why"),
    [
        ("@repo/apps/{app}", {"apps/Web/a": "x", "apps/web/a": "x"}, "both make the artifact 'web-app'"),
        ("@repo/apps/{app}", {"apps/-a/a": "x"}, "cannot be a label"),
        ("@repo/apps/{app", {}, "nothing opens or closes"),
        ("@repo/{app}/{app}", {}, "there twice"),
        ("@repo/apps/{other}", {"apps/a/a": "x"}, "no capture of pathPattern"),
        ("@none/apps/{app}", {}, "alias none not found"),
    ],
)
async def test_a_wrong_pattern_is_said(store: Path, history: History, pattern: str, files: dict[str, str], why: str) -> None:
    snapshot = await asyncio.to_thread(history.commit, files | {"x": "x"})
    with pytest.raises(BadGenerator, match=why):
        make(store, "u-1", made_spec(APPS, pathPattern=pattern), {"repo": snapshot}, None)


async def test_only_what_reads_a_change_is_made_anew(store: Path, history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    from service.sources import generating

    wanted = made_spec(APPS, pathPattern="@repo/apps/{app}")
    first = make(store, "u-1", wanted, {"repo": await asyncio.to_thread(history.commit, dict(FILES))}, None)
    copies: list[int] = []
    real = generating.copied
    monkeypatch.setattr(generating, "copied", lambda *given: copies.append(1) or real(*given))

    def next_of(before: Made, files: dict[str, str | None]) -> Made:
        return make(store, "u-1", wanted, {"repo": history.commit(files)}, before)

    second = await asyncio.to_thread(next_of, first, {"apps/web/deploy.yaml": "web 2"})
    trees = [{each.wanted.name: each.tree for each in made.outputs} for made in (first, second)]
    assert len(copies) == 1
    assert trees[0]["api-app"] == trees[1]["api-app"]
    assert trees[0]["web-app"] != trees[1]["web-app"]
    third = await asyncio.to_thread(next_of, second, {"apps/new/deploy.yaml": "new", "top.txt": "other"})
    assert len(copies) == 2
    assert [each.wanted.name for each in third.outputs] == ["api-app", "new-app", "web-app"]
    held = pygit2.Repository(str(store)).references["refs/sluice/u-1"].peel(pygit2.Commit).tree
    assert {entry.name: str(entry.id) for entry in held} == {each.wanted.name: each.tree for each in third.outputs}
