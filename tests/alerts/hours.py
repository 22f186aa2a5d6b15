"""An event loop on which hours pass in moments: where nothing happens, its clock goes on to the next thing that is due.

In: a coroutine function of a clock. Out: its result. Sockets and threads work as ever: the clock is not moved while the store reads or
writes, or a thread works, and not before IDLE of real time without anything to do.
"""

import asyncio
import selectors
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from service.state import moments
from service.state.database import Database

T = TypeVar("T")
IDLE = 0.01
START = datetime(2026, 8, 7, 12, 0, tzinfo=UTC)


class _Selector(selectors.DefaultSelector):
    """Waits for IDLE at most; then `skipped` is what would have been waited for longer."""

    skipped = 0.0
    busy = 0

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(timeout if timeout is not None and timeout < IDLE else IDLE)
        if not found and not self.busy and timeout is not None and timeout > IDLE:
            self.skipped += timeout - IDLE
        return found


class HoursLoop(asyncio.SelectorEventLoop):
    """`time` is the real one and what was skipped."""

    def __init__(self) -> None:
        self._passing = _Selector()
        super().__init__(self._passing)

    def time(self) -> float:
        return time.monotonic() + self._passing.skipped

    def while_busy(self, work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """The same work, during which the clock is not moved."""

        async def working(*arguments: Any) -> Any:
            self._passing.busy += 1
            try:
                return await work(*arguments)
            finally:
                self._passing.busy -= 1

        return working


class Clock:
    """Seconds since the start, and the time that our code sees."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._began = loop, loop.time()

    @property
    def seconds(self) -> float:
        return self._loop.time() - self._began

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)


def pass_hours(scene: Callable[[Clock], Awaitable[T]], monkeypatch: pytest.MonkeyPatch) -> T:
    """Run the scene to its end on a loop of its own."""

    async def main() -> T:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, HoursLoop)
        for name in ("read", "write"):
            monkeypatch.setattr(Database, name, loop.while_busy(getattr(Database, name)))
        clock = Clock(loop)
        monkeypatch.setattr(moments, "now", clock.now)
        return await scene(clock)

    with asyncio.Runner(loop_factory=HoursLoop) as runner:
        return runner.run(main())
