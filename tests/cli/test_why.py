"""`sluice why` as a person types it: the service's answer as a tree, JSON, and the cluster's where the service is away."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from service.cli import main
from service.cli.whytree import lines
from service.cluster.client import Cluster
from service.compose.install import install_kinds

ANSWER: dict[str, Any] = {
    "object": "Kustomization/apps/shop",
    "from": "sluice",
    "answer": "Kustomization/apps/shop failed with BuildFailed: no such file",
    "state": {"ready": "False", "reason": "BuildFailed", "message": "no such file\nline two", "applied": "a", "attempted": "b"},
    "source": {"object": "GitRepository/apps/fleet", "ready": "False", "message": "not reachable", "error": "timeout"},
    "delivery": {"found": "the last run was not triggered by a delivery: timer", "latest": {"id": "ab12", "sender": "gitea", "at": "T"}},
    "push": {"revision": "b", "at": "T", "said": "2 files", "concerned": False, "paths": [f"f{n}" for n in range(12)], "changedReads": []},
    "dependencies": [
        {"object": "Kustomization/apps/x", "missing": True},
        {"object": "Kustomization/apps/y", "ready": "False", "message": "m",
         "dependencies": [{"object": "z", "ready": "True", "circle": True}]},
    ],
    "lastRun": {"at": "T", "result": "BuildFailed", "seconds": 1.5, "compared": "what changed", "triggers": [], "message": "no such file",
                "steps": [{"step": "build", "seconds": 1.4}], "changes": ["ConfigMap/a/b created"], "changeCount": 40},
    "lastLook": {"at": "U", "result": "waiting", "seconds": 0.1, "message": "later"},
    "health": [{"object": "Deployment/a/b", "status": "Failed", "message": "m", "pods": ["Pod b-1: x"]}],
    "alerts": [{"alert": "Alert/a/all", "provider": "Provider/a/slack", "state": "queued", "at": "T", "attempts": 3, "error": "429"}],
    "next": {"inSeconds": 3.0, "at": "T"},
}  # fmt: skip


def test_everything_that_is_known_has_its_line() -> None:
    text = "\n".join(lines(ANSWER))
    for part in (
        "line two", "applied a, attempted b", "timeout", "ab12", "and 2 more", "Kustomization/apps/x  is not there", "a circle",
        "build 1.4 s", "40 changes in all", "looked at  U", "Pod b-1: x", "waits, due", "429", "in 3.0 s",
    ):  # fmt: skip
        assert part in text, part
    assert text.splitlines()[0] == ANSWER["answer"]
    assert [line[:2] for line in text.splitlines() if line[:2] in ("├─", "└─")] == ["├─"] * 8 + ["└─"]


def test_the_least_answer_is_two_lines_of_text() -> None:
    least = {"object": "Alert/a/b", "from": "cluster", "answer": "it is", "state": {"ready": "True"}}
    text = list(lines(least))
    assert text[0] == "it is"
    assert text[-1].startswith("└─ state")


@pytest.mark.parametrize("named", ["shop", "ks/", "a/b/c/d"])
def test_an_object_is_named_by_kind_and_name(capsys: pytest.CaptureFixture[str], named: str) -> None:
    assert main(["why", named]) == 2
    assert "KIND/NAME" in capsys.readouterr().err


async def test_without_a_service_the_cluster_answers(embedded_kubeconfig: Path, namespace_name: str, tmp_path: Path, capsys: Any) -> None:
    cluster = await Cluster.from_kubeconfig(embedded_kubeconfig)
    await install_kinds(cluster, namespace_name)
    spec = {"interval": "1m", "prune": True, "sourceRef": {"kind": "GitRepository", "name": "fleet"}}
    metadata = {"name": "shop", "namespace": namespace_name}
    body = {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": metadata, "spec": spec}
    await cluster.request("POST", f"/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{namespace_name}/kustomizations", body=body)
    await cluster.close()
    await asyncio.sleep(0.02)
    flags = [f"--state={tmp_path}", f"--kubeconfig={embedded_kubeconfig}"]
    assert await asyncio.to_thread(main, ["why", "ks/shop", "-n", namespace_name, "-o", "json", *flags]) == 1
    told = capsys.readouterr()
    assert "the cluster alone" in told.err
    assert json.loads(told.out)["source"]["missing"] is True
    (tmp_path / "admin.token").write_text("x")
    assert await asyncio.to_thread(main, ["why", f"ks/{namespace_name}/never", "--address=127.0.0.1:9", *flags]) == 2
    assert "not in namespace" in capsys.readouterr().err
