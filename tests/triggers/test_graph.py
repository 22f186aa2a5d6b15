"""The graph under random changes is the graph of the objects that are left."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from service.kinds.meta import ObjectKey
from service.triggers.graph import Graph
from tests.triggers.scene import key, kustomization, repository

NAMES = ["a", "b", "c"]
SOURCES = ["fleet", "other"]

changes = st.one_of(
    st.tuples(st.just("k"), st.sampled_from(NAMES), st.sampled_from(SOURCES), st.lists(st.sampled_from(NAMES), max_size=2)),
    st.tuples(st.just("g"), st.sampled_from(SOURCES), st.sampled_from(["https://h/x", "git@h:y.git", "not an address"]), st.just([])),
    st.tuples(st.just("gone"), st.sampled_from(NAMES + SOURCES), st.just(""), st.just([])),
    st.tuples(st.just("broken"), st.sampled_from(NAMES), st.just(""), st.just([])),
)


@settings(deadline=None)
@given(st.lists(changes, max_size=12))
def test_indexes_hold_what_the_objects_say(plays: list[tuple[str, str, str, list[str]]]) -> None:
    graph, left = Graph(), dict[ObjectKey, dict[str, Any]]()
    for kind, name, other, needs in plays:
        who = key("GitRepository" if name in SOURCES else "Kustomization", name)
        match kind:
            case "k":
                left[who] = kustomization(name, other, dependsOn=[{"name": need} for need in needs])
            case "g":
                left[who] = repository(name, other)
            case "broken":
                left[who] = {
                    "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
                    "kind": "Kustomization",
                    "spec": {"sourceRef": 3},
                    "metadata": {},
                }
            case _:
                left.pop(who, None)
        graph.seen(who, left.get(who))
    fresh = Graph()
    for who, object_ in left.items():
        fresh.seen(who, object_)
    for name in NAMES + SOURCES:
        who = key("GitRepository" if name in SOURCES else "Kustomization", name)
        assert graph.node(who) == fresh.node(who)
        assert graph.consumers(who) == fresh.consumers(who)
    assert list(graph.members("Kustomization", "apps")) == list(fresh.members("Kustomization", "apps"))


def test_consumers_are_those_whose_source_it_is_now() -> None:
    graph, fleet = Graph(), key("GitRepository", "fleet")
    graph.seen(key("Kustomization", "infra"), kustomization("infra"))
    graph.seen(key("Kustomization", "apps"), kustomization("apps", "other"))
    assert graph.consumers(fleet) == {key("Kustomization", "infra")}
    graph.seen(key("Kustomization", "apps"), kustomization("apps"))
    graph.seen(key("Kustomization", "infra"), None)
    assert graph.consumers(fleet) == {key("Kustomization", "apps")}
