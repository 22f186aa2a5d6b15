import pytest

from service.sources.openrepo import SnapshotGone, open_store
from service.sources.tree import GitTree, walk


def test_kinds_contents_and_lists(history):
    tree = GitTree.open(history.commit({"b.yaml": "b", "apps/a/k.yaml": "k", "apps/c.yaml": "c"}))
    assert [tree.kind(path) for path in ("", "apps", "apps/a", "apps/a/k.yaml", "none", "b.yaml/x", "apps/none/x")] == [
        "dir",
        "dir",
        "dir",
        "file",
        None,
        None,
        None,
    ]
    assert tree.read("apps/a/k.yaml") == b"k"
    assert tree.list("") == (("apps", "dir"), ("b.yaml", "file"))
    assert tree.list("apps") == (("a", "dir"), ("c.yaml", "file"))
    assert tree.list("b.yaml") == tree.list("none") == ()
    assert tree.blob_id("b.yaml") == history.remote.git("rev-parse", "HEAD:b.yaml")
    assert tree.blob_id("apps") is None
    for path in ("", "apps", "none", "b.yaml/x"):
        with pytest.raises(FileNotFoundError):
            tree.read(path)
    assert [path for path, _ in walk(tree)] == ["apps", "apps/a", "apps/a/k.yaml", "apps/c.yaml", "b.yaml"]


def test_what_is_left_out_is_not_there(history):
    files = {".sourceignore": "/secret\n*.md\n", "secret/a.yaml": "1", "apps/a.md": "1", "apps/a.yaml": "1", "docs/x.md": "1"}
    tree = GitTree.open(history.commit(files))
    assert tree.kind("secret") is None
    assert tree.kind("secret/a.yaml") is None
    assert tree.list("apps") == (("a.yaml", "file"),)
    assert tree.kind("docs") == "dir"
    assert tree.list("docs") == ()
    with pytest.raises(FileNotFoundError):
        tree.read("apps/a.md")


def test_taken_back_below_a_folder_that_is_left_out(history):
    tree = GitTree.open(history.commit({"apps/staging/a.yaml": "1", "apps/base/b.yaml": "1", "x/y": "1"}, "/*\n!/apps/staging\n"))
    assert tree.list("") == (("apps", "dir"),)
    assert tree.list("apps") == (("staging", "dir"),)
    assert tree.read("apps/staging/a.yaml") == b"1"
    assert tree.kind("x") is None


def test_links_modules_and_foreign_names_are_not_there(history):
    history.commit({"a.yaml": "1"})
    history.raw(b"link", "120000", b"a.yaml")
    history.raw(b"caf\xe9.yaml")
    history.raw("café.yaml".encode())
    history.remote.git("update-index", "--add", "--cacheinfo", f"160000,{'12' * 20},module")
    history.remote.git("commit", "-q", "-m", "module")
    history.remote.git("push", "-q", "origin", "HEAD:main")
    tree = GitTree.open(history.snapshot())
    assert tree.list("") == (("a.yaml", "file"), ("café.yaml", "file"))
    assert tree.skipped == 1
    assert tree.kind("link") is None
    assert tree.kind("module") is None
    assert tree.read("café.yaml") == b"x"


def test_an_opened_store_sees_new_packs(history):
    first = history.commit({"a.yaml": "1"})
    assert GitTree.open(first).read("a.yaml") == b"1"
    assert open_store(first.store_path) is open_store(first.store_path)
    second = history.commit({"a.yaml": "2"})
    history.remote.git("-C", str(first.store_path), "gc", "-q", "--prune=now")
    assert GitTree.open(second).read("a.yaml") == b"2"
    assert GitTree.open(first).read("a.yaml") == b"1"


def test_a_store_made_anew_is_opened_anew(history, tmp_path):
    snapshot = history.commit({"a.yaml": "1"})
    GitTree.open(snapshot)
    moved = tmp_path / "moved"
    snapshot.store_path.rename(moved)
    with pytest.raises(SnapshotGone):
        GitTree.open(snapshot)
    history.remote.git("init", "-q", "--bare", str(snapshot.store_path))
    with pytest.raises(SnapshotGone):
        GitTree.open(snapshot)
