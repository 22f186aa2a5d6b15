"""Rooms run side by side, stop in their order, and end the service when one of them ends by itself."""

import asyncio
import logging
from datetime import timedelta

import pytest

from service.compose.running import Room, Until, run_rooms

GRACE = timedelta(milliseconds=200)


class Plain:
    """A room that writes down when it is stopped, and takes `drain` seconds to end."""

    def __init__(self, name: str, log: list[str], *, drain: float = 0) -> None:
        self._name, self._log, self._drain = name, log, drain
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        await self._stopping.wait()
        await asyncio.sleep(self._drain)
        self._log.append(f"{self._name} ended")

    def stop(self) -> None:
        self._log.append(f"{self._name} stopped")
        self._stopping.set()


async def started(*rooms: Room) -> tuple[asyncio.Task[int], asyncio.Event]:
    stop = asyncio.Event()
    task = asyncio.create_task(run_rooms(rooms, grace=GRACE, stop=stop))
    await asyncio.sleep(0.01)
    return task, stop


async def test_rooms_end_one_after_another_in_the_order_of_the_flow() -> None:
    log: list[str] = []
    task, stop = await started(*(Room(name=name, running=Plain(name, log, drain=0.01)) for name in ("hooks", "queue", "outbox")))
    stop.set()
    assert await task == 0
    assert log == [f"{name} {what}" for name in ("hooks", "queue", "outbox") for what in ("stopped", "ended")]


async def test_a_room_that_does_not_drain_is_left_after_the_grace() -> None:
    log: list[str] = []
    task, stop = await started(Room(name="stuck", running=Plain("stuck", log, drain=60)), Room(name="last", running=Plain("last", log)))
    stop.set()
    async with asyncio.timeout(1):
        assert await task == 0
    assert log == ["stuck stopped"]


async def test_a_room_that_ends_by_itself_ends_the_service(caplog: pytest.LogCaptureFixture) -> None:
    async def ends() -> None:
        await asyncio.sleep(0.01)

    caplog.set_level(logging.CRITICAL, "service")
    task, _ = await started(Room(name="plain", running=Plain("plain", [])), Room(name="short", running=Until(ends)))
    async with asyncio.timeout(1):
        assert await task == 1


async def test_a_room_that_fails_ends_the_service_and_is_named(caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        raise ZeroDivisionError

    task, _ = await started(Room(name="plain", running=Plain("plain", [])), Room(name="broken", running=Until(fails)))
    async with asyncio.timeout(1):
        assert await task == 1
    assert any(record.exc_info and record.exc_info[0] is ZeroDivisionError for record in caplog.records)
