"""What a delivery runs: names always, stars narrowed by the payload and never widened."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receivers.contract import Event, Ping
from service.kinds.codec import decode
from service.kinds.notification import Receiver
from service.triggers.graph import Graph, Node, node_of
from service.triggers.targets import Choice, choose, entries, pushed_commit
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
    assert "--no-cross-namespace-refs" in choice.problems[1]


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
