"""Where a delivery comes from, and from where it may: over HTTP, with proxies that are trusted and proxies that are not."""

from typing import Any

import pytest

from service.cluster.client import Cluster
from service.networks import networks
from service.settings import HookSettings
from service.state.store import Store
from service.web.callers import Callers
from tests.triggers.kube import Kube
from tests.triggers.scene import key, push_body, receiver, signed
from tests.web.test_hooks import serving

LOOPBACK = networks("127.0.0.0/8")


class Asked:
    """As much of a request as is looked at."""

    def __init__(self, remote: str, *forwarded: str) -> None:
        self.remote = remote
        self.headers = self
        self._forwarded = forwarded

    def getall(self, _name: str, default: Any) -> Any:
        return self._forwarded or default


@pytest.mark.parametrize(("remote", "forwarded", "found"), [
    ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
    ("10.0.0.1", ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
    ("10.0.0.1", ["198.51.100.1", "203.0.113.9, 10.0.0.2"], "203.0.113.9"),
    ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
    ("10.0.0.1", [], "10.0.0.1"),
    ("10.0.0.1", ["203.0.113.9, unknown"], "10.0.0.1"),
    ("10.0.0.1", ["203.0.113.9, unknown, 10.0.0.2"], "10.0.0.2"),
    ("203.0.113.5", ["192.0.2.1"], "203.0.113.5"),
    ("", ["192.0.2.1"], ""),
])  # fmt: skip
def test_the_last_address_that_no_proxy_of_ours_has_counts(remote: str, forwarded: list[str], found: str) -> None:
    assert Callers(trusted=networks("10.0.0.0/8")).of(Asked(remote, *forwarded)) == found  # type: ignore[arg-type]


def test_without_trusted_proxies_the_header_says_nothing() -> None:
    assert Callers().of(Asked("10.0.0.1", "203.0.113.9")) == "10.0.0.1"  # type: ignore[arg-type]


async def test_deliveries_from_elsewhere_are_refused_for_all(store: Store, kube: Kube, cluster: Cluster) -> None:
    settings = HookSettings(allow_from=networks("192.0.2.0/24"), trusted_proxies=LOOPBACK)
    async with serving(store, kube, cluster, settings) as scene:
        body = push_body()
        status, words = await scene.post(body)
        assert (status, words.partition(";")[0]) == (403, "refused")
        assert (await scene.post(body, signed(body) | {"X-Forwarded-For": "192.0.2.7"}))[0] == 200
        assert (await scene.post(body, signed(body) | {"X-Forwarded-For": "192.0.2.7, 203.0.113.9"}))[0] == 403
        assert len(scene.taken) == 1


async def test_a_receiver_names_where_its_deliveries_come_from(store: Store, kube: Kube, cluster: Cluster) -> None:
    settings = HookSettings(trusted_proxies=LOOPBACK)
    async with serving(store, kube, cluster, settings) as scene:
        scene.cache["apps", "web"] = allowing("192.0.2.0/24, 2001:db8::/32")
        await scene.index.load(key("Receiver", "web"))
        body = push_body()
        assert (await scene.post(body))[0] == 403
        entry = await scene.last()
        assert (entry.verdict, entry.receiver) == ("NotFromThere", key("Receiver", "web"))
        assert "127.0.0.1, which notification.sluice.dev/allow-from does not name" in entry.detail
        assert (await scene.post(body, signed(body) | {"X-Forwarded-For": "2001:db8::1"}))[0] == 200


@pytest.mark.parametrize(("told", "said"), [("10.0.0.0/40", "'10.0.0.0/40' is no network"), (" ", "names no network")])
async def test_a_bad_list_takes_nothing_and_says_so(store: Store, kube: Kube, cluster: Cluster, told: str, said: str) -> None:
    async with serving(store, kube, cluster) as scene:
        scene.cache["apps", "web"] = allowing(told)
        entry = await scene.index.load(key("Receiver", "web"))
        assert entry is not None
        assert said in entry.problem
        assert (await scene.post(push_body()))[0] == 503


def allowing(told: str) -> dict[str, Any]:
    made = receiver()
    made["metadata"]["annotations"] = {"notification.sluice.dev/allow-from": told}
    return made
