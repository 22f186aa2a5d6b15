"""Two services on one cluster: the Lease decides who writes, and work goes on where the other left off, both ways."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

from service.cluster.lease import Lease, Terms
from service.compose.leadership import LEASES, Leadership, leases_for
from tests.kustomizations.test_flow import app
from tests.kustomizations.town import Town, config_map

TERMS = Terms(duration=timedelta(seconds=2), renew_deadline=timedelta(seconds=1.5), retry=timedelta(seconds=0.1))


@asynccontextmanager
async def leading(town: Town, identity: str) -> AsyncIterator[None]:
    """The Leases of a started service, with short terms; given back at the end."""
    house, cluster = town.house, town.cluster
    leases = {name: Lease(cluster, namespace=town.namespace, name=name, identity=identity, terms=TERMS) for name in LEASES}
    rooms = [Leadership(lease, house.gates[name], house.ground.metrics, partial(house.held, name)) for name, lease in leases.items()]
    async with asyncio.TaskGroup() as tasks:
        for room in rooms:
            tasks.create_task(room.run())
        try:
            yield
        finally:
            for room in rooms:
                room.stop()


def test_each_kind_needs_the_lease_of_its_controller() -> None:
    assert leases_for(frozenset({"Receiver", "Alert", "Provider"})) == ("notification-controller-leader-election",)
    assert set(leases_for(frozenset({"GitRepository", "Kustomization"}))) == {
        "source-controller-leader-election",
        "kustomize-controller-leader-election",
    }


async def test_the_second_writes_nothing_while_the_first_holds_the_leases(place: Town) -> None:
    first, second = place, place.beside()
    first.repository.commit(app("shop"))
    await first.start(leases=True)
    await second.start(state="second", leases=True)
    async with leading(first, "first"):
        await first.apply(first.source(), first.kustomization("shop"))
        await first.at(first.revision, "shop")
        async with leading(second, "second"):
            await first.at(first.push({"shop/settings.yaml": config_map("shop", "2")}), "shop")
            second.tell()  # its hooks are taken, and wait
            await asyncio.sleep(0.3)
            assert [path for _, path in second.cluster.writes() if "/leases" not in path] == []
    await second.kill()


async def test_work_goes_on_both_ways(hamlet: Town) -> None:
    first, second = hamlet, hamlet.beside()
    first.repository.commit(app("shop"))
    await first.start(leases=True)
    async with leading(first, "first"):
        await first.apply(first.source(), first.kustomization("shop"))
        await first.at(first.revision, "shop")
        await first.quiet()
    original = dict(first.repository.files)
    await second.start(state="second", leases=True)
    async with leading(second, "second"):
        await second.at(second.push({"shop/settings.yaml": config_map("shop", "2")}), "shop")
        assert await second.value("shop") == "2"
        await second.quiet()
        assert [path.rpartition("/")[2] for _, path in first.cluster.writes("/configmaps/")].count("shop") == 1, "at the start"
    first.repository.replace(original)  # what the first one knew last: it must not take it for live
    async with leading(first, "first"):
        first.tell()
        await first.at(first.revision, "shop")
        assert await first.value("shop") == "1"
    await second.kill()
