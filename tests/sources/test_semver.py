"""Ranges of versions in Masterminds' dialect; the tables follow the README of https://github.com/Masterminds/semver (v3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.sources.semver import InvalidVersion, Range, Version

INSIDE = [
    (">=1.2.3", "1.2.3 2.0.0", "1.2.2 1.3.0-rc.1"),
    (">=1.2.3-0", "1.2.3 1.3.0-rc.1", "1.2.2"),
    ("1.x", "1.0.0 1.9.3 v1.2.3", "2.0.0 0.9.0 1.1.0-beta"),
    ("1.2.*", "1.2.0 1.2.9", "1.3.0"),
    ("*", "0.0.0 9.9.9", "1.0.0-alpha"),
    (">= 1.2, < 3.0.0 || >= 4.2.3", "1.2.0 2.9.9 4.2.3", "3.0.0 4.2.2 1.1.9"),
    (">=1.2 <1.4", "1.2.0 1.3.9", "1.4.0"),
    ("1.2 - 1.4.5", "1.2.0 1.4.5", "1.4.6 1.1.0"),
    ("~1.2.3", "1.2.3 1.2.9", "1.3.0 1.2.2"),
    ("~1", "1.0.0 1.9.0", "2.0.0"),
    ("~2.3", "2.3.0 2.3.9", "2.4.0"),
    ("^1.2.3", "1.2.3 1.9.0", "2.0.0 1.2.2"),
    ("^0.2.3", "0.2.3 0.2.9", "0.3.0"),
    ("^0.0.3", "0.0.3", "0.0.4"),
    ("^0.0", "0.0.0 0.0.9", "0.1.0"),
    ("^0", "0.0.0 0.9.9", "1.0.0"),
    ("1.2.3", "1.2.3", "1.2.4"),
    ("!=1.2.3", "1.2.4", "1.2.3"),
    ("!=1.2", "1.3.0", "1.2.9"),
    (">1.2", "1.3.0", "1.2.9"),
    ("<=1.2", "1.2.9 1.1.0", "1.3.0"),
    ("<1.2", "1.1.9", "1.2.0"),
    ("=>1.2.3", "1.2.3", "1.2.2"),
]


@pytest.mark.parametrize(("text", "inside", "outside"), INSIDE)
def test_what_is_inside_a_range(text, inside, outside):
    found = Range.parse(text)
    assert [each for each in inside.split() if Version.parse(each) not in found] == []
    assert [each for each in outside.split() if Version.parse(each) in found] == []


@pytest.mark.parametrize("text", ["", "one", ">>1", "1.2.3.4", "1 ||", "^", "1.2.3 beta!", "x" * 600])
def test_what_is_no_range_is_quoted(text):
    with pytest.raises(InvalidVersion):
        Range.parse(text)


@pytest.mark.parametrize("text", ["1.2", "v1", "01.2.3", "1.02.3", "1.2.3-01", "latest", ""])
def test_strict_versions_have_three_plain_parts(text):
    with pytest.raises(InvalidVersion):
        Version.parse(text, strict=True)


def test_order_of_pre_releases():
    below = ["alpha", "alpha.1", "alpha.beta", "beta", "beta.2", "beta.11", "rc.1"]
    written = [*(f"1.0.0-{each}" for each in below), "1.0.0", "1.0.1"]
    assert [each.text for each in sorted(map(Version.parse, reversed(written)))] == written


@given(st.text(alphabet="0123456789.xX*^~<>=!|,- v+abc", max_size=24))
def test_any_text_is_a_range_or_refused(text):
    try:
        found = Range.parse(text)
    except InvalidVersion:
        return
    assert (Version.parse("1.2.3") in found) in (True, False)


@given(st.tuples(*[st.integers(0, 30)] * 3), st.tuples(*[st.integers(0, 30)] * 3))
def test_caret_and_tilde_keep_their_promise(low, other):
    version, text = Version.parse(".".join(map(str, other))), ".".join(map(str, low))
    assert (version in Range.parse(f">={text}")) == (other >= low)
    if any(low):  # upstream lets everything into ~0.0.0
        assert (version in Range.parse(f"~{text}")) == (other >= low and other[:2] == low[:2])
    if low[0]:
        assert (version in Range.parse(f"^{text}")) == (other >= low and other[0] == low[0])
