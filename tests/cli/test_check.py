"""The command against an API server of its own objects, and without one."""

import asyncio
from pathlib import Path

import pytest

from service.apiserver.server import ApiServer
from service.cli import main
from service.cluster.client import Cluster
from service.compose.install import install_kinds


async def test_findings_are_listed_and_counted_in_the_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = await ApiServer.start(tmp_path, simulate_workloads=False)
    cluster = await Cluster.from_kubeconfig(server.kubeconfig)
    command = ["check", "--rollback", f"--kubeconfig={server.kubeconfig}"]
    try:
        await install_kinds(cluster, "apps")
        assert await asyncio.to_thread(main, command) == 0
        assert capsys.readouterr().out == ""
        spec = {"type": "gitea", "resources": [{"kind": "GitRepository", "name": "x"}], "secretRef": {"name": "token"}}
        receiver = {"apiVersion": "notification.toolkit.fluxcd.io/v1", "kind": "Receiver", "metadata": {"name": "hook"}, "spec": spec}
        await cluster.request("POST", "/apis/notification.toolkit.fluxcd.io/v1/namespaces/apps/receivers", body=receiver)
        marked = {"name": "one", "annotations": {"kustomize.sluice.dev/drift": "watch"}}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": marked}
        await cluster.request("POST", "/api/v1/namespaces/apps/configmaps", body=body)
        source = {"kind": "GitRepository", "name": "fleet"}
        owner = {"metadata": {"name": "apps"}, "spec": {"interval": "1m", "prune": True, "sourceRef": source}}
        owner |= {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization"}
        path = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/apps/kustomizations"
        await cluster.request("POST", path, body=owner)
        status = {"inventory": {"entries": [{"id": "apps_one__ConfigMap", "v": "v1"}]}}
        merge = "application/merge-patch+json"
        await cluster.request("PATCH", f"{path}/apps/status", body={"status": status}, content_type=merge)
        assert await asyncio.to_thread(main, command) == 1
        first, second = capsys.readouterr().out.splitlines()
        assert first.startswith("Receiver/apps/hook: Flux refuses the type gitea")
        assert second == "ConfigMap/apps/one: Flux passes over the annotation kustomize.sluice.dev/drift"
    finally:
        await cluster.close()
        await server.stop()


async def test_a_cluster_that_cannot_be_read_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await asyncio.to_thread(main, ["check", "--rollback", f"--kubeconfig={tmp_path / 'none'}"]) == 2
    assert "sluice check: " in capsys.readouterr().err
