"""The command against an API server: what it shows, what it writes, and what it refuses."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.cli import main
from service.cluster.client import MERGE_PATCH, ApiError, Cluster
from service.compose.install import install_kinds

REVISION = f"main@sha1:{'5394cb7f' * 5}"
MESSAGE = f"prune blocked at {REVISION}: 1 of 1 objects (100%) would be deleted, because the build is empty\nConfigMap/x/one"
ALLOWED = "kustomize.sluice.dev/prune-allowed"


class Desk:
    """A Kustomization `apps` whose prune is blocked, or not, and the command at hand."""

    def __init__(self, cluster: Cluster, kubeconfig: Path, namespace: str) -> None:
        self.cluster, self.kubeconfig, self.namespace = cluster, kubeconfig, namespace
        self.path = f"/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{namespace}/kustomizations/apps"

    async def put(self, reason: str) -> None:
        spec = {"interval": "10m", "prune": True, "sourceRef": {"kind": "GitRepository", "name": "fleet"}}
        body = {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": {"name": "apps"}, "spec": spec}
        await self.cluster.request("POST", self.path.rpartition("/")[0], body=body)
        condition = {"type": "Ready", "status": "False", "reason": reason, "message": MESSAGE, "lastTransitionTime": "2026-11-21T12:00:00Z"}
        status = {"conditions": [condition], "lastAttemptedRevision": REVISION}
        await self.cluster.request("PATCH", f"{self.path}/status", body={"status": status}, content_type=MERGE_PATCH)

    async def run(self, *words: str) -> int:
        place = [f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}"]
        return await asyncio.to_thread(main, ["prune", *words, *place])

    async def allowed(self) -> str | None:
        found = (await self.cluster.request("GET", self.path)).body
        return (found["metadata"].get("annotations") or {}).get(ALLOWED)


@pytest.fixture
async def desk(embedded_kubeconfig: Path, namespace_name: str) -> AsyncIterator[Desk]:
    cluster = await Cluster.from_kubeconfig(embedded_kubeconfig)
    await install_kinds(cluster, namespace_name)
    yield Desk(cluster, embedded_kubeconfig, namespace_name)
    await cluster.close()


@pytest.mark.parametrize("given", [REVISION, "5394cb7", f"main@sha1:{'5394cb7f' * 2}"])
async def test_the_blocked_revision_is_shown_and_allowed(desk: Desk, capsys: pytest.CaptureFixture[str], given: str) -> None:
    await desk.put("PruneBlocked")
    assert await desk.run("show", "Kustomization/apps") == 0
    assert capsys.readouterr().out == f"{MESSAGE}\n"
    assert await desk.run("allow", "ks/apps", "--revision", given) == 0
    assert await desk.allowed() == REVISION


@pytest.mark.parametrize("given", [f"main@sha1:{'0' * 40}", "5394c", "394cb7f5", "main@sha1:", "main"])
async def test_another_revision_is_refused(desk: Desk, capsys: pytest.CaptureFixture[str], given: str) -> None:
    await desk.put("PruneBlocked")
    assert await desk.run("allow", "Kustomization/apps", "--revision", given) == 1
    assert f"that is {REVISION}" in capsys.readouterr().err
    assert await desk.allowed() is None


async def test_what_is_not_blocked_not_there_or_no_kustomization_is_refused(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert await desk.run("show", "Kustomization/apps") == 1
    assert "name it with -n" in capsys.readouterr().err
    await desk.put("BuildFailed")
    assert await desk.run("allow", "Kustomization/apps", "--revision", REVISION) == 1
    assert "Ready says BuildFailed" in capsys.readouterr().err
    assert await desk.run("show", "Deployment/apps") == 1
    assert "no KIND/NAME" in capsys.readouterr().err
    with pytest.raises(ApiError):
        await desk.cluster.request("GET", desk.path.replace("apps", "other"))
