"""The rules of .helmignore, as Helm's own tests have them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.sources.helmignore import BadPattern, HelmIgnore


@pytest.mark.parametrize(
    ("pattern", "path", "ignored"),
    [
        ("helm.txt", "helm.txt", True), ("helm.txt", "templates/helm.txt", True), ("helm.*", "helm.txt", True),
        ("tiller.*", "tiller.txt", True), ("*/tiller.txt", "docs/tiller.txt", True), ("*.txt", "docs/a.md", False),
        ("/a.txt", "a.txt", True), ("/a.txt", "docs/a.txt", False), ("docs/a", "docs/a", True), ("docs/a", "x/docs/a", False),
        ("a[a-c].txt", "ab.txt", True), ("a[^a-c].txt", "ab.txt", False), ("a?.txt", "a/.txt", False), ("\\*.txt", "*.txt", True),
        ("# a.txt", "a.txt", False), ("", "a.txt", False), ("cargo/", "cargo", False), ("a b.txt ", "a b.txt", True),
        ("!keep.txt", "other.txt", True), ("!keep.txt", "keep.txt", False), ("x", "templates/.swp", True),
    ],
)  # fmt: skip
def test_patterns(pattern, path, ignored):
    assert HelmIgnore(pattern).ignored(path, is_folder=False) is ignored


def test_folders():
    rules = HelmIgnore("cargo/\n/docs/\n")
    assert rules.ignored("cargo", is_folder=True)
    assert rules.ignored("x/cargo", is_folder=True)
    assert rules.ignored("docs", is_folder=True)
    assert not rules.ignored("docs", is_folder=False)


def test_double_stars_are_an_error():
    with pytest.raises(BadPattern, match="double-star"):
        HelmIgnore("docs/**/a")


@given(st.text(max_size=30), st.text(max_size=20))
def test_any_text_is_rules_or_a_bad_pattern(text, path):
    try:
        HelmIgnore(text).ignored(path, is_folder=False)
    except BadPattern:
        return
