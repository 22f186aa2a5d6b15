"""Events on a real broker of Kafka: in the order of each object, with every kind of credentials, and what goes wrong by its words."""

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from providers import PROVIDERS
from providers.contract import Busy, Misconfigured, Secret, Target
from service.alerts.route import Route, route_of
from service.alerts.sending import open_wire, send
from service.kinds.codec import decode
from service.kinds.notification import Provider
from service.outbound import Outbound, Policy
from service.state import moments
from tests.alerts.conftest import World, about, alert, provider
from tests.peers.authority import Authority
from tests.peers.kafka import PASSWORD, USER, Kafka, no_java
from tests.providers.test_kafka import EVENT

pytestmark = pytest.mark.real
TIMEOUT = timedelta(seconds=10)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def kafka(peers: Any, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    if why := no_java():
        pytest.skip(why)
    peers.need("kafka")
    with Kafka(tmp_path_factory.mktemp("kafka"), authority) as broker:
        asyncio.run(broker.make("flux", "order", "again"))
        yield broker


async def tell(route: Route) -> None:
    async with open_wire(Outbound(Policy(loopback=True))) as wire:
        await send(wire, PROVIDERS["kafka"], EVENT, route=route, timeout=TIMEOUT)


def at(kafka: Kafka, listener: str, channel: str = "flux", **words: Any) -> Route:
    return Route(target=Target(address=Secret(kafka.address(listener)), channel=channel, **words))


async def test_each_object_is_told_in_order_under_its_key(world: World, kafka: Kafka) -> None:
    world.put(alert(), provider(type="kafka", address=kafka.address("clear"), channel="order"))
    async with world.running():
        await world.tell(*(about(name, f"{number}") for number in range(8) for name in ("a", "b", "c")))
        records = await kafka.read("order", 24)
        await world.settled(sent=24)
    for name in ("a", "b", "c"):
        own = [each for each in records if each.key == f"Kustomization/apps/{name}".encode()]
        assert len({each.partition for each in own}) == 1
        assert [json.loads(each.value)["message"] for each in own] == list("01234567")
        assert len({dict(each.headers)["idempotency-key"] for each in own}) == 8


@pytest.mark.parametrize("mechanism", ["", "SCRAM-SHA-512"])
async def test_credentials_are_asked_for(kafka: Kafka, mechanism: str) -> None:
    keys = {"mechanism": Secret(mechanism)} if mechanism else {}
    await tell(at(kafka, "words", username=USER, password=Secret(PASSWORD), keys=keys))
    with pytest.raises(Misconfigured, match="refuses the credentials"):
        await tell(at(kafka, "words", username=USER, password=Secret("wrong"), keys=keys))


async def test_mechanism_that_the_broker_lacks_is_told(kafka: Kafka) -> None:
    with pytest.raises(Misconfigured, match="does not take this mechanism"):
        await tell(at(kafka, "words", username=USER, password=Secret(PASSWORD), keys={"mechanism": Secret("SCRAM-SHA-256")}))


async def test_own_authority_and_client_certificate_are_used(world: World, kafka: Kafka, authority: Authority) -> None:
    certificate, key = authority.pair()
    world.secrets["apps", "tls"] = {"ca.crt": authority.pem, "tls.crt": certificate, "tls.key": key}
    spec = {"address": kafka.address("tls"), "channel": "flux", "certSecretRef": {"name": "tls"}}
    of = decode(Provider, provider(type="kafka", **spec))
    await tell(await route_of(of, PROVIDERS["kafka"], world.read_secret, now=moments.now()))
    world.secrets["apps", "tls"] = {"ca.crt": Authority().pem}
    with pytest.raises(Busy, match="certificates of the brokers"):
        await tell(await route_of(of, PROVIDERS["kafka"], world.read_secret, now=moments.now()))


async def test_many_providers_share_a_process(kafka: Kafka) -> None:
    """More than there are producers at a time."""
    async with open_wire(Outbound(Policy(loopback=True))) as wire:
        for count in range(1, 20):
            address = "kafka://" + ",".join([f"localhost:{kafka.ports['clear']}"] * count)
            route = Route(target=Target(address=Secret(address), channel="flux"))
            await send(wire, PROVIDERS["kafka"], EVENT, route=route, timeout=TIMEOUT)


async def test_topic_that_is_not_there_is_told(kafka: Kafka) -> None:
    with pytest.raises(Misconfigured, match="no topic of this name"):
        await tell(at(kafka, "clear", channel="nowhere"))


async def test_brokers_that_the_cluster_names_are_judged_too(kafka: Kafka) -> None:
    with pytest.raises(Misconfigured, match=r"refused: 169\.254\.169\.254 is link-local"):
        await tell(at(kafka, "away"))


async def test_producer_outlives_a_broker_that_starts_again(kafka: Kafka) -> None:
    route = at(kafka, "clear", channel="again")
    async with open_wire(Outbound(Policy(loopback=True))) as wire:
        await send(wire, PROVIDERS["kafka"], EVENT, route=route, timeout=TIMEOUT)
        kafka.stop()
        with pytest.raises(Busy):
            await send(wire, PROVIDERS["kafka"], EVENT, route=route, timeout=timedelta(seconds=1))
        await asyncio.to_thread(kafka.start)
        await send(wire, PROVIDERS["kafka"], EVENT, route=route, timeout=timedelta(seconds=20))
    assert len(await kafka.read("again", 2)) == 2
