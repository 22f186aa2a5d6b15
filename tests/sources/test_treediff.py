import pygit2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pygit2.enums import DiffOption, FileMode

from service.sources.treediff import TooMuch, differing

BLOB, PROGRAM, LINK, MODULE = FileMode.BLOB, FileMode.BLOB_EXECUTABLE, FileMode.LINK, FileMode.COMMIT
NAMES = st.sampled_from(["a", "a.b", "a0", "ab", "b", "bé", "c", "40000 c", "100644 d", "z"])
LEAF = st.tuples(st.sampled_from([BLOB, PROGRAM, LINK, MODULE]), st.sampled_from([b"1", b"2", b"3"]))
TREES = st.recursive(LEAF, lambda below: st.dictionaries(NAMES, below, min_size=1, max_size=6), max_leaves=14)
ROOTS = st.dictionaries(NAMES, TREES, max_size=6)


@pytest.fixture(scope="module")
def repo(tmp_path_factory) -> pygit2.Repository:
    return pygit2.init_repository(str(tmp_path_factory.mktemp("objects")), bare=True)


def write(repo: pygit2.Repository, folder: dict) -> str:
    builder = repo.TreeBuilder()
    for name, below in folder.items():
        if isinstance(below, dict):
            builder.insert(name, write(repo, below), FileMode.TREE)
        else:
            mode, content = below
            builder.insert(name, repo.create_blob(content), mode)
    return str(builder.write())


def by_libgit2(repo: pygit2.Repository, old: str, new: str) -> set[str]:
    files = (BLOB, PROGRAM)
    deltas = repo[old].diff_to_tree(repo[new], flags=DiffOption.INCLUDE_TYPECHANGE).deltas
    return {side.path for delta in deltas for side in (delta.old_file, delta.new_file) if side.mode in files}


@settings(max_examples=90, deadline=None)
@given(ROOTS, ROOTS)
def test_same_as_libgit2_on_unrelated_trees(repo, one, two):
    old, new = write(repo, one), write(repo, two)
    assert set(differing(repo, old, new)) == by_libgit2(repo, old, new)


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(1, 40))
def test_same_as_libgit2_on_small_changes(repo, data, count):
    before = {f"app{n}": {"a.yaml": (BLOB, str(n % 7).encode())} for n in range(count)}
    after = dict(before)
    for name in data.draw(st.lists(st.sampled_from([*before, "app", "zz", "app10x"]), max_size=3)):
        change = data.draw(st.sampled_from(["drop", "file", "edit"]))
        after.pop(name, None)
        if change != "drop":
            after[name] = (BLOB, b"x") if change == "file" else {"a.yaml": (PROGRAM, b"x")}
    old, new = write(repo, before), write(repo, after)
    assert set(differing(repo, old, new)) == by_libgit2(repo, old, new)


def test_limits_and_missing_trees(repo):
    old, new = write(repo, {}), write(repo, {f"f{n}": (BLOB, b"1") for n in range(5)})
    assert len(differing(repo, old, new, most=5)) == 5
    with pytest.raises(TooMuch):
        differing(repo, old, new, most=4)
    with pytest.raises(KeyError):
        differing(repo, old, "12" * 20)


def test_names_that_are_not_text_are_left_out(repo):
    blob = repo.create_blob(b"1")
    raw = b"100644 a\xff\0" + blob.raw + b"100644 b\0" + blob.raw
    tree = repo.write(pygit2.enums.ObjectType.TREE, raw)
    assert differing(repo, write(repo, {}), str(tree)) == ("b",)
