"""Patterns match what Go's path.Match and doublestar match."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.sources.globs import BadPattern, clean, doublestar, literal_root, segment


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("*.yaml", "a.yaml", True),
        ("*.yaml", "a.yml", False),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[^a-c]x", "dx", True),
        ("[\\]x]", "]", True),
        ("\\*", "*", True),
        ("\\*", "a", False),
        ("{a,b}", "{a,b}", True),
        ("**", "anything", True),
    ],
)
def test_segments(pattern: str, text: str, matches: bool) -> None:
    assert bool(segment(pattern).fullmatch(text)) is matches


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("**/*.md", "README.md", True),
        ("**/*.md", "docs/a/README.md", True),
        ("*.md", "docs/README.md", False),
        ("**/testdata/**", "testdata/a", True),
        ("**/testdata/**", "a/b/testdata/c/d", True),
        ("**/testdata/**", "a/testdata", True),
        ("**/testdata/**", "a/testdatas", False),
        ("a/**", "a", True),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a/**/b", "axb", False),
        ("a/**b", "a/xxb", True),
        ("a/**b", "a/x/b", False),
        ("a**/b", "axx/b", True),
        ("{a,b/**}/c", "a/c", True),
        ("{a,b/**}/c", "b/x/y/c", True),
        ("{a,b}/c", "c/c", False),
        ("*.{yaml,yml}", "a.yml", True),
        ("[!a]", "b", True),
        ("[!a]", "/", False),
        ("**", "a/b/c", True),
    ],
)
def test_whole_paths(pattern: str, text: str, matches: bool) -> None:
    assert bool(doublestar(pattern).fullmatch(text)) is matches


@pytest.mark.parametrize("pattern", ["[", "[]", "[z-a]", "a\\", "[a"])
def test_what_is_no_pattern_is_said(pattern: str) -> None:
    with pytest.raises(BadPattern):
        segment(pattern)
    with pytest.raises(BadPattern):
        doublestar(pattern)


@pytest.mark.parametrize("pattern", ["{a", "a}", "{" + "a," * 21 + "b}"])
def test_braces_are_bounded(pattern: str) -> None:
    with pytest.raises(BadPattern):
        doublestar(pattern)


@given(st.text(alphabet="ab/*?[]{},\\^!-.", max_size=12), st.text(alphabet="ab/.", max_size=8))
def test_any_text_matches_or_is_refused(pattern: str, text: str) -> None:
    for read in (segment, doublestar):
        try:
            read(pattern).fullmatch(text)
        except BadPattern:
            continue


@pytest.mark.parametrize(
    ("pattern", "root"), [("apps/web/**", "apps/web"), ("apps/*/base", "apps"), ("**", ""), ("./a//b/", "a/b"), ("a.yaml", "a.yaml")]
)
def test_what_is_read_lies_below_the_root(pattern: str, root: str) -> None:
    assert literal_root(pattern) == root


def test_nothing_leads_out() -> None:
    with pytest.raises(BadPattern):
        clean("a/../../b")
