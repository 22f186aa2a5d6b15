"""A bucket for each address."""

from datetime import timedelta

from service.web.posting import SECONDS_HELD, THEY, PostingRates


def test_rate_is_kept_over_time_and_each_address_has_its_own() -> None:
    rates = PostingRates(2)
    taken = sum(not rates.wait_of("a", second / 10) for second in range(1000))
    assert 2 * SECONDS_HELD + 2 * 100 - 1 <= taken <= 2 * SECONDS_HELD + 2 * 100
    assert rates.wait_of("b", 100) == timedelta(0)
    rates.wait_of("a", 100)
    assert timedelta(0) < rates.wait_of("a", 100) <= timedelta(seconds=0.5)


def test_as_many_addresses_as_are_remembered() -> None:
    rates = PostingRates(1)
    for number in range(3 * THEY):
        assert not rates.wait_of(str(number), 0)
    assert len(rates._buckets) == THEY
