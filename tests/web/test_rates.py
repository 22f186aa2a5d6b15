"""How often one may be refused: in virtual time, then over HTTP."""

from datetime import timedelta

import pytest

from service.cluster.client import Cluster
from service.settings import HookSettings
from service.state.store import Store
from service.triggers.index import webhook_path
from service.triggers.refusals import BadRequest, NotStored, Overloaded, TooMany, Unavailable, UnknownPath
from service.web import rates
from service.web.rates import Rates
from tests.triggers.kube import Kube
from tests.triggers.scene import key, push_body, receiver, secret, signed
from tests.web.test_hooks import PATH, UNKNOWN, serving

WEB, OTHER = key("Receiver", "web"), key("Receiver", "other")
BAD = BadRequest("no")


class Clock:
    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def made(source: int = 6, receiver: int = 12, **settings: str) -> tuple[Rates, Clock]:
    clock = Clock()
    return Rates(HookSettings(rate_per_source=source, rate_per_receiver=receiver, **settings), clock), clock  # type: ignore[arg-type]


def is_free(rates: Rates, source: str, receiver: object = WEB) -> bool:
    try:
        rates.check(source, receiver)  # type: ignore[arg-type]
    except TooMany as error:
        return (error.retry_after or timedelta()) < timedelta(seconds=1)
    return True


def test_an_address_that_is_refused_too_often_waits_for_that_receiver_alone() -> None:
    rates, clock = made()
    for _ in range(6):
        assert is_free(rates, "192.0.2.1")
        rates.count("192.0.2.1", WEB, BAD)
    assert not is_free(rates, "192.0.2.1")
    assert is_free(rates, "192.0.2.1", OTHER), "behind one proxy others deliver"
    assert is_free(rates, "192.0.2.2")
    clock.seconds += 9
    assert not is_free(rates, "192.0.2.1")
    clock.seconds += 1.1
    assert is_free(rates, "192.0.2.1"), "six a minute are one in ten seconds"
    clock.seconds += 3600
    for _ in range(6):
        assert is_free(rates, "192.0.2.1")
        rates.count("192.0.2.1", WEB, BAD)
    assert not is_free(rates, "192.0.2.1"), "a quiet hour earns a minute's worth, no more"


def test_a_receiver_that_many_addresses_attack_answers_429_and_others_do_not() -> None:
    rates, _ = made()
    for number in range(12):
        rates.count(f"192.0.2.{number}", WEB, BAD)
    assert not is_free(rates, "198.51.100.1")
    assert is_free(rates, "198.51.100.1", OTHER)
    assert is_free(rates, "198.51.100.1", None)


@pytest.mark.parametrize("refusal", [None, NotStored("x"), Unavailable("x"), Overloaded("x"), TooMany("x", timedelta(seconds=1))])
def test_what_is_taken_or_our_own_doing_does_not_count(refusal: Exception | None) -> None:
    rates, _ = made(1, 1)
    for _ in range(10):
        rates.count("192.0.2.1", WEB, refusal)  # type: ignore[arg-type]
    assert is_free(rates, "192.0.2.1")


def test_on_request_everything_counts() -> None:
    rates, _ = made(2, 0, rate_counts="all")
    for _ in range(2):
        rates.count("192.0.2.1", WEB, None)
    assert not is_free(rates, "192.0.2.1")


def test_zero_is_no_limit() -> None:
    rates, _ = made(0, 0)
    for _ in range(1000):
        rates.count("192.0.2.1", WEB, BAD)
    assert is_free(rates, "192.0.2.1")
    assert len(rates._by_source) == len(rates._by_receiver) == 0


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "MOST_BUCKETS", 100)
    limits, _ = made()
    for number in range(1000):
        limits.count(f"10.0.{number // 250}.{number % 250}", None, UnknownPath("x"))
    assert len(limits._by_source) == 100


async def test_guessing_ends_with_429_and_the_next_receiver_is_served(store: Store, kube: Kube, cluster: Cluster) -> None:
    kube.objects["/api/v1/namespaces/apps/secrets/other"] = secret(b"other-token")
    async with serving(store, kube, cluster, HookSettings(rate_per_source=5)) as scene:
        scene.cache["apps", "other"] = receiver("other", secretRef={"name": "other"})
        await scene.index.load(OTHER)
        body = push_body()
        for _ in range(5):
            assert (await scene.post(body, signed(body, token=b"guess")))[0] == 400
        async with scene.session.post(f"http://{scene.port.address}{PATH}", data=body, headers=signed(body)) as answer:
            assert answer.status == 429
            assert 1 <= int(answer.headers["Retry-After"]) <= 12
        assert scene.hooks.in_flight.held == 0
        assert (await scene.post(body, signed(body, token=b"other-token"), webhook_path(b"other-token", "other", "apps")))[0] == 200
        for _ in range(5):
            assert (await scene.post(body, path=UNKNOWN))[0] == 404
        assert (await scene.post(body, path=UNKNOWN))[0] == 429
        assert scene.hooks.seen.by_receiver[WEB].counts == {"refused": 6}


async def test_good_senders_are_not_limited(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster, HookSettings(rate_per_source=5, rate_per_receiver=5)) as scene:
        for number in range(20):
            body = push_body(f"{number:040}")
            assert (await scene.post(body))[0] == 200
