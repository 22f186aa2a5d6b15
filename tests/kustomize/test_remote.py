"""Remote bases: what URLs mean, who may fetch, and that nothing remote ever counts as unchanged."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.kustomize.build import BuildError, build
from service.kustomize.remote import NotFetched, Remote, RepoSpec, is_remote, parse
from service.kustomize.tree import MapTree, Tree, seen

SPECS = [
    ("https://host/org/repo//path?ref=v1", "https://host/org/repo", "path", "v1"),
    ("https://host/org/repo.git/a/b", "https://host/org/repo.git", "a/b", ""),
    ("https://host/org/repo.git?ref=x", "https://host/org/repo.git", "", "x"),
    ("https://host/org/repo/a/b?version=v2", "https://host/org/repo", "a/b", "v2"),
    ("https://host/org/repo?version=v2&ref=v1", "https://host/org/repo", "", "v1"),
    ("git::https://host/org/repo//a", "https://host/org/repo", "a", ""),
    ("github.com/org/repo?ref=v1", "https://github.com/org/repo", "", "v1"),
    ("GitHub.com/org/repo/a", "https://github.com/org/repo", "a", ""),
    ("github.com:org/repo/a", "https://github.com/org/repo", "a", ""),
    ("http://github.com/org/repo", "https://github.com/org/repo", "", ""),
    ("git@github.com:org/repo.git//a", "git@github.com:org/repo.git", "a", ""),
    ("ssh://git@github.com/org/repo//a", "git@github.com:org/repo", "a", ""),
    ("git@host:org/repo.git/a", "git@host:org/repo.git", "a", ""),
    ("ssh://git@host:7999/p/repo.git//a", "ssh://git@host:7999/p/repo.git", "a", ""),
    ("https://user@dev.azure.com/org/project/_git/repo/a/b", "https://user@dev.azure.com/org/project/_git/repo", "a/b", ""),
    ("file:///srv/git/repo//a", "file:///srv/git/repo", "a", ""),
    ("file:///srv/git/repo", "file:///srv/git/repo", "", ""),
]


@pytest.mark.parametrize(("address", "url", "path", "ref"), SPECS)
def test_parse_reads_every_form_of_url(address: str, url: str, path: str, ref: str) -> None:
    found = parse(address)
    assert (found.url, found.path, found.ref) == (url, path, ref)
    assert is_remote(address)


@pytest.mark.parametrize(
    ("query", "seconds", "submodules"),
    [
        ("", 27, True),
        ("timeout=61", 61, True),
        ("timeout=2m1s", 121, True),
        ("timeout=0", 27, True),
        ("submodules=false&timeout=x", 27, False),
    ],
)
def test_parse_reads_the_query(query: str, seconds: int, submodules: bool) -> None:
    found = parse(f"https://host/org/repo?{query}")
    assert (found.timeout, found.submodules) == (timedelta(seconds=seconds), submodules)


@pytest.mark.parametrize(
    "address", ["/abs/path", "../base", "base", "https://host", "https://host/org", "host/org/repo", "https://h/o/r//../x"]
)
def test_parse_refuses_what_names_no_repository(address: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(address)


@given(st.text(max_size=60))
def test_parse_gives_a_path_that_stays_in_the_repository(text: str) -> None:
    for address in (text, f"https://{text}", f"git@host:{text}"):
        try:
            path = parse(address).path
        except ValueError:
            continue
        assert not path.startswith("/")
        assert path != ".."
        assert not path.startswith("../")


def _remote(files: dict[str, str], repositories: dict[str, dict[str, str]]) -> Remote:
    def clone(spec: RepoSpec) -> tuple[Tree, str]:
        if spec.url not in repositories:
            raise NotFetched("no such repository")
        return MapTree(repositories[spec.url]), "c0ffee"

    def file(url: str) -> bytes:
        if url not in files:
            raise NotFetched("status code 404")
        return files[url].encode()

    return Remote(clone=clone, file=file)


POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\n"
REPOSITORY = {"base/kustomization.yaml": "namePrefix: far-\nresources: [pod.yaml, ../more]\n", "base/pod.yaml": POD}
REPOSITORY |= {"more/kustomization.yaml": "configMapGenerator: [{name: a}]\n"}


def test_build_takes_bases_from_repositories() -> None:
    tree = MapTree({"kustomization.yaml": "namePrefix: my-\nresources: ['https://host/org/repo//base?ref=v1&token=secret']\n"})
    built = build(tree, "", remote=_remote({}, {"https://host/org/repo": REPOSITORY}))
    assert [each["metadata"]["name"] for each in built.objects] == ["my-far-web", "my-far-a-6ct58987ht"]
    remote = [key for key in built.reads if key.startswith("remote ")]
    assert remote == ["remote https://host/org/repo//base"]
    assert seen(tree, remote[0]) != built.reads[remote[0]]


def test_build_takes_files_from_urls() -> None:
    patch = "patches: [{path: 'https://host/patch.yaml', target: {kind: Pod}}]"
    tree = MapTree({"kustomization.yaml": f"resources: ['https://host/pod.yaml?x=y']\n{patch}\n"})
    files = {"https://host/pod.yaml?x=y": POD, "https://host/patch.yaml": "- {op: add, path: /spec, value: {a: 1}}"}
    built = build(tree, "", remote=_remote(files, {}))
    assert [each["spec"] for each in built.objects] == [{"a": 1}]
    assert "remote https://host/pod.yaml" in built.reads
    assert "remote https://host/patch.yaml" in built.reads


def test_build_names_the_flag_where_nothing_may_be_fetched() -> None:
    for entry in ("https://u:hidden@host/org/repo//base?ref=v1", "github.com/org/repo", "https://host/x.yaml"):
        with pytest.raises(BuildError, match="--remote-bases") as caught:
            build(MapTree({"kustomization.yaml": f"resources: ['{entry}']\n"}), "")
        assert "hidden" not in str(caught.value)


def test_build_says_what_did_not_come() -> None:
    for entry, message in (("https://host/x.yaml", "status code 404"), ("https://host/org/repo//x", "no such repository")):
        with pytest.raises(BuildError, match=message):
            build(MapTree({"kustomization.yaml": f"resources: ['{entry}']\n"}), "", remote=_remote({}, {}))


def test_build_ends_a_cycle_of_repositories() -> None:
    repository = {"kustomization.yaml": "resources: ['https://host/org/repo']\n"}
    with pytest.raises(BuildError, match="cycle detected"):
        build(MapTree(repository), "", remote=_remote({}, {"https://host/org/repo": repository}))


def test_a_repository_cannot_reach_the_tree_that_names_it() -> None:
    repository = {"kustomization.yaml": "resources: [../secret.yaml]\n"}
    tree = MapTree({"kustomization.yaml": "resources: ['https://host/org/repo']\n", "secret.yaml": POD})
    with pytest.raises(BuildError, match="leads out of the tree"):
        build(tree, "", remote=_remote({}, {"https://host/org/repo": repository}))
