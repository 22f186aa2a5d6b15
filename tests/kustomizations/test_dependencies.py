"""dependsOn: the order is kept at the first sync and at each push, success wakes those that wait, what cannot be is told."""

import pytest

from service.kustomizations import pushes
from tests.kustomizations.test_flow import app, settled
from tests.kustomizations.town import Town, config_map, ready


def on(*names: str) -> list[dict[str, str]]:
    return [{"name": name} for name in names]


async def test_a_chain_follows_each_push_in_order_and_at_once(hamlet: Town) -> None:
    hamlet.repository.commit(app("one") | app("two") | app("three"))
    await hamlet.start()
    await hamlet.apply(
        hamlet.source(),
        hamlet.kustomization("three", dependsOn=on("two")),
        hamlet.kustomization("two", dependsOn=on("one")),
        hamlet.kustomization("one"),
    )
    await hamlet.at(hamlet.revision, "one", "two", "three")
    await hamlet.quiet()
    unconcerned = hamlet.push({"one/settings.yaml": config_map("one", "2")})
    await hamlet.at(unconcerned, "one", "two", "three")
    changed = hamlet.push({"three/settings.yaml": config_map("three", "2"), "one/settings.yaml": config_map("one", "3")})
    await hamlet.at(changed, "one", "two", "three")
    assert await hamlet.values() | {"two": "1"} == await hamlet.values()
    assert [event["severity"] for name in ("one", "two", "three") for event in await hamlet.events(name, severity="error")] == []


async def test_a_dependency_that_fails_holds_back_and_lets_go(hamlet: Town) -> None:
    hamlet.repository.commit(app("one") | app("two"))
    await hamlet.start()
    await hamlet.apply(hamlet.source(), hamlet.kustomization("one"), hamlet.kustomization("two", dependsOn=on("one")))
    await hamlet.at(hamlet.revision, "one", "two")
    hamlet.push({"one/settings.yaml": "a: [", "two/settings.yaml": config_map("two", "2")})
    await hamlet.not_ready("one", "BuildFailed")
    seen = await hamlet.not_ready("two", "DependencyNotReady")
    assert ready(seen)["message"] == f"dependency '{hamlet.namespace}/one' is not ready"
    assert await hamlet.value("two") == "1"
    mended = hamlet.push({"one/settings.yaml": config_map("one", "1")})
    await hamlet.at(mended, "one", "two")
    assert await hamlet.value("two") == "2"
    assert await hamlet.events("two", severity="error") == [], "to wait is no failure"


async def test_a_dependency_that_is_not_there_is_named(hamlet: Town) -> None:
    hamlet.repository.commit(app("one") | app("two"))
    await hamlet.start()
    await hamlet.apply(hamlet.source(), hamlet.kustomization("two", dependsOn=on("one")))
    seen = await hamlet.not_ready("two", "DependencyNotReady")
    assert ready(seen)["message"].startswith(f"dependency '{hamlet.namespace}/one' not found: ")
    await hamlet.apply(hamlet.kustomization("one"))
    await hamlet.at(hamlet.revision, "one", "two")


async def test_one_that_depends_on_itself_says_so(hamlet: Town) -> None:
    hamlet.repository.commit(app("one"))
    await hamlet.start()
    await hamlet.apply(hamlet.source(), hamlet.kustomization("one", dependsOn=on("one")))
    await hamlet.not_ready("one", "DependencyNotReady")


async def test_another_source_is_asked_for_readiness_alone(hamlet: Town) -> None:
    hamlet.repository.commit(app("one") | app("two"))
    await hamlet.start()
    other = hamlet.source()
    other["metadata"]["name"] = "other"
    await hamlet.apply(hamlet.source(), other)
    await hamlet.apply(hamlet.kustomization("one", sourceRef={"kind": "GitRepository", "name": "other"}))
    await settled(hamlet)
    await hamlet.apply(hamlet.kustomization("two", dependsOn=on("one")))
    await hamlet.at(hamlet.revision, "one", "two")
    await hamlet.at(hamlet.push({"two/settings.yaml": config_map("two", "2")}), "two")


