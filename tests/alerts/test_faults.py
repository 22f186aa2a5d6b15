"""What can go wrong between an event and its target, and what comes of it in numbers: none lost, few twice, each object in its order.

An hour without the target, connections that hang and storms of 429 pass on a clock that skips what is idle. The kills are real: processes
with a real state folder get SIGKILL at random. `make soak` runs them at full size; the figures are printed (`-s`).
"""

import asyncio
import json
import multiprocessing
import random
import re
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from service.state.letters import Letters
from service.state.store import Store
from service.workers import Workers
from tests.alerts.conftest import World, about, alert, provider
from tests.alerts.hours import Clock, pass_hours
from tests.alerts.lives import live, object_of

HOUR, BEGINS = 3600.0, 60.0
OBJECTS, EVENTS, EVERY = 5, 80, 54.0
Weather = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Target:
    """Takes what it gets, but for `weather` while the clock says so."""

    clock: Clock
    weather: Weather
    taken: list[tuple[float, str, int]] = field(default_factory=list)
    attempts: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        if request.path == "/bad" and BEGINS <= self.clock.seconds < BEGINS + HOUR:
            self.attempts += 1
            return await self.weather(request)
        [number] = {int(each) for each in re.findall(r"number (\d+)", json.dumps(body))}
        self.taken.append((self.clock.seconds, request.path, number))
        return web.Response(text="ok")

    def numbers(self, path: str) -> dict[str, list[int]]:
        """What it has taken, by object."""
        found: dict[str, list[int]] = defaultdict(list)
        for _, where, number in self.taken:
            if where == path:
                found[f"a{number % OBJECTS}"].append(number)
        return found


async def refuses(_: web.Request) -> web.StreamResponse:
    return web.Response(status=503)


async def hangs(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(10 * HOUR)
    return web.Response()


async def storms(_: web.Request) -> web.StreamResponse:
    return web.Response(status=429, headers={"Retry-After": "30"})


async def breaks_off(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


def through_the_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, weather: Weather) -> tuple[Target, dict[str, int]]:
    """EVENTS events, one every EVERY seconds, to a Provider of this type that has an hour of this weather, and to one that is well."""

    async def scene(clock: Clock) -> tuple[Target, dict[str, int]]:
        target = Target(clock, weather)
        app = web.Application()
        app.router.add_post("/{rest:.*}", target.answer)
        world = World(store=Store.open(tmp_path / "state"), workers=Workers(1))
        async with TestServer(app) as server:
            world.put(alert("bad", providerRef={"name": "bad"}), provider("bad", type=kind, address=str(server.make_url("/bad"))))
            world.put(alert("ok", providerRef={"name": "ok"}), provider("ok", type="generic", address=str(server.make_url("/ok"))))
            async with world.running():
                for number in range(EVENTS):
                    await asyncio.sleep(max(number * EVERY - clock.seconds, 0))
                    await world.tell(about(f"a{number % OBJECTS}", f"number {number}", timestamp=clock.now()))
                async with asyncio.timeout(HOUR):
                    while await world.outbox.pending():  # noqa: ASYNC110 - the store tells nobody
                        await asyncio.sleep(5)
            counts = dict(await world.outbox.counts())
            assert counts["rejected"] == counts["unmatched"] == 0
            assert await Letters(world.store).senders()
        await world.evaluator.close()
        await world.store.close()
        return target, counts

    return pass_hours(scene, monkeypatch)


@pytest.mark.parametrize("weather", [hangs, storms, *(pytest.param(each, marks=pytest.mark.soak) for each in (refuses, breaks_off))])
def test_an_hour_of_bad_weather_loses_nothing_and_delays_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weather: Weather
) -> None:
    """To a machine: every event, in the order of each object, once. 2 hours pass in some seconds."""
    target, _ = through_the_hour(tmp_path, monkeypatch, "generic", weather)
    for path in ("/bad", "/ok"):
        got = target.numbers(path)
        assert {name: list(range(int(name[1:]), EVENTS, OBJECTS)) for name in got} == dict(got)
        assert len(got) == OBJECTS
    late = [at - number * EVERY for at, path, number in target.taken if path == "/ok"]
    assert max(late) < 2
    assert 50 <= target.attempts <= 150  # about one a minute, or one for each Retry-After
    print(
        f"{weather.__name__}: {EVENTS} events, lost 0.0 %, {target.attempts} attempts in the hour, others delayed {max(late):.2f} s at most"
    )


