"""SIGKILL at exact steps of a run, the service as a process: the inventory knows what was made, and what was told is told once.

Each test starts the service twice, so it takes some seconds. (The way of a whole push over kills is in tests/end_to_end/test_crash.py.)
"""

import asyncio
from pathlib import Path

import pytest

from tests.compose.test_fleets import asked, told_by
from tests.end_to_end.sluice_process import Sluice
from tests.kustomizations.test_flow import app
from tests.kustomizations.town import SHARD, Town, config_map, inventory, is_at

POINTS = ("run.opened", "apply.first", "apply.done", "prune.first", "run.closed", "status.patched")


@pytest.mark.soak
@pytest.mark.parametrize("point", POINTS)
async def test_a_killed_run_forgets_no_object_and_is_told_once(hamlet: Town, tmp_path: Path, point: str) -> None:
    """A push makes one object and takes one away, and is killed; the next push takes away what was made."""
    hamlet.repository.commit(app("shop"))
    await hamlet.apply(hamlet.source(), hamlet.kustomization("shop"))
    scope = [f"--watch-label-selector={SHARD}={hamlet.namespace}", f"--runtime-namespace={hamlet.namespace}"]
    with Sluice(tmp_path / "sluice", [f"--kubeconfig={hamlet.kubeconfig}", *scope]) as sluice:
        await asyncio.to_thread(sluice.start)
        await at(hamlet, sluice, hamlet.revision)
        await asyncio.to_thread(sluice.kill)
        hamlet.repository.commit({"shop/made.yaml": config_map("made", "1"), "shop/more.yaml": None})
        killed = hamlet.revision
        await asyncio.to_thread(sluice.start, crash_at=point, wait=False)
        await asked(hamlet, 1)
        await asyncio.to_thread(sluice.wait_crash)

        await asyncio.to_thread(sluice.start)
        await at(hamlet, sluice, killed)
        assert set(await hamlet.values()) == {"shop", "made"}
        await asyncio.to_thread(sluice.kill)
        about = [message for name, revision, message in told_by(sluice.state) if (name, revision) == ("shop", killed)]
        assert len(about) == 1, about
        assert f"ConfigMap/{hamlet.namespace}/made" in about[0]

        await asyncio.to_thread(sluice.start, crash_at=point, wait=False)
        hamlet.repository.commit({"shop/also.yaml": config_map("also", "1")})
        await asked(hamlet, 2)
        if point != "prune.first":
            await asyncio.to_thread(sluice.wait_crash)
        await asyncio.to_thread(sluice.kill)
        hamlet.repository.commit({"shop/also.yaml": None, "shop/made.yaml": None})  # before the status could say that it is there
        await asyncio.to_thread(sluice.start)
        await asked(hamlet, 3)
        seen = await at(hamlet, sluice, hamlet.revision)
        assert await hamlet.values() == {"shop": "1"}
        assert inventory(seen) == {f"{hamlet.namespace}_shop__ConfigMap"}


async def at(town: Town, sluice: Sluice, revision: str) -> dict[str, object]:
    """The Kustomization at a revision; says the end of the service's log when it never is."""
    try:
        return await town.wait_outside("Kustomization", "shop", lambda seen: is_at(seen, revision), seconds=40)
    except AssertionError as error:
        raise AssertionError(f"{error}\nthe service's log ends:\n{sluice.running.tail()}") from None
