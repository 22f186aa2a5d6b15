"""Trees, and what a recording of reads tells."""

from pathlib import Path

import pytest

from service.kustomize.build import build
from service.kustomize.tree import FolderTree, MapTree, Recording, Tree, content_id, seen

FILES = {
    "a/kustomization.yaml": "resources: [x.yaml, ../b]\n",
    "a/x.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n",
    "b/kustomization.yaml": "configMapGenerator: [{name: g, files: [f.txt]}]\n",
    "b/f.txt": "hello\n",
    "c/other.yaml": "x\n",
}


@pytest.fixture(params=["map", "folder"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    """The same files in both forms."""
    if request.param == "map":
        return MapTree(FILES)
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return FolderTree(tmp_path)


def test_tree_tells_kinds_contents_and_lists(tree: Tree) -> None:
    assert [tree.kind(path) for path in ("", "a", "a/x.yaml", "nope", "a/x.yaml/y")] == ["dir", "dir", "file", None, None]
    assert tree.read("b/f.txt") == b"hello\n"
    assert tree.list("b") == (("f.txt", "file"), ("kustomization.yaml", "file"))
    assert tree.list("") == (("a", "dir"), ("b", "dir"), ("c", "dir"))
    assert tree.list("nope") == ()
    for path in ("nope", "a"):
        with pytest.raises(FileNotFoundError):
            tree.read(path)


def test_content_id_is_gits() -> None:
    assert content_id(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_reads_are_unchanged_when_another_file_changes(tree: Tree) -> None:
    reads = build(tree, "a").reads
    other = MapTree({**FILES, "c/other.yaml": "y\n", "d": "new"})
    assert all(seen(other, key) == token for key, token in reads.items())


@pytest.mark.parametrize(
    ("path", "text"),
    [("b/f.txt", "bye\n"), ("a/x.yaml", "apiVersion: v1\n"), ("a/kustomization.yml", ""), ("b/Kustomization", "resources: []")],
)
def test_reads_change_when_what_was_read_or_missed_changes(tree: Tree, path: str, text: str) -> None:
    reads = build(tree, "a").reads
    other = MapTree({**FILES, path: text})
    assert any(seen(other, key) != token for key, token in reads.items())


def test_recording_notes_what_is_missing() -> None:
    recording = Recording(MapTree({"a": "x"}))
    with pytest.raises(FileNotFoundError):
        recording.read("b")
    assert recording.kind("c") is None
    assert recording.list("d") == ()
    assert recording.reads["file b"] == recording.reads["kind c"] == "-"
    assert seen(MapTree({"d/x": ""}), "list d") != recording.reads["list d"]


def test_seen_refuses_a_key_that_no_recording_writes() -> None:
    with pytest.raises(ValueError, match="no key"):
        seen(MapTree({}), "stat a")
