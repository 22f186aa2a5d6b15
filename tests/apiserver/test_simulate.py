"""Simulated workloads: ready, and said to be simulated."""

import asyncio

import pytest

from service.apiserver.server import ApiServer
from tests.apiserver.conftest import Kube

POD = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "a:1"}], "restartPolicy": "Always"}}
JOB_POD = {**POD, "spec": {**POD["spec"], "restartPolicy": "Never"}}
SELECTOR = {"matchLabels": {"app": "a"}}


def wants(kind, api, spec):
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "a"}, "spec": spec}


WORKLOADS = [
    (
        "/apis/apps/v1",
        "deployments",
        wants("Deployment", "apps/v1", {"replicas": 3, "selector": SELECTOR, "template": POD}),
        {"availableReplicas": 3},
    ),
    ("/apis/apps/v1", "statefulsets", wants("StatefulSet", "apps/v1", {"selector": SELECTOR, "template": POD}), {"readyReplicas": 1}),
    ("/apis/apps/v1", "daemonsets", wants("DaemonSet", "apps/v1", {"selector": SELECTOR, "template": POD}), {"numberReady": 1}),
    ("/apis/batch/v1", "jobs", wants("Job", "batch/v1", {"template": JOB_POD}), {"succeeded": 1}),
    ("/api/v1", "pods", wants("Pod", "v1", POD["spec"]), {"phase": "Running"}),
]


@pytest.mark.parametrize(("api", "plural", "obj", "expected"), WORKLOADS, ids=[one[1] for one in WORKLOADS])
async def test_workloads_become_ready(tmp_path, api, plural, obj, expected):
    server = await ApiServer.start(tmp_path, simulate_workloads=True)
    async with (kube := Kube(server.kubeconfig, "default")).session:
        path = kube.path(plural, "a", api=api)
        status, made = await kube.apply(path, obj)
        assert status == 201, made
        async with asyncio.timeout(5):
            version = made["metadata"]["resourceVersion"]
            (event,) = await kube.watch(kube.path(plural, api=api), events=1, resourceVersion=version)
        live = event["object"]
        assert expected.items() <= live["status"].items()
        assert all("simulated" in condition["message"] for condition in live["status"]["conditions"])
        assert live["status"].get("observedGeneration", 1) == live["metadata"]["generation"]
        again = (await kube.apply(path, obj))[1]
        assert again["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]
    await server.stop()


async def test_nothing_is_simulated_unasked(own):
    _, made = await own.apply(own.path("deployments", "a", api="/apis/apps/v1"), WORKLOADS[0][2])
    await asyncio.sleep(0.1)
    _, later = await own.call("GET", own.path("deployments", "a", api="/apis/apps/v1"))
    assert later == made
