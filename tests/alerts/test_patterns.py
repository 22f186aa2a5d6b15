"""Go's patterns find what Go finds, or are refused. The cases are from RE2's syntax page and from documents of Flux."""

import contextlib
import re
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.alerts.patterns import BadPattern, translate


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("waiting.*socket", "a waiting for the socket", True),
        (r"error.*lookup github\.com", "error on lookup github.com", True),
        (r"error.*lookup github\.com", "error on lookup githubXcom", False),
        ("a$", "a\n", False),
        ("(?m)a$", "a\nb", True),
        ("(?m)^b", "a\nb", True),
        ("^b", "a\nb", False),
        (r"a\z", "ba", True),
        ("a.b", "a\nb", False),
        ("(?s)a.b", "a\nb", True),
        ("(?i)ABC", "xabc", True),
        ("a(?i)b|c", "AC", True),
        ("a(?i)b|c", "aB", True),
        ("a(?i)b|c", "AB", False),
        ("(a(?i)b)c", "aBC", False),
        ("(?i:a)b", "Ab", True),
        ("(?i:a)b", "AB", False),
        ("(?i)a(?-i)b", "AB", False),
        ("(?P<name>x)(?<other>y)", "xy", True),
        (r"\Qa.b\E+c", "a.bbc", True),
        (r"\Qa.b", "a.b", True),
        (r"\Qa.b", "axb", False),
        ("[[:upper:]][[:digit:]]", "A1", True),
        ("[^[:space:]]", " \t", False),
        (r"[\s\S]", "\n", True),
        (r"[\W]", "é", True),
        (r"\d", "٣", False),
        (r"\w", "é", False),
        (r"\bweb\b", "éweb", True),
        ("[]a]", "]", True),
        ("[a-]", "-", True),
        ("[[]", "[", True),
        ("a{,2}", "a{,2}", True),
        ("a{2}", "aa", True),
        ("a{", "a{", True),
        (r"\x41\x{1F600}", "A😀", True),
        ("x*?y", "xxy", True),
        ("", "anything", True),
        ("a||b", "zzz", True),
        (r"\-\_\/", "-_/", True),
    ],
)
def test_translated_pattern_finds_what_go_finds(pattern: str, text: str, found: bool) -> None:
    assert (re.search(translate(pattern), text) is not None) is found


@pytest.mark.parametrize(
    "pattern",
    ["(", ")", "[a", "*", "a**", "a*+", "a++", "a{2}{3}", "(?=a)", "(?!a)", "(?<=a)", "(?<!a)", "(?>a)", "(?#a)", "(?P=n)", r"(a)\1", r"\Z",
     r"\pL", r"\C", "\\", "a{1001}", "a{3,2}", "(?U)a", "(?)", "[[:nope:]]", r"[\d-z", r"[a-\d]", r"\x{110000}", "x" * 2001, "(?x)a"],
)  # fmt: skip
def test_pattern_that_go_refuses_is_refused(pattern: str) -> None:
    with pytest.raises(BadPattern):
        translate(pattern)


@settings(max_examples=400)
@given(st.text("ab()[]{}*+?|^$.\\QEdDwWsSbBAzix:-,12<>=!P#&~m\n'", max_size=14) | st.text(max_size=10))
def test_any_pattern_is_translated_without_a_warning_or_refused(pattern: str) -> None:
    try:
        translated = translate(pattern)
    except BadPattern:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with contextlib.suppress(re.error):  # a range that runs backwards or the repeat of an anchor, which the search reports
            re.compile(translated)
