"""Starting again: what is unchanged is not written, what was pushed meanwhile comes, what others did meanwhile is not taken for ours."""

import asyncio
import logging

import pytest

from tests.kustomizations.test_flow import app, built, settled
from tests.kustomizations.town import Town, config_map, is_at, ready

NAMES = [f"app-{number}" for number in range(300)]


def fleet(names: list[str]) -> dict[str, str]:
    return {path: text for name in names for path, text in app(name).items()}


@pytest.mark.parametrize("count", [12, pytest.param(300, marks=pytest.mark.soak)])
async def test_unchanged_apps_are_neither_built_nor_written(place: Town, caplog: pytest.LogCaptureFixture, count: int) -> None:
    names = NAMES[:count]
    caplog.set_level(logging.INFO, "service")
    place.repository.commit(fleet(names))
    await place.start()
    await settled(place, *names)
    moved = place.push({"README": "nobody reads this"})  # some have moved without a build
    await place.at(moved, *names)
    await place.quiet()
    assert await place.stop() == 0
    built(caplog)
    await place.start()
    async with asyncio.timeout(60):
        while len(place.house.records.known) < len(names):  # noqa: ASYNC110 - each takes up its record
            await asyncio.sleep(0.01)
    await place.quiet()
    assert place.cluster.writes() == []
    assert built(caplog) == set()
    assert not [path for _, path in place.cluster.asked if "/configmaps/" in path]

    revision = place.push({"app-3/settings.yaml": config_map("app-3", "2")})  # and the records are good
    await place.at(revision, *names)
    assert built(caplog) == {"app-3"}


async def test_a_push_while_it_was_down_is_carried_out(hamlet: Town, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "service")
    hamlet.repository.commit(app("shop") | app("blog"))
    await hamlet.start()
    await settled(hamlet, "shop", "blog")
    await hamlet.kill()
    built(caplog)
    hamlet.repository.commit({"shop/settings.yaml": config_map("shop", "2")})
    await hamlet.start()
    await hamlet.at(hamlet.revision, "shop", "blog")
    assert await hamlet.value("shop") == "2"
    assert built(caplog) == {"shop"}


async def test_what_another_engine_applied_meanwhile_is_seen(hamlet: Town) -> None:
    """Flux takes over, applies a push, hands back; then git goes back to what we had built last."""
    hamlet.repository.commit(app("shop"))
    await hamlet.start()
    await settled(hamlet, "shop")
    before = dict(hamlet.repository.files)
    await hamlet.stop()
    theirs = hamlet.repository.commit({"shop/settings.yaml": config_map("shop", "by Flux")})
    await hamlet.patch("ConfigMap", "shop", {"data": {"value": "by Flux"}})
    applied = {"lastAppliedRevision": f"main@sha1:{theirs}", "lastAttemptedRevision": f"main@sha1:{theirs}"}
    await hamlet.patch("Kustomization", "shop", {"status": applied}, sub="/status")
    hamlet.repository.replace(before)
    await hamlet.start()
    await hamlet.at(hamlet.revision, "shop")
    assert await hamlet.value("shop") == "1"


async def test_what_another_engine_applied_between_two_leases_is_seen(hamlet: Town) -> None:
    hamlet.repository.commit(app("shop"))
    house = await hamlet.start()
    await settled(hamlet, "shop")
    before = dict(hamlet.repository.files)
    for gate in house.gates.values():
        gate.shut()
    theirs = hamlet.repository.commit({"shop/settings.yaml": config_map("shop", "by Flux")})
    await hamlet.patch("ConfigMap", "shop", {"data": {"value": "by Flux"}})
    await hamlet.patch("Kustomization", "shop", {"status": {"lastAppliedRevision": f"main@sha1:{theirs}"}}, sub="/status")
    hamlet.repository.replace(before)
    for name, gate in house.gates.items():
        gate.open()
        house.held(name)
    hamlet.tell()
    await hamlet.at(hamlet.revision, "shop")
    assert await hamlet.value("shop") == "1"


async def test_nothing_is_decided_before_all_is_listed(hamlet: Town) -> None:
    """A dependency on a later page, or a source whose list is slower, is not taken for absent."""
    hamlet.repository.commit(app("a-last") | app("z-first"))
    await hamlet.start()
    await hamlet.apply(hamlet.source(), hamlet.kustomization("z-first"), hamlet.kustomization("a-last", dependsOn=[{"name": "z-first"}]))
    await hamlet.at(hamlet.revision, "a-last", "z-first")
    await hamlet.quiet()
    await hamlet.stop()
    await hamlet.start()
    async with asyncio.timeout(10):
        while len(hamlet.house.records.known) < 2:
            seen = await hamlet.get("Kustomization", "a-last")
            assert seen is not None
            assert ready(seen)["status"] == "True"
            await asyncio.sleep(0.01)
    await hamlet.quiet()
    assert hamlet.cluster.writes("/kustomizations/") == []
    assert is_at((await hamlet.get("Kustomization", "a-last")) or {}, hamlet.revision)


async def test_the_cache_file_may_be_deleted_at_any_time(hamlet: Town) -> None:
    hamlet.repository.commit(app("shop"))
    await hamlet.start()
    await settled(hamlet, "shop")
    await hamlet.stop()
    for path in (hamlet.folder / "state").rglob("cache.db*"):
        path.unlink()
    await hamlet.patch("ConfigMap", "shop", {"data": {"value": "drifted"}})
    await hamlet.start()
    await hamlet.wait("ConfigMap", "shop", lambda seen: seen["data"]["value"] == "1")
    await hamlet.quiet()  # the event is stored after the write
    told = len(await hamlet.events("shop"))
    assert told == 2, "the first sync, and the drift"


async def test_a_lost_key_of_digests_only_means_to_look_at_the_secrets_again(hamlet: Town) -> None:
    secret = '{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pin"}, "stringData": {"pin": "1234"}}'
    hamlet.repository.commit(app("shop") | {"shop/pin.yaml": secret})
    await hamlet.start()
    await settled(hamlet, "shop")
    await hamlet.stop()
    before = await hamlet.get("Secret", "pin")
    (hamlet.folder / "state" / "digest.key").unlink()
    await hamlet.start()
    await hamlet.at(hamlet.push({"shop/settings.yaml": config_map("shop", "2")}), "shop")
    await hamlet.quiet()
    assert ("PATCH", f"/api/v1/namespaces/{hamlet.namespace}/secrets/pin?dryRun") in hamlet.cluster.asked
    after = await hamlet.get("Secret", "pin")
    assert (before or {})["metadata"]["resourceVersion"] == (after or {})["metadata"]["resourceVersion"]
