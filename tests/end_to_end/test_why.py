"""`sluice why` on a running service, as a user runs it: a push that no node has room for, down to the scheduler's words."""

import json
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.end_to_end.kubernetes import condition, is_ready
from tests.end_to_end.world import World

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "huge"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "huge"}},
        "template": {
            "metadata": {"labels": {"app": "huge"}},
            "spec": {"containers": [{"name": "web", "image": "huge:1", "resources": {"requests": {"memory": "900Ti"}}}]},
        },
    },
}


def why(town: World, named: str) -> tuple[int, Any, str]:
    """The exit status, the JSON, and what was said besides."""
    place = [f"--address=127.0.0.1:{town.sluice.ports['admin']}", f"--state={town.sluice.state}", f"--kubeconfig={town.kube.kubeconfig}"]
    command = [sys.executable, "-m", "service", "why", named, "-n", town.namespace, "-o", "json", *place]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode < 2, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


def test_a_push_is_explained_from_the_delivery_to_what_blocks(town: World, request: pytest.FixtureRequest) -> None:
    """On the real cluster a scheduler refuses the Pod; with the embedded API nobody makes one. About ten seconds, for the processes."""
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "huge"}, "data": {"a": "1"}}
    town.fleet.push({"huge/settings.yaml": json.dumps(settings)})
    town.sluice.start()
    town.install()
    town.kube.apply(town.kustomization("huge", "./huge", wait=True, targetNamespace=f"{town.namespace}-staging"))
    town.kube.wait("Kustomization", town.namespace, "huge", is_ready)
    code, answer, _ = why(town, "ks/huge")
    assert (code, answer["state"]["ready"], answer["health"]) == (0, "True", [])

    commit = town.fleet.push({"huge/web.yaml": json.dumps(DEPLOYMENT)})
    assert town.hook(commit).status == 200
    town.kube.wait("Kustomization", town.namespace, "huge", lambda seen: condition(seen).get("status") == "Unknown")
    wanted, until = "Unschedulable" if "real" in request.node.callspec.id else "replicas: 0/1", time.monotonic() + 30
    while wanted not in (answer := why(town, f"deployment/{town.namespace}-staging/huge")[1])["answer"] and time.monotonic() < until:
        time.sleep(0.5)
    assert wanted in answer["answer"], json.dumps(answer, indent=1)
    assert answer["asked"]["owner"] == f"Kustomization/{town.namespace}/huge"
    assert answer["delivery"]["sender"] == "github"
    assert answer["push"]["paths"] == ["huge/web.yaml"]
    assert answer["push"]["concerned"] is True
    assert [each["step"] for each in answer["lastRun"]["steps"]] == ["build", "apply"]
    assert answer["next"] == {"waitsForHealth": True}

    town.sluice.stop()
    code, alone, said = why(town, "ks/huge")
    assert (code, alone["from"]) == (1, "cluster")
    assert "what the cluster alone says" in said
    assert wanted in alone["answer"]
