"""How long after a failure the next attempt follows: soon at first, then ever later, at most `spec.retryInterval`, with jitter.

The same object at the same generation and revision counts on; anything new begins anew. In memory: a restart begins anew, too.
"""

import random
from datetime import timedelta

from service.kinds.meta import ObjectKey

FIRST = timedelta(seconds=5)
JITTER = 0.2


class Retries:
    """The failures in a row of each object."""

    def __init__(self) -> None:
        self._failures: dict[ObjectKey, tuple[str, int]] = {}

    def failed(self, key: ObjectKey, *, occasion: str, most: timedelta) -> timedelta | None:
        """One more failure of an attempt that `occasion` names (generation and revision): when to try again. None: never by time."""
        if not most:
            return None
        before, times = self._failures.get(key, ("", 0))
        times = times + 1 if before == occasion else 1
        self._failures[key] = (occasion, times)
        wait: timedelta = min(most, FIRST * int(2 ** min(times - 1, 20)))
        return wait * random.uniform(1 - JITTER, 1)  # noqa: S311 - jitter

    def times(self, key: ObjectKey) -> int:
        """How often it has failed in a row."""
        return self._failures.get(key, ("", 0))[1]

    def done(self, key: ObjectKey) -> None:
        """It went well, or is gone."""
        self._failures.pop(key, None)
