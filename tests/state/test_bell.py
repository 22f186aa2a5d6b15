"""The bell: replicas hear each other, not themselves, also after the connection was lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from service.state import bell as bell_module
from service.state.bell import Bell
from service.state.store import Store
from tests.peers.postgres import Postgres
from tests.triggers.scene import until


@asynccontextmanager
async def replica(folder: Path, url: str) -> AsyncIterator[tuple[Bell, list[str]]]:
    """A bell that listens, and what it has heard since."""
    store, heard = Store.open(folder, url), list[str]()
    assert store.bell is not None
    store.bell.on_ring = heard.append
    task = asyncio.create_task(store.bell.run())
    await until(lambda: heard == [""])
    heard.clear()
    yield store.bell, heard
    task.cancel()
    await asyncio.wait([task])
    await store.close()


async def test_others_hear_what_is_rung_and_equal_texts_once(tmp_path: Path, postgres: Postgres) -> None:
    with postgres.fresh() as url:
        async with replica(tmp_path / "one", url) as (one, at_one), replica(tmp_path / "two", url) as (two, at_two):
            for text in ("events", "delivery 1", "events"):
                one.ring(text)
            await until(lambda: at_two == ["events", "delivery 1"])
            two.ring("delivery 2")
            await until(lambda: at_one == ["delivery 2"])
            assert at_two == ["events", "delivery 1"]


async def test_a_lost_connection_is_made_again_and_all_is_looked_at(tmp_path: Path, postgres: Postgres) -> None:
    with postgres.fresh() as url:
        async with replica(tmp_path / "one", url) as (one, _), replica(tmp_path / "two", url) as (_, at_two):
            with psycopg.connect(url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sluice'")
            await until(lambda: at_two == [""])
            one.ring("events")
            await until(lambda: "events" in at_two)


async def test_all_is_looked_at_now_and_then(tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bell_module, "POLL", timedelta(seconds=0.1))
    with postgres.fresh() as url:
        async with replica(tmp_path, url) as (_, heard):
            await until(lambda: heard[:3] == ["", "", ""])


async def test_all_is_looked_at_also_where_somebody_always_rings(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bell_module, "POLL", timedelta(seconds=0.1))
    with postgres.fresh() as url:
        async with replica(tmp_path / "one", url) as (one, _), replica(tmp_path / "two", url) as (_, heard):

            async def always() -> None:
                while True:
                    one.ring("events")
                    await asyncio.sleep(0)

            ringing = asyncio.create_task(always())
            await until(lambda: heard.count("") >= 2)
            ringing.cancel()
            assert "events" in heard
