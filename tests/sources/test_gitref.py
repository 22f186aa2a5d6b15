import contextlib
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.kinds.source import GitRef
from service.sources.gitref import InvalidRef, InvalidUrl, checked_url, is_ref_name, wanted

SHA = "5394cb7f48332b2de7c17dd8b8384bbc84b7e738"
LETTERS = st.text(st.sampled_from("ab/.@{~^:?*[\\-lock \x01\x7fé"), min_size=1, max_size=9)


@settings(max_examples=120, deadline=None)
@given(LETTERS)
@example("evil:refs/heads/other")
@example("a.lock/b")
@example("@")
@example("-a")
def test_names_are_what_git_allows(name):
    git = subprocess.run(["git", "check-ref-format", "--allow-onelevel", f"refs/heads/{name}"], capture_output=True)
    assert is_ref_name(f"refs/heads/{name}") == (git.returncode == 0)
    if not is_ref_name(f"refs/heads/{name}"):
        for ref in (GitRef(branch=name), GitRef(tag=name), GitRef(name=f"refs/heads/{name}")):
            if not (ref.name.endswith("^{}")):
                with pytest.raises(InvalidRef, match=r"spec\.ref\."):
                    wanted(ref)


@pytest.mark.parametrize(
    ("ref", "source", "revision"),
    [
        (None, "refs/heads/master", f"master@sha1:{SHA}"),
        (GitRef(branch="main"), "refs/heads/main", f"main@sha1:{SHA}"),
        (GitRef(branch="feature/x"), "refs/heads/feature/x", f"feature/x@sha1:{SHA}"),
        (GitRef(tag="v1.0", branch="main"), "refs/tags/v1.0", f"v1.0@sha1:{SHA}"),
        (GitRef(name="refs/pull/7/head", tag="v1"), "refs/pull/7/head", f"refs/pull/7/head@sha1:{SHA}"),
        (GitRef(name="refs/tags/v1^{}"), "refs/tags/v1", f"refs/tags/v1^{{}}@sha1:{SHA}"),
        (GitRef(commit=SHA), "refs/heads/*", f"sha1:{SHA}"),
        (GitRef(commit=SHA, branch="main"), "refs/heads/main", f"main@sha1:{SHA}"),
    ],
)
def test_sources_and_revisions(ref, source, revision):
    want = wanted(ref)
    assert (want.source, want.revision(SHA)) == (source, revision)


@pytest.mark.parametrize("ref", [GitRef(commit="abc"), GitRef(commit=SHA.upper()), GitRef(name="main"), GitRef(name="refs/heads/a:b")])
def test_refs_that_are_none(ref):
    with pytest.raises(InvalidRef):
        wanted(ref)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("git@github.com:org/repo.git", "write ssh://git@github.com/org/repo.git"),
        ("ssh://git:secret@github.com/org/repo", "must not hold a password"),
        ("file:///etc", "'file' is not supported"),
        ("https:///repo", "no host"),
        ("https://host:99999/a", "Port"),
        ("http://host/a b", "space"),
        ("http://host/a\nb", ""),
        ("", "''"),
    ],
)
def test_urls_that_cannot_be_fetched(url, words):
    with pytest.raises(InvalidUrl) as told:
        checked_url(url)
    assert words in str(told.value)


@given(st.text(max_size=40))
def test_any_url_is_checked(url):
    with contextlib.suppress(InvalidUrl):
        assert checked_url(url) == url


def test_good_urls():
    for url in (
        "https://github.com/org/repo",
        "http://user:secret@127.0.0.1:8080/a.git",
        "https://[::1]:1/x",
        "ssh://git@github.com:22/org/repo",
    ):
        assert checked_url(url) == url
