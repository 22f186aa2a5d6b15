"""What a delivery runs: names always, stars narrowed by the payload and never widened."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receivers.contract import BucketChange, ChartPush, Event, ImagePush, Ping
from service.kinds.codec import decode
from service.kinds.meta import ObjectKey
from service.kinds.notification import Receiver, ResourceRef
from service.triggers.graph import Graph, Node, node_of
from service.triggers.targets import GROUPS, Choice, Entry, choose, entries, pushed_commit, pushed_image
from tests.triggers.scene import key, kustomization, push, receiver, repository

STAR = {"kind": "GitRepository", "name": "*", "matchLabels": {"team": "shop"}}


def chosen(resources: list[dict[str, Any]], objects: list[dict[str, Any]], *events: Event, strict: bool = False) -> Choice:
    graph = Graph(["GitRepository", "Kustomization"])
    for each in objects:
        name = key(each["kind"], each["metadata"]["name"], each["metadata"]["namespace"])
        graph.seen(name, each)
    named = entries(decode(Receiver, receiver(resources=resources)), no_cross_namespace=strict)
    listed: list[tuple[Any, list[Node]]] = [
        (entry, list(graph.members(entry.ref.kind, entry.namespace)) if entry.is_wide else []) for entry in named
    ]
    return choose(listed, events, graph.node)


def names(choice: Choice) -> list[str]:
    return [f"{target.kind[0]}/{target.name}" for target in choice.targets]


TWO = [repository("fleet"), repository("other", "https://github.com/acme/other")]


def test_a_named_object_runs_whatever_was_pushed() -> None:
    choice = chosen([{"kind": "GitRepository", "name": "other"}], TWO, push("refs/heads/feature"))
    assert names(choice) == ["G/other"]


def test_a_named_object_that_nobody_knows_is_a_target_too() -> None:
    assert names(chosen([{"kind": "GitRepository", "name": "new"}], [], push())) == ["G/new"]


def test_a_star_is_narrowed_to_the_repository_and_the_ref() -> None:
    choice = chosen([STAR], [*TWO, repository("stage", ref={"branch": "stage"})], push())
    assert names(choice) == ["G/fleet"]
    assert choice.narrowed == 2


def test_a_star_runs_whole_when_no_object_is_at_the_address() -> None:
    assert names(chosen([STAR], TWO, push("refs/heads/main", "https://mirror.example/fleet"))) == ["G/fleet", "G/other"]


def test_a_star_runs_nothing_when_nobody_follows_the_branch() -> None:
    choice = chosen([STAR], TWO, push("refs/heads/feature"))
    assert (choice.targets, choice.narrowed) == ((), 2)


@pytest.mark.parametrize("events", [(), (Ping(),), (push(), Ping())])
def test_a_star_runs_whole_for_what_is_no_push(events: tuple[Event, ...]) -> None:
    assert names(chosen([STAR], TWO, *events)) == ["G/fleet", "G/other"]


def test_kustomizations_are_narrowed_by_their_source() -> None:
    star = {"kind": "Kustomization", "name": "*", "matchLabels": {"team": "shop"}}
    apps = [kustomization("a"), kustomization("b", "other"), kustomization("c", "missing")]
    assert names(chosen([star], [*TWO, *apps], push())) == ["K/a", "K/c"]


def test_a_name_is_kept_even_where_a_star_leaves_it_out() -> None:
    choice = chosen([STAR, {"kind": "GitRepository", "name": "other"}], TWO, push())
    assert sorted(names(choice)) == ["G/fleet", "G/other"]
    assert choice.narrowed == 0


def test_says_why_an_entry_gives_nothing() -> None:
    resources = [{"kind": "GitRepository", "name": "*"}, {"kind": "GitRepository", "name": "x", "namespace": "else"}]
    choice = chosen(resources, TWO, push(), strict=True)
    assert choice.targets == ()
    assert "matchLabels" in choice.problems[0]
    assert choice.problems[1] == "can't access 'GitRepository/else/x', cross-namespace references have been blocked"


def test_other_namespaces_are_allowed_by_default() -> None:
    choice = chosen([{"kind": "GitRepository", "name": "x", "namespace": "else"}], [], push())
    assert choice.targets == (key("GitRepository", "x", "else"),)


def test_the_commit_of_the_newest_push_to_a_repository_and_its_ref_is_a_hint() -> None:
    fleet = repository("fleet")
    node = node_of(key("GitRepository", "fleet"), fleet)
    older, newer = replace(push(), after="1" * 40), replace(push(), after="2" * 40)
    assert pushed_commit(node, (older, newer)) == "2" * 40
    other = replace(push("refs/heads/feature"), after="3" * 40)
    elsewhere = replace(push("refs/heads/main", "https://github.com/acme/else"), after="4" * 40)
    assert pushed_commit(node, (newer, other, elsewhere, Ping())) == "2" * 40
    assert pushed_commit(node, (other, elsewhere, Ping())) == ""
    inside = replace(push("refs/heads/main", "http://gitea.svc:3000/acme/fleet.git"), after="5" * 40)
    assert pushed_commit(node, (inside,)) == "5" * 40
    assert pushed_commit(node, (older, replace(push(), after="", deleted=True))) == ""
    app = kustomization("a")
    assert pushed_commit(node_of(key("Kustomization", "a"), app), (newer,)) == ""


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["fleet", "other", "third"]), st.sampled_from(["main", "stage"])), max_size=6),
    st.lists(st.sampled_from(["https://github.com/acme/fleet", "git@github.com:acme/other.git", "https://else/x"]), min_size=1, max_size=3),
    st.sampled_from(["refs/heads/main", "refs/heads/stage", "refs/tags/v1"]),
)
def test_a_payload_never_widens_and_never_hides_what_it_names(found: list[tuple[str, str]], urls: list[str], ref: str) -> None:
    objects = [repository(f"r{n}", f"https://github.com/acme/{name}", ref={"branch": branch}) for n, (name, branch) in enumerate(found)]
    whole = {key("GitRepository", each["metadata"]["name"]) for each in objects}
    event = push(ref, *urls)
    choice = chosen([STAR], objects, event)
    assert set(choice.targets) <= whole
    assert len(choice.targets) + choice.narrowed == len(whole)
    plain = {url.rstrip("/").removesuffix(".git").replace(":", "/").rpartition("/")[2] for url in urls}
    for each in objects:
        node = node_of(key("GitRepository", each["metadata"]["name"]), each)
        if node.url.rpartition("/")[2] in plain and ref == f"refs/heads/{each['spec']['ref']['branch']}":
            assert node.key in choice.targets


def made(kind: str, name: str, spec: dict[str, Any], annotations: dict[str, str] | None = None) -> Node:
    metadata = {"name": name, "namespace": "apps", "annotations": annotations or {}}
    return node_of(key_of(kind, name), {"apiVersion": "x/v1", "kind": kind, "metadata": metadata, "spec": spec})


def key_of(kind: str, name: str) -> ObjectKey:
    return ObjectKey(group=GROUPS[kind], kind=kind, namespace="apps", name=name)


def ran(kind: str, nodes: list[Node], event: Event, known: list[Node] | None = None) -> list[str]:
    """The names that a `*` entry of a kind comes to."""
    ref = ResourceRef(kind=kind, name="*", match_labels={"a": "b"})
    entry = Entry(ref=ref, group=GROUPS[kind], namespace="apps")
    found = {node.key: node for node in (*nodes, *(known or ()))}
    return sorted(key.name for key in choose([(entry, nodes)], [event], found.get).targets)


def test_consumers_follow_the_place_of_their_source() -> None:
    shop = made("OCIRepository", "shop", {"url": "oci://ghcr.io/acme/shop", "ref": {"tag": "prod"}})
    other = made("OCIRepository", "other", {"url": "oci://ghcr.io/acme/other"})
    spec = {"interval": "1m", "prune": True}
    users = [
        node_of(
            key_of("Kustomization", name),
            {"kind": "Kustomization", "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "metadata": {"name": name, "namespace": "apps"},
             "spec": spec | {"sourceRef": {"kind": "OCIRepository", "name": name}}},
        )
        for name in ("shop", "other")
    ]  # fmt: skip
    pushed = ImagePush(names=("ghcr.io/acme/shop",), tag="prod")
    assert ran("Kustomization", users, pushed, [shop, other]) == ["shop"]
    assert ran("OCIRepository", [shop, other], pushed) == ["shop"]
    assert ran("Kustomization", users, pushed) == ["other", "shop"]  # what their sources are is not known: all
    policies = [made("ImagePolicy", name, {"imageRepositoryRef": {"name": name}}) for name in ("shop", "other")]
    scanned = [made("ImageRepository", name, {"image": f"ghcr.io/acme/{name}"}) for name in ("shop", "other")]
    assert ran("ImagePolicy", policies, pushed, scanned) == ["shop"]


def test_a_chart_of_the_same_name_in_another_repository_stays_apart() -> None:
    charts = [
        made("HelmChart", name, {"chart": "shop", "sourceRef": {"kind": "HelmRepository", "name": name}}) for name in ("ours", "theirs")
    ]
    ours = made("HelmRepository", "ours", {"url": "https://acme.azurecr.io/helm/v1/repo"})
    theirs = made("HelmRepository", "theirs", {"url": "https://charts.example.com"})
    pushed = ChartPush(urls=("https://acme.azurecr.io/helm/v1/repo",), name="shop", version="1.0.0")
    assert ran("HelmChart", charts, pushed, [ours, theirs]) == ["ours"]
    assert ran("HelmRepository", [ours, theirs], pushed) == ["ours"]
    in_git = made("HelmChart", "in-git", {"chart": "./shop", "sourceRef": {"kind": "GitRepository", "name": "fleet"}})
    else_in_git = made("HelmChart", "else", {"chart": "./shop", "sourceRef": {"kind": "GitRepository", "name": "else"}})
    known = [node_of(key_of("GitRepository", name), repository(name, f"https://github.com/acme/{name}")) for name in ("fleet", "else")]
    assert ran("HelmChart", [in_git, else_in_git], push(), known) == ["in-git"]


@pytest.mark.parametrize("said", ["https://github.com/acme/fleet", "git@example.com:x/y, ssh://git@github.com/acme/fleet.git"])
def test_hooks_of_what_an_object_mirrors_are_its_own(said: str) -> None:
    mirror = repository("mirror", "https://git.internal/mirrors/fleet")
    mirror["metadata"]["annotations"] = {"notification.sluice.dev/mirror-of": said}
    other = repository("b", "https://git.internal/b")
    nodes = [node_of(key_of("GitRepository", each["metadata"]["name"]), each) for each in (mirror, other)]
    assert ran("GitRepository", nodes, push()) == ["mirror"]
    assert ran("GitRepository", nodes, push("refs/heads/main", "https://git.internal/b")) == ["b"]


def test_mirrors_of_images_charts_and_buckets() -> None:
    def of(kind: str, spec: dict[str, Any], address: str) -> list[Node]:
        annotations = {"notification.sluice.dev/mirror-of": address}
        return [made(kind, "mirror", spec, annotations), made(kind, "else", spec)]

    image = ImagePush(names=("ghcr.io/acme/shop",), tag="latest")
    assert ran("OCIRepository", of("OCIRepository", {"url": "oci://cache/shop"}, "oci://ghcr.io/acme/shop"), image) == ["mirror"]
    assert ran("ImageRepository", of("ImageRepository", {"image": "cache.local/shop"}, "ghcr.io/acme/shop"), image) == ["mirror"]
    chart = ChartPush(urls=("https://charts.example.com",), name="shop")
    assert ran("HelmRepository", of("HelmRepository", {"url": "https://cache.local"}, "https://charts.example.com"), chart) == ["mirror"]
    assert ran("Bucket", of("Bucket", {"bucketName": "copy"}, "acme"), BucketChange(bucket="acme", key="x")) == ["mirror"]


@pytest.mark.parametrize(
    ("kind", "spec", "hint"),
    [
        ("OCIRepository", {"url": "oci://ghcr.io/acme/shop", "ref": {"tag": "1.4.0"}}, "shop:1.4.0@sha256:1"),
        ("OCIRepository", {"url": "oci://ghcr.io/acme/shop", "ref": {"tag": "1.3.0"}}, ""),
        ("OCIRepository", {"url": "oci://ghcr.io/acme/other", "ref": {"tag": "1.4.0"}}, ""),
        ("HelmRepository", {"url": "oci://ghcr.io/acme", "type": "oci"}, "shop:1.4.0@sha256:1"),
        ("HelmChart", {"chart": "shop", "version": "1.x", "sourceRef": {"kind": "HelmRepository", "name": "x"}}, "shop:1.4.0@sha256:1"),
        ("GitRepository", {"url": "https://github.com/acme/shop"}, ""),
    ],
)
def test_the_newest_image_that_an_object_follows_is_a_hint(kind: str, spec: dict[str, Any], hint: str) -> None:
    node = node_of(key(kind, "x"), {"metadata": {"name": "x", "namespace": "apps"}, "spec": spec})
    older, newer = (ImagePush(names=("ghcr.io/acme/shop",), tag="1.4.0", digest=f"sha256:{number}") for number in (0, 1))
    untagged = replace(newer, tag="", digest="sha256:2")  # a platform's part of an image, or a signature
    assert pushed_image(node, (older, newer, untagged, Ping())) == hint
    waiting = node_of(key(kind, "x"), {"metadata": {"name": "x", "namespace": "apps"}, "spec": {**spec, "verify": {"provider": "cosign"}}})
    signature = "sha256-" + "0" * 64 + ".sig"
    told = pushed_image(waiting, (replace(newer, tag=signature), replace(newer, deleted=True)))
    assert told == (f"shop:{signature}@sha256:1" if kind != "GitRepository" and "other" not in spec.get("url", "") else "")
