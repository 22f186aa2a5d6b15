"""SIGKILL at exact steps, the service as a process: a failed apply stays tracked, and a blocked prune stays blocked until it is allowed."""

import asyncio
import json
from pathlib import Path

import pytest

from service.kinds.meta import PRUNE_ALLOWED
from tests.compose.test_fleets import asked
from tests.end_to_end.sluice_process import Sluice
from tests.kustomizations.test_flow import app
from tests.kustomizations.town import SHARD, Town, config_map, inventory, is_at, ready


def service(town: Town, folder: Path) -> Sluice:
    scope = [f"--watch-label-selector={SHARD}={town.namespace}", f"--runtime-namespace={town.namespace}"]
    return Sluice(folder / "sluice", [f"--kubeconfig={town.kubeconfig}", *scope])


@pytest.mark.soak
async def test_what_a_killed_and_then_refused_apply_has_made_is_in_the_inventory(place: Town, tmp_path: Path) -> None:
    name = f"{place.namespace}-reader"
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": []}
    place.repository.commit({"shop/role.yaml": json.dumps(role), "shop/bad.yaml": config_map("Not_A_Name", "1")})
    await place.apply(place.source(), place.kustomization("shop", retryInterval="10m"))
    with service(place, tmp_path) as sluice:
        await asyncio.to_thread(sluice.start, crash_at="apply.first", wait=False)
        await asyncio.to_thread(sluice.wait_crash)
        await asyncio.to_thread(sluice.start)
        seen = await place.wait_outside("Kustomization", "shop", lambda now: ready(now).get("reason") == "ReconciliationFailed", seconds=40)
        assert inventory(seen) == {f"_{name}_rbac.authorization.k8s.io_ClusterRole"}
        place.repository.commit({"shop/role.yaml": None, "shop/bad.yaml": config_map("good", "1")})
        await asked(place, 1)
        await place.wait_outside("Kustomization", "shop", lambda now: is_at(now, place.revision), seconds=40)
        with pytest.raises(Exception, match="not found"):
            await place.api.request("GET", f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}")


@pytest.mark.soak
@pytest.mark.parametrize("point", ["source.stored", "status.patched", "run.closed", "prune.first"])
async def test_a_blocked_prune_outlives_kills(hamlet: Town, tmp_path: Path, point: str) -> None:
    hamlet.repository.commit(app("shop"))
    await hamlet.apply(hamlet.source(), hamlet.kustomization("shop"))
    with service(hamlet, tmp_path) as sluice:
        await asyncio.to_thread(sluice.start)
        await hamlet.wait_outside("Kustomization", "shop", lambda now: is_at(now, hamlet.revision), seconds=40)
        await asyncio.to_thread(sluice.kill)
        hamlet.repository.commit({"shop/settings.yaml": None, "shop/more.yaml": None, "shop/README": "x"})
        if point != "prune.first":
            await asyncio.to_thread(sluice.start, crash_at=point, wait=False)
            await asked(hamlet, 1)
            await asyncio.to_thread(sluice.wait_crash)
        await asyncio.to_thread(sluice.start)
        await asked(hamlet, 2)
        seen = await hamlet.wait_outside("Kustomization", "shop", lambda now: ready(now).get("reason") == "PruneBlocked", seconds=40)
        assert len(inventory(seen)) == len(await hamlet.values()) == 2
        if point == "prune.first":
            await asyncio.to_thread(sluice.kill)
            await hamlet.patch("Kustomization", "shop", {"metadata": {"annotations": {PRUNE_ALLOWED: hamlet.revision}}})
            await asyncio.to_thread(sluice.start, crash_at=point, wait=False)
            await asyncio.to_thread(sluice.wait_crash)
            await asyncio.to_thread(sluice.start)
            await hamlet.wait_outside("Kustomization", "shop", lambda now: is_at(now, hamlet.revision), seconds=40)
            assert await hamlet.values() == {}
