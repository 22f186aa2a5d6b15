"""What others change of managed objects: seen when it happens, undone, reported or left to the interval; on both API servers."""

import asyncio
import json
import time
from typing import Any

import pytest

from service.cluster.client import APPLY_PATCH
from service.kustomizations import fights
from tests.kustomizations.town import PATHS, Town, config_map, ready

DRIFT = "kustomize.sluice.dev/drift"
LABELS = {"app": "web"}


def deployment(name: str, **metadata: Any) -> str:
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": LABELS},
        "template": {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}},
    }
    return json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, **metadata}, "spec": spec})


async def settled(town: Town, mode: str, **spec: Any) -> None:
    """A Deployment and a ConfigMap of one Kustomization, applied and watched."""
    town.repository.commit({"app/web.yaml": deployment("web"), "app/settings.yaml": config_map("settings", "1")})
    town.settings["drift"] = mode
    await town.start()
    await town.apply(town.source(), town.kustomization("app", **spec))
    await town.at(town.revision, "app")
    await town.quiet()
    if mode != "interval":
        await watching(town, 2)


async def watching(town: Town, kinds: int) -> None:
    async with asyncio.timeout(5):
        while len(town.house.lookouts.watched) < kinds:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)  # listed


async def scale(town: Town, replicas: int) -> None:
    """`kubectl scale`, by hand."""
    path = PATHS["Deployment"].format(town.namespace, "web")
    body = {"spec": {"replicas": replicas}}
    await town.api.request("PATCH", path, query={"fieldManager": "kubectl-edit"}, body=body, content_type="application/merge-patch+json")


def replicas(seen: dict[str, Any]) -> int:
    found: int = seen["spec"]["replicas"]
    return found


async def told(town: Town, reason: str) -> list[dict[str, Any]]:
    await town.quiet()
    await asyncio.sleep(0.05)
    return [each for each in await town.events("app") if each["reason"] == reason]


async def test_what_is_scaled_by_hand_is_undone_at_once(place: Town) -> None:
    await settled(place, "watch")
    place.cluster.asked.clear()
    began = time.perf_counter()
    await scale(place, 5)
    await place.wait("Deployment", "web", lambda seen: replicas(seen) == 1)
    assert time.perf_counter() - began < 1
    await place.quiet()
    assert {path.rpartition("/")[2] for _, path in place.cluster.writes("/apis/apps/")} == {"web"}
    assert not place.cluster.writes("/configmaps/"), "nothing else is sent"
    assert not [path for method, path in place.cluster.asked if method == "GET" and "/configmaps" in path]
    (event,) = [each for each in await place.events("app") if "drifted" in each["message"]]
    assert f"Deployment/{place.namespace}/web drifted: spec.replicas 1 -> 5 by kubectl-edit, undone" in event["message"].splitlines()
    assert (event["severity"], event["reason"]) == ("info", "ReconciliationSucceeded")


async def test_what_is_scaled_by_hand_is_left_and_told_once(place: Town) -> None:
    await settled(place, "report")
    await scale(place, 5)
    seen = await place.wait("Kustomization", "app", lambda seen: any(c["type"] == "Drifted" for c in seen["status"]["conditions"]))
    words = f"Deployment/{place.namespace}/web drifted: spec.replicas 1 -> 5 by kubectl-edit"
    (drifted,) = [c for c in seen["status"]["conditions"] if c["type"] == "Drifted"]
    assert (drifted["status"], drifted["message"], ready(seen)["status"]) == ("True", words, "True")
    await place.ask("app", "1")  # a full look leaves it, too, and does not tell it again
    await place.wait("Kustomization", "app", lambda seen: seen["status"].get("lastHandledReconcileAt") == "1")
    revision = place.push({"app/settings.yaml": config_map("settings", "2")})
    await place.at(revision, "app")
    assert replicas(await place.get("Deployment", "web") or {}) == 5
    (event,) = await told(place, "DriftDetected")
    assert (event["severity"], event["message"]) == ("error", f"{words}, left alone")
    await scale(place, 1)  # put right by hand: the condition goes
    await place.wait("Kustomization", "app", lambda seen: all(c["type"] != "Drifted" for c in seen["status"]["conditions"]))


async def test_drift_is_left_until_the_interval_by_default(place: Town) -> None:
    await settled(place, "interval", interval="3s")
    assert not place.house.lookouts.watched
    await scale(place, 5)
    await asyncio.sleep(0.7)
    assert replicas(await place.get("Deployment", "web") or {}) == 5
    await place.wait("Deployment", "web", lambda seen: replicas(seen) == 1)
    await place.quiet()
    (event,) = [each for each in await place.events("app") if "drifted" in each["message"]]
    assert "web drifted: spec.replicas 1 -> 5 by kubectl-edit, undone" in event["message"]


async def test_the_word_on_the_object_wins_over_the_kustomizations_and_that_over_the_flag(place: Town) -> None:
    place.repository.commit(
        {
            "app/web.yaml": deployment("web", annotations={DRIFT: "interval"}),
            "app/settings.yaml": config_map("settings", "1"),
        }
    )
    await place.start()
    app = place.kustomization("app")
    app["metadata"]["annotations"] = {DRIFT: "watch"}
    await place.apply(place.source(), app)
    await place.at(place.revision, "app")
    await watching(place, 1)
    assert {each.kind for each in place.house.lookouts.watched} == {"ConfigMap"}
    await scale(place, 5)
    await place.patch("ConfigMap", "settings", {"data": {"value": "x"}})
    await place.wait("ConfigMap", "settings", lambda seen: seen["data"]["value"] == "1")
    await place.quiet()
    assert replicas(await place.get("Deployment", "web") or {}) == 5


