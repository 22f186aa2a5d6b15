"""Messages give way to pushes: while runs are under way the alert path waits for their end, but never for long.

In: events that are set while nothing runs. Out: a wait of LONGEST at most, and after so long none for as long again: on a service that is
never idle messages still leave at half their pace. What shares one loop with a push is felt by it at each of its steps.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

LONGEST = timedelta(milliseconds=60)


class Courtesy:
    """One for all who wait, so that their waits do not add up."""

    def __init__(self, idle: Sequence[asyncio.Event] = ()) -> None:
        self._idle = idle
        self._until = 0.0

    async def give_way(self) -> None:
        """Return when nothing runs, or it has been long enough."""
        busy = [each for each in self._idle if not each.is_set()]
        if not busy:
            return
        now, longest = asyncio.get_running_loop().time(), LONGEST.total_seconds()
        if now >= self._until + longest:
            self._until = now + longest
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._until):
                for each in busy:
                    await each.wait()
