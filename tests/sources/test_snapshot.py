import pickle
import shutil
import time
from dataclasses import replace

import pytest

from service.sources.openrepo import SnapshotGone
from service.sources.snapshot import changed_paths, ignore_files, moved_ignore_files, touched, with_folders


def test_touched_names_files_and_the_folders_above(history):
    old = history.commit({"apps/a/x.yaml": "1", "apps/b/y.yaml": "1", "base/z.yaml": "1"})
    new = history.commit({"apps/a/x.yaml": "2", "apps/b/y.yaml": None, "apps/b/renamed.yaml": "1"})
    assert changed_paths(old, new) == ("apps/a/x.yaml", "apps/b/renamed.yaml", "apps/b/y.yaml")
    assert touched(old, new) == {"", "apps", "apps/a", "apps/b", "apps/a/x.yaml", "apps/b/y.yaml", "apps/b/renamed.yaml"}
    assert changed_paths(new, new) == ()
    assert touched(new, replace(new, revision="main@sha1:other", commit="other")) == frozenset()
    assert pickle.loads(pickle.dumps(new)) == new


def test_a_file_that_becomes_a_folder(history):
    old = history.commit({"app": "1"})
    history.remote.git("rm", "-q", "app")
    assert changed_paths(old, history.commit({"app/a.yaml": "1"})) == ("app", "app/a.yaml")


def test_what_is_left_out_is_not_touched(history):
    old = history.commit({"a.yaml": "1", "doc.png": "1"})
    assert changed_paths(old, history.commit({"a.yaml": "1", "doc.png": "2"})) == ()


def test_other_rules_may_change_everything(history):
    old = history.commit({"a.yaml": "1"})
    new = history.commit({".sourceignore": "*.md\n"})
    assert touched(old, new) is None
    assert touched(old, replace(old, ignore="x\n")) is None


def test_links_count_only_as_the_files_they_were(history):
    old = history.commit({"a.yaml": "1"})
    history.raw(b"link", "120000", b"a.yaml")
    linked = history.snapshot()
    assert changed_paths(old, linked) == ()
    history.raw(b"link", "100644", b"a: 1")
    assert changed_paths(linked, history.snapshot()) == ("link",)


def test_objects_that_are_gone(history, tmp_path):
    old = history.commit({"a.yaml": "1"})
    new = history.commit({"a.yaml": "2"})
    assert touched(replace(old, tree="12" * 20), new) is None
    with pytest.raises(SnapshotGone):
        touched(old, replace(new, tree="12" * 20))
    with pytest.raises(SnapshotGone):
        touched(old, replace(new, store_path=tmp_path / "none"))
    shutil.rmtree(new.store_path)
    with pytest.raises(SnapshotGone):
        touched(old, new)


def test_ignore_files_move_with_the_change(history):
    first = history.commit({".sourceignore": "a\n", "x/.sourceignore": "b\n", "x/y/z": "1"})
    assert [folder for folder, _ in first.ignore_files] == ["", "x"]
    second = history.commit({"x/.sourceignore": None, "x/y/.sourceignore": "c\n", ".sourceignore": "d\n", "other": "1"})
    assert [folder for folder, _ in second.ignore_files] == ["", "x/y"]
    store = second.store_path
    assert moved_ignore_files(store, first.tree, first.ignore_files, second.tree) == second.ignore_files
    assert moved_ignore_files(store, second.tree, second.ignore_files, second.tree) == second.ignore_files
    assert moved_ignore_files(store, "12" * 20, (), second.tree) is None
    third = history.commit({f"many/{n}": "1" for n in range(1001)})
    assert moved_ignore_files(store, second.tree, second.ignore_files, third.tree) is None
    assert ignore_files(store, third.tree) == second.ignore_files


def test_cost_follows_the_change(history):
    old = history.commit({f"apps/app{n}/a.yaml": "1" for n in range(1000)})
    new = history.commit({"apps/app7/a.yaml": "2"})
    touched(old, new)
    begun = time.perf_counter()
    for _ in range(10):
        assert len(touched(old, new)) == 4
    assert (time.perf_counter() - begun) / 10 < 0.02  # 0.4 ms on an idle machine


def test_with_folders():
    assert with_folders(["a/b/c", "a/d"]) == {"", "a", "a/b", "a/b/c", "a/d"}
    assert with_folders([]) == set()