async def test_what_is_deleted_or_taken_out_by_hand_comes_back(place: Town) -> None:
    await settled(place, "watch")
    began = time.perf_counter()
    await place.delete("ConfigMap", "settings")
    async with asyncio.timeout(5):
        while await place.value("settings") != "1":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert time.perf_counter() - began < 1
    await place.patch("ConfigMap", "settings", {"data": {"value": None}})
    await place.wait("ConfigMap", "settings", lambda seen: (seen.get("data") or {}).get("value") == "1")
    label = "kustomize.toolkit.fluxcd.io/name"
    await place.patch("ConfigMap", "settings", {"metadata": {"labels": {label: None}}})
    await place.wait("ConfigMap", "settings", lambda seen: label in seen["metadata"].get("labels", {}))
    await place.quiet()
    lines = [line for each in await place.events("app") for line in each["message"].splitlines() if "drifted" in line]
    assert lines == [
        f"ConfigMap/{place.namespace}/settings drifted: it was deleted, undone",
        f'ConfigMap/{place.namespace}/settings drifted: data.value "1" -> none by someone who left no name, undone',
        f'ConfigMap/{place.namespace}/settings drifted: metadata.labels[{label}] "app" -> none by someone who left no name, undone',
    ]


async def test_what_git_does_not_set_is_never_touched(place: Town) -> None:
    """As an autoscaler and others do: fields of their own on our objects cause no request at all."""
    unset = json.loads(deployment("web"))
    del unset["spec"]["replicas"]
    place.repository.commit({"app/web.yaml": json.dumps(unset), "app/settings.yaml": config_map("settings", "1")})
    place.settings["drift"] = "watch"
    await place.start()
    await place.apply(place.source(), place.kustomization("app"))
    await place.at(place.revision, "app")
    await place.quiet()
    await watching(place, 2)
    await asyncio.sleep(0.3)
    place.cluster.asked.clear()
    for count in (3, 4, 5):
        await scale(place, count)
    await place.patch("ConfigMap", "settings", {"data": {"more": "mine"}, "metadata": {"annotations": {"mine": "1"}}})
    await asyncio.sleep(0.5)
    assert place.cluster.asked == [], "idle costs nothing but the watches"
    assert replicas(await place.get("Deployment", "web") or {}) == 5


async def test_a_field_that_is_changed_back_again_and_again_is_named_and_left(hamlet: Town) -> None:
    await settled(hamlet, "watch")
    for count in range(fights.FLIPS):
        await scale(hamlet, 5 + count)
        await hamlet.wait("Deployment", "web", lambda seen: replicas(seen) == 1)
        await hamlet.quiet()
    (event,) = await told(hamlet, "DriftDisputed")
    assert f"spec.replicas of Deployment/{hamlet.namespace}/web is changed back by kubectl-edit: 3 times now" in event["message"]
    hamlet.cluster.asked.clear()
    for count in range(5):
        await scale(hamlet, 9 + count)
    await asyncio.sleep(0.5)
    assert hamlet.cluster.asked == [], "no hot loop"
    seen = await hamlet.get("Kustomization", "app") or {}
    (drifted,) = [c for c in seen["status"]["conditions"] if c["type"] == "Drifted"]
    assert "changed back by kubectl-edit" in drifted["message"]


async def test_a_restart_sees_what_happened_meanwhile_and_builds_nothing_else(hamlet: Town, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "service")
    await settled(hamlet, "watch")
    await hamlet.stop()
    await hamlet.start()
    await watching(hamlet, 2)
    await hamlet.quiet()
    assert sum(record.getMessage() == "built" for record in caplog.records) == 1
    await hamlet.stop()
    await scale(hamlet, 7)
    await hamlet.start()
    await hamlet.wait("Deployment", "web", lambda seen: replicas(seen) == 1)


async def test_values_of_secrets_are_masked_and_secrets_are_never_listed(place: Town) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "stringData": {"password": "correct-horse"}}
    place.repository.commit({"app/login.yaml": json.dumps(secret)})
    place.settings["drift"] = "watch"
    await place.start()
    await place.apply(place.source(), place.kustomization("app"))
    await place.at(place.revision, "app")
    await watching(place, 1)
    path = f"/api/v1/namespaces/{place.namespace}/secrets/login"
    changed = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "data": {"password": "YmF0dGVyeQ=="}}
    await place.api.request("PATCH", path, query={"fieldManager": "intruder", "force": "true"}, body=changed, content_type=APPLY_PATCH)
    async with asyncio.timeout(5):
        while (await place.api.request("GET", path)).body["data"]["password"] == "YmF0dGVyeQ==":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await place.quiet()
    (event,) = [each for each in await place.events("app") if "drifted" in each["message"]]
    assert "data.password *** -> *** by intruder, undone" in event["message"]
    assert "YmF0dGVyeQ" not in event["message"]
    seen = {path for _, path in place.cluster.asked if "secrets?metadata" in path}
    assert seen == {f"/api/v1/namespaces/{place.namespace}/secrets?metadata&metadata.name=login"}