def test_after_an_hour_people_read_the_last_word_and_how_many_it_stands_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, counts = through_the_hour(tmp_path, monkeypatch, "mattermost", refuses)
    got = target.numbers("/bad")
    for name, numbers in got.items():
        assert numbers == sorted(set(numbers))
        assert numbers[-1] == EVENTS - OBJECTS + int(name[1:])
    taken = sum(map(len, got.values()))
    assert taken + counts["folded"] == EVENTS
    assert counts["folded"] > EVENTS / 2


@dataclass(frozen=True)
class Tally:
    """What came of the kills."""

    lost: int
    doubles: int
    keys: int
    out_of_order: int


async def killed(tmp_path: Path, state_url: str = "", *, kind: str, total: int, kills: int, seconds: float) -> Tally:
    """Kill a sender this often, at random times up to `seconds` after its birth, then let it end; count what the target got."""
    got: list[tuple[int, str]] = []

    async def take(request: web.Request) -> web.StreamResponse:
        number = int(re.findall(rb"number (\d+)", await request.read())[0])
        got.append((number, request.headers.get("Idempotency-Key", "")))
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_post("/{rest:.*}", take)
    births = multiprocessing.get_context("forkserver")
    births.set_forkserver_preload(["tests.alerts.lives"])
    dice = random.Random(7)
    async with TestServer(app) as server:
        arguments = (str(tmp_path / "state"), str(server.make_url("/hook")), kind, total, state_url)
        for left in range(kills, -1, -1):
            process = births.Process(target=live, args=arguments)
            process.start()
            if left:
                await asyncio.sleep(dice.uniform(0.05, seconds))
                process.kill()
            await asyncio.to_thread(process.join, 120)
            assert process.exitcode == (-9 if left else 0)
    seen = Counter(number for number, _ in got)
    by_object: dict[int, list[int]] = defaultdict(list)
    for number, _ in got:
        by_object[object_of(number)].append(number)
    disorder = sum(numbers != sorted(numbers) for numbers in by_object.values())
    lost, doubles = total - len(seen), sum(seen.values()) - len(seen)
    tally = Tally(lost=lost, doubles=doubles, keys=len({key for _, key in got}), out_of_order=disorder)
    each = doubles / max(kills, 1)
    print(f"\n{kind}: {total} events, {kills} kills: lost {lost / total:.2%}, twice {doubles / total:.2%} ({each:.2f} a kill)")
    return tally


@pytest.mark.fuzz
@pytest.mark.databases
async def test_killed_20_times_it_loses_none_of_1000_events(tmp_path: Path, state_url: str) -> None:
    """Some seconds: 20 processes are born and killed."""
    tally = await killed(tmp_path, state_url, kind="generic", total=1000, kills=20, seconds=0.5)
    assert (tally.lost, tally.out_of_order, tally.keys) == (0, 0, 1000)
    assert tally.doubles <= 20 * 8  # no more than were under way


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["generic", "mattermost"])
async def test_killed_200_times_it_loses_none_of_10000_events(tmp_path: Path, kind: str) -> None:
    tally = await killed(tmp_path, kind=kind, total=10_000, kills=200, seconds=0.8)
    assert (tally.lost, tally.out_of_order) == (0, 0)
    assert tally.doubles < 100


@pytest.mark.soak
def test_a_day_without_the_target_ends_in_dead_letters_that_can_be_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(clock: Clock) -> None:
        app = web.Application()
        got: list[bytes] = []

        async def answer(request: web.Request) -> web.StreamResponse:
            if clock.seconds < 26 * HOUR:
                return web.Response(status=503)
            got.append(await request.read())
            return web.Response()

        app.router.add_post("/", answer)
        world = World(store=Store.open(tmp_path / "state"), workers=Workers(1))
        async with TestServer(app) as server:
            world.put(alert(), provider(type="generic", address=str(server.make_url("/"))))
            async with world.running():
                await world.tell(*(about(f"a{number}", f"number {number}") for number in range(20)))
                await asyncio.sleep(timedelta(hours=25).total_seconds())
                assert (await world.outbox.counts())["rejected"] == 20
                await asyncio.sleep(timedelta(hours=2).total_seconds())
                assert await Letters(world.store).resend_dead() == 20
                await asyncio.sleep(timedelta(minutes=2).total_seconds())
                assert (await world.outbox.counts())["sent"] == 20
        assert len(got) == 20
        await world.evaluator.close()
        await world.store.close()

    pass_hours(scene, monkeypatch)
