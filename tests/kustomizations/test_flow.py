"""From a push to the status: what runs, what moves, what is sent, and what is told. Each test starts the rooms of a service."""

import logging

import pytest

from tests.kustomizations.town import Town, config_map, inventory, ready

BASE = {"base/kustomization.yaml": "resources: [shared.yaml]\n", "base/shared.yaml": config_map("shared", "1")}


def app(name: str, value: str = "1") -> dict[str, str]:
    return {f"{name}/settings.yaml": config_map(name, value), f"{name}/more.yaml": config_map(f"{name}-more", "same")}


def overlay(name: str) -> dict[str, str]:
    return {f"{name}/kustomization.yaml": f"namePrefix: {name}-\nresources: [../base]\n"}


def built(caplog: pytest.LogCaptureFixture) -> set[str]:
    """The names of the objects that were built since the last look."""
    names = {getattr(record, "object", "").rpartition("/")[2] for record in caplog.records if record.getMessage() == "built"}
    caplog.clear()
    return names


async def settled(town: Town, *names: str) -> None:
    """Source and Kustomizations are there and Ready at the head."""
    await town.apply(town.source(), *(town.kustomization(name) for name in names))
    await town.at(town.revision, *names)
    await town.quiet()


async def test_only_what_a_push_concerns_is_built_and_only_what_changed_is_sent(place: Town, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "service")
    place.repository.commit(app("shop") | app("blog") | BASE | overlay("east") | overlay("west"))
    await place.start()
    await settled(place, "shop", "blog", "east", "west")
    assert built(caplog) == {"shop", "blog", "east", "west"}

    place.cluster.asked.clear()
    revision = place.push({"shop/settings.yaml": config_map("shop", "2")})
    seen = await place.at(revision, "shop", "blog", "east", "west")
    assert await place.value("shop") == "2"
    assert built(caplog) == {"shop"}
    assert [path.rpartition("/")[2] for _, path in place.cluster.writes("/configmaps/")] == ["shop"]
    reads = [path for method, path in place.cluster.asked if method == "GET" and "/configmaps/" in path]
    assert [path.rpartition("/")[2] for path in reads] == ["shop"]
    assert all(ready(each)["message"] == f"Applied revision: {revision}" for each in seen)
    await place.quiet()
    writes = place.cluster.writes("/kustomizations/blog")
    assert len(writes) == 1, "one status write moves an unconcerned object"

    revision = place.push({"base/shared.yaml": config_map("shared", "2")})  # a base that two share
    await place.at(revision, "shop", "blog", "east", "west")
    assert built(caplog) == {"east", "west"}
    assert (await place.value("east-shared"), await place.value("west-shared")) == ("2", "2")

    revision = place.push({"shop/new.yaml": config_map("shop-new", "1"), "blog/more.yaml": None})  # listed folders
    shop, blog = await place.at(revision, "shop", "blog")
    assert built(caplog) == {"shop", "blog"}
    assert await place.value("shop-new") == "1"
    assert await place.value("blog-more") is None
    assert f"{place.namespace}_shop-new__ConfigMap" in inventory(shop)
    assert inventory(blog) == {f"{place.namespace}_blog__ConfigMap"}
    assert [event["message"].splitlines()[0] for event in await place.events("blog")][
        -1
    ] == f"ConfigMap/{place.namespace}/blog-more deleted"
    assert len(await place.events("shop")) == 3, "one event each time that something changed"
    assert len(await place.events("blog")) == 2
