"""How many requests one address may make: a bucket for each that fills at the rate and holds ten seconds' worth.

In: an address and the time. Out: whether it may, and when it may again. Of the addresses the last THEY are remembered; one that is
forgotten starts with a full bucket. https://en.wikipedia.org/wiki/Token_bucket
"""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta

SECONDS_HELD = 10
THEY = 1024


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class PostingRates:
    """`per_second` for each address."""

    def __init__(self, per_second: float) -> None:
        self._rate = per_second
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait_of(self, address: str, now: float) -> timedelta:
        """Take one; zero where it may go on, else how long it should wait. `now` are seconds of any steady clock."""
        most = self._rate * SECONDS_HELD
        bucket = self._buckets.get(address)
        if bucket is None:
            bucket = self._buckets[address] = _Bucket(most, now)
            if len(self._buckets) > THEY:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(address)
        bucket.left = min(most, bucket.left + (now - bucket.at) * self._rate)
        bucket.at = now
        if bucket.left < 1 - 1e-6:
            return max(timedelta(seconds=(1 - bucket.left) / self._rate), timedelta(milliseconds=1))
        bucket.left -= 1
        return timedelta(0)
