"""Messages give way to pushes: while runs are under way the alert path waits for their end, but never for long.

In: events that are set while nothing runs. Out: a wait of LONGEST at most, and after so long none for as long again: on a service that is
never idle messages still leave at half their pace. What shares one loop with a push is felt by it at each of its steps. Few messages, such
as a push's own, wait for nobody.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

LONGEST = timedelta(milliseconds=60)
MANY = 40
"""Looks within a second, of which a message takes two or three."""


class Courtesy:
    """One for all who wait, so that their waits do not add up."""

    def __init__(self, idle: Sequence[asyncio.Event] = (), *, many: int = MANY) -> None:
        self._idle = idle
        self._looks: deque[float] = deque(maxlen=many)
        self._until = 0.0

    async def give_way(self) -> None:
        """Return when nothing runs, or it has been long enough."""
        now, longest = asyncio.get_running_loop().time(), LONGEST.total_seconds()
        self._looks.append(now)
        busy = [each for each in self._idle if not each.is_set()]
        if not busy or len(self._looks) < (self._looks.maxlen or 0) or now - self._looks[0] > 1:
            return
        if now >= self._until + longest:
            self._until = now + longest
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._until):
                for each in busy:
                    await each.wait()
