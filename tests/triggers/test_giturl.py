"""Addresses in all their spellings, and which pushes a spec.ref follows."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.kinds.source import GitRef
from service.triggers.giturl import follows, normal_url


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/acme/fleet",
        "https://github.com/acme/fleet.git",
        "https://github.com/acme/fleet/",
        "https://github.com/acme/fleet.git/",
        "HTTPS://GitHub.com/Acme/Fleet.git",
        "https://user:token@github.com/acme/fleet",
        "https://github.com:443/acme/fleet?x=1#y",
        "http://github.com:8080/acme/fleet",
        "ssh://git@github.com/acme/fleet.git",
        "ssh://git@github.com:22/acme/fleet.git",
        "ssh://git@ssh.github.com:443/acme/fleet.git",
        "git://github.com/acme/fleet.git",
        "git@github.com:acme/fleet.git",
        "git@github.com:/acme/fleet.git",
        "github.com:acme/fleet",
        " https://github.com/acme/fl%65et ",
        "https://github.com//acme//fleet.git",
        "git+ssh://git@github.com/acme/fleet",
        "https://github.com./acme/fleet",
        "GIT@GITHUB.COM:ACME/FLEET.GIT",
    ],
)
def test_all_spellings_of_an_address_are_one(url: str) -> None:
    assert normal_url(url) == "github.com/acme/fleet"


@pytest.mark.parametrize("url", ["", "fleet", "/srv/git/fleet", "https://", "https://github.com", "file:///srv/fleet", "ssh:///x"])
def test_what_is_no_address_on_a_host_has_no_form(url: str) -> None:
    assert normal_url(url) == ""


@pytest.mark.parametrize(
    "other",
    [
        "https://github.com/acme/fleet2",
        "https://github.com.evil.example/acme/fleet",
        "https://github.com/x/acme/fleet",
        "git@gitlab.com:acme/fleet",
    ],
)
def test_other_repositories_stay_apart(other: str) -> None:
    assert normal_url(other) not in ("", normal_url("https://github.com/acme/fleet"))


def test_addresses_of_version_six() -> None:
    assert normal_url("ssh://git@[::1]:2222/acme/fleet") == normal_url("git@[::1]:acme/fleet.git") == "[::1]/acme/fleet"


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_has_a_form_or_none(url: str) -> None:
    host, slash, path = normal_url(url).partition("/")
    assert bool(host) == bool(slash) == bool(path)


@pytest.mark.parametrize(
    ("wanted", "ref", "answer"),
    [
        (None, "refs/heads/master", True),
        (None, "refs/heads/main", False),
        (GitRef(), "refs/heads/master", True),
        (GitRef(branch="main"), "refs/heads/main", True),
        (GitRef(branch="main"), "refs/heads/Main", False),
        (GitRef(branch="main"), "refs/tags/main", False),
        (GitRef(branch="main", tag="v1"), "refs/tags/v1", True),
        (GitRef(branch="main", tag="v1"), "refs/heads/main", False),
        (GitRef(name="refs/heads/x/y"), "refs/heads/x/y", True),
        (GitRef(name="refs/heads/x"), "refs/heads/y", False),
        (GitRef(name="refs/pull/4/head"), "refs/heads/any", True),
        (GitRef(semver=">=1"), "refs/tags/v1", True),
        (GitRef(semver=">=1"), "refs/heads/main", False),
        (GitRef(commit="a" * 40), "refs/heads/any", True),
        (GitRef(commit="a" * 40, branch="main"), "refs/heads/other", False),
    ],
)
def test_follows_by_flux_precedence(wanted: GitRef | None, ref: str, answer: bool) -> None:
    assert follows(wanted, ref) is answer
