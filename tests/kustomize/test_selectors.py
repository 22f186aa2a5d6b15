"""Targets: patterns and label selectors."""

import pytest

from service.kustomize.errors import BuildError
from service.kustomize.selectors import anchored, go_regexp, selects


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("", "anything", True),
        ("web", "web", True),
        ("web", "web-proxy", False),
        ("a|b", "b", True),
        ("a|b", "ab", False),
        ("w.*", "web", True),
        ("(?i)WEB", "web", True),
        ("[[:alpha:]]+", "web", True),
        ("[[:digit:]]+", "web", False),
        ("web$", "web", True),
    ],
)
def test_pattern_is_anchored(pattern: str, text: str, matches: bool) -> None:
    assert anchored(pattern, text) is matches


@pytest.mark.parametrize("pattern", ["(", "a(?=b)", "(?<!a)b", r"(a)\1", "["])
def test_pattern_that_re2_refuses_is_refused(pattern: str) -> None:
    with pytest.raises(BuildError, match="regexp"):
        go_regexp(pattern)


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("", True), ("app", True), ("!app", False), ("app=web", True), ("app == web", True), ("app!=web", False), ("none!=x", True),
        ("app in (db, web)", True), ("app notin (web)", False), ("env notin (x)", True), ("app=web,tier=1", True), ("tier>0", True),
        ("tier<1", False), ("team.io/x=y", True), ("app=web,!tier", False),
    ],
)  # fmt: skip
def test_label_selector(selector: str, matches: bool) -> None:
    assert selects(selector, {"app": "web", "tier": "1", "team.io/x": "y"}) is matches


@pytest.mark.parametrize("selector", ["a=b=c", "a in b", "=x", "a=b,", "-a=b", "tier>x", "a=b c"])
def test_label_selector_that_does_not_parse_is_refused(selector: str) -> None:
    with pytest.raises(BuildError, match="selector"):
        selects(selector, {"a": "b"})