async def test_what_a_push_concerns_does_not_wait_for_a_dependency_that_it_does_not_concern(hamlet: Town) -> None:
    hamlet.repository.commit(app("base") | app("shop"))
    await hamlet.start()
    await settled(hamlet, "base")
    await hamlet.apply(hamlet.kustomization("shop", dependsOn=[{"name": "base"}]))
    await hamlet.at(hamlet.revision, "shop")
    await hamlet.quiet()
    await hamlet.at(hamlet.push({"shop/settings.yaml": config_map("shop", "2")}), "shop")
    assert await hamlet.value("shop") == "2"
    assert await hamlet.events("shop", severity="error") == []


async def test_an_expression_takes_the_place_of_readiness(hamlet: Town) -> None:
    """Waits until an expression over the other object holds, and hears of any change of that object."""
    hamlet.repository.commit(app("one") | app("two"))
    await hamlet.start()
    need = [{"name": "one", "readyExpr": "has(dep.metadata.annotations) && dep.metadata.annotations.wave == self.metadata.name"}]
    await hamlet.apply(hamlet.source(), hamlet.kustomization("one"), hamlet.kustomization("two", dependsOn=need))
    await hamlet.at(hamlet.revision, "one")
    seen = await hamlet.not_ready("two", "DependencyNotReady")
    assert ready(seen)["message"] == f"dependency '{hamlet.namespace}/one' is not ready according to readyExpr eval"
    noted = hamlet.kustomization("one", suspend=True)  # which Flux's own rule would wait for in vain
    noted["metadata"]["annotations"] = {"wave": "two"}
    await hamlet.apply(noted)
    await hamlet.at(hamlet.revision, "two")


async def test_an_expression_that_cannot_be_evaluated_is_told(hamlet: Town) -> None:
    hamlet.repository.commit(app("one") | app("two"))
    await hamlet.start()
    need = [{"name": "one", "readyExpr": "dep.metadata.labels.wave == 'x'"}]
    await hamlet.apply(hamlet.source(), hamlet.kustomization("one"), hamlet.kustomization("two", dependsOn=need))
    assert "no such key: " in ready(await hamlet.not_ready("two", "DependencyNotReady"))["message"]
    need = [{"name": "one", "readyExpr": "self.metadata.generation == deps.metadata.generation"}]
    await hamlet.apply(hamlet.kustomization("two", dependsOn=need))
    seen = await hamlet.not_ready("two", "InvalidCELExpression")
    assert "terminal" in ready(seen)["message"]
    assert "failed to parse the CEL expression" in ready(seen)["message"]


async def test_the_order_is_kept_where_an_included_source_moves(hamlet: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushes, "HEAD_START_SECONDS", 0)  # as if there were much to build
    hamlet.repository.commit(app("one") | app("two"))
    await hamlet.start()
    around = hamlet.source(ref={"commit": hamlet.revision.rpartition(":")[2]}, include=[{"repository": {"name": "fleet"}, "toPath": "in"}])
    around["metadata"]["name"] = "around"
    source = {"sourceRef": {"kind": "GitRepository", "name": "around"}}
    await hamlet.apply(hamlet.source(), around)
    await hamlet.apply(
        hamlet.kustomization("one", "in/one", **source), hamlet.kustomization("two", "in/two", dependsOn=on("one"), **source)
    )
    await hamlet.at(hamlet.revision.removeprefix("main@"), "one", "two")
    await hamlet.quiet()
    hamlet.push({"one/settings.yaml": "a: [", "two/settings.yaml": config_map("two", "2")})
    await hamlet.not_ready("one", "BuildFailed")
    await hamlet.not_ready("two", "DependencyNotReady")
    assert await hamlet.value("two") == "1"
    hamlet.push({"one/settings.yaml": config_map("one", "2")})
    await hamlet.wait("ConfigMap", "two", lambda seen: seen["data"]["value"] == "2")
    assert await hamlet.value("one") == "2"
