"""How often a caller may be refused, or call at all, before it is told to wait.

In: who calls, and which Receiver. Out: TooMany with the time to wait. Whoever is refused too often waits for that one Receiver (or for
paths that no Receiver has) and for nothing else: behind a proxy all senders may have one address. Each limit is a bucket of one minute's
worth that fills evenly; memory is bounded, the buckets that nobody used for longest go first. https://www.rfc-editor.org/rfc/rfc6585#section-4
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from datetime import timedelta

from service.kinds.meta import ObjectKey
from service.networks import neighbourhood
from service.settings import HookSettings
from service.triggers.refusals import BadRequest, NotFromThere, Refused, TooLarge, TooMany, TooSlow, UnknownPath

MOST_BUCKETS = 10_000
COUNTED = (BadRequest, NotFromThere, TooLarge, TooSlow, UnknownPath)  # what is the caller's doing; 503s are ours


class Buckets:
    """So many a minute for each key."""

    def __init__(self, per_minute: int, now: Callable[[], float]) -> None:
        self.per_minute = per_minute
        self._now = now
        self._left: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._left)

    def wait(self, key: Hashable) -> float:
        """Seconds until the next is allowed, 0 where it is now. Costs nothing for whoever is not known."""
        if not self.per_minute or key not in self._left:
            return 0.0
        missing = 1.0 - self._level(key)
        return max(0.0, missing * 60.0 / self.per_minute)

    def take(self, key: Hashable) -> None:
        """Count one."""
        if self.per_minute:
            self._left[key] = (max(0.0, self._level(key) - 1.0), self._now())
            self._left.move_to_end(key)
            if len(self._left) > MOST_BUCKETS:
                self._left.popitem(last=False)

    def _level(self, key: Hashable) -> float:
        left, at = self._left.get(key, (float(self.per_minute), self._now()))
        return min(float(self.per_minute), left + (self._now() - at) * self.per_minute / 60.0)


class Rates:
    """By default refusals alone count; with `all` each delivery does."""

    def __init__(self, settings: HookSettings, now: Callable[[], float] = time.monotonic) -> None:
        self._by_source = Buckets(settings.rate_per_source, now)
        self._by_receiver = Buckets(settings.rate_per_receiver, now)
        self._counts_all = settings.rate_counts == "all"

    def check(self, source: str, receiver: ObjectKey | None) -> None:
        """Before anything is read of a body. Raises TooMany."""
        waits = {
            f"{source} has": self._by_source.wait((neighbourhood(source), receiver)),
            f"{receiver} has": self._by_receiver.wait(receiver) if receiver is not None else 0.0,
        }
        who, seconds = max(waits.items(), key=lambda each: each[1])
        if seconds > 0:
            what = "deliveries" if self._counts_all else "refused deliveries"
            raise TooMany(f"{who} had too many {what} within a minute", timedelta(seconds=max(1.0, seconds)))

    def count(self, source: str, receiver: ObjectKey | None, refusal: Refused | None) -> None:
        """After an answer: `refusal` is None for what was taken."""
        if isinstance(refusal, TooMany) or not (self._counts_all or isinstance(refusal, COUNTED)):
            return
        self._by_source.take((neighbourhood(source), receiver))
        if receiver is not None:
            self._by_receiver.take(receiver)
