"""Trees that are put together hold what dictionaries of the same files hold; equal content has equal ids."""

from pathlib import Path

import pygit2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pygit2.enums import FileMode

from service.sources.grafting import NoPlace, Pruned, entry_at, grafted, pruned, tree_of
from service.sources.ignore import make_ignore
from service.sources.tree import GitTree, walk

PATHS = st.lists(st.sampled_from(["a", "b", "x"]), max_size=2).flatmap(
    lambda folders: st.sampled_from(["f.md", "g.yaml", "h"]).map(lambda name: "/".join([*folders, name]))
)
FILES = st.dictionaries(PATHS, st.sampled_from(["one", "two"]), max_size=6)
RULES = st.lists(st.sampled_from(["*.md", "!a/f.md", "/b", "x/", "!/b/g.yaml", "**/h", "/*", "!/a"]), max_size=3).map("\n".join)
PROPERTY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def repo(tmp_path: Path) -> pygit2.Repository:
    return pygit2.init_repository(str(tmp_path / "repo"), bare=True)


def made(repo: pygit2.Repository, files: dict[str, str]) -> str:
    entries = {path: (repo.create_blob(text.encode()), FileMode.BLOB) for path, text in files.items()}
    return str(grafted(repo, None, entries))


def files(repo: pygit2.Repository, tree: str, prefix: str = "") -> dict[str, str]:
    found = {}
    for entry in tree_of(repo, tree):
        if entry.filemode == FileMode.TREE:
            found |= files(repo, str(entry.id), f"{prefix}{entry.name}/")
        else:
            found[prefix + entry.name] = entry.peel(pygit2.Blob).data.decode()
    return found


@PROPERTY
@given(base=FILES, inner=FILES, deeper=FILES)
def test_what_is_grafted_stands_in_its_place(base, inner, deeper, repo):
    trees = {"new/in": made(repo, inner), "new/in/deep/est": made(repo, deeper)}
    entries = {path: (pygit2.Oid(hex=id_), FileMode.TREE) for path, id_ in trees.items()}
    whole = str(grafted(repo, tree_of(repo, made(repo, base)), entries))
    expected = {**base, **{f"new/in/{path}": text for path, text in inner.items()}}
    expected |= {f"new/in/deep/est/{path}": text for path, text in deeper.items()}
    assert files(repo, whole) == expected
    if inner and deeper:
        assert whole == made(repo, expected), "the same id as of a commit with these files"


@PROPERTY
@given(old=FILES, new=FILES, rules=RULES)
def test_what_is_left_out_is_what_a_reader_does_not_see(old, new, rules, repo):
    ignore, before = make_ignore((), rules), None
    for each in (old, new, new):
        tree = made(repo, each)
        kept = pruned(repo, GitTree(repo, tree, ignore), "", tree, before)
        seen = {path for path, is_folder in walk(GitTree(repo, tree, ignore)) if not is_folder}
        assert files(repo, kept) == {path: each[path] for path in seen}
        assert kept == pruned(repo, GitTree(repo, tree, ignore), "", tree, None), "what is reused is what would be found"
        before = Pruned(tree=tree, rules=rules, kept=kept)


def test_only_changed_folders_are_walked(repo):
    class Counting(GitTree):
        asked: list[str] = []  # noqa: RUF012 - of one test

        def kind(self, path):
            self.asked.append(path)
            return super().kind(path)

    ignore = make_ignore((), "*.md\n")
    first = {f"apps/{number}/{name}": "one" for number in range(20) for name in ("f.md", "g.yaml")}
    trees = [made(repo, first), made(repo, {**first, "apps/7/g.yaml": "two"})]
    kept = pruned(repo, GitTree(repo, trees[0], ignore), "", trees[0], None)
    pruned(repo, Counting(repo, trees[1], ignore), "", trees[1], Pruned(tree=trees[0], rules="", kept=kept))
    assert Counting.asked == ["apps", "apps/7", "apps/7/g.yaml"]


def test_odd_names_and_modes_stay_out(repo):
    blob = repo.create_blob(b"x").raw
    raw = b"".join(mode + b" " + name + b"\0" + blob for mode, name in ((b"120000", b"link"), (b"100664", b"zz"), (b"100644", b"z\xff")))
    tree = str(repo.write(pygit2.enums.ObjectType.TREE, raw))
    kept = pruned(repo, GitTree(repo, tree, make_ignore((), None)), "", tree, None)
    assert [entry.raw_name for entry in tree_of(repo, kept)] == [b"zz"]


def test_where_nothing_can_be_put(repo):
    tree = tree_of(repo, made(repo, {"a/f": "x"}))
    entry = (tree.id, FileMode.TREE)
    for path in ("a/f/under", "b/.git/hooks", ".."):
        with pytest.raises(NoPlace):
            grafted(repo, tree, {path: entry})
    assert entry_at(repo, tree, "a/f/under") is None
    assert entry_at(repo, tree, "") == entry
    with pytest.raises(KeyError):
        tree_of(repo, "1" * 40)
