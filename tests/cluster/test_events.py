import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from service.cluster.client import Cluster
from service.cluster.events import QUEUE, News, Recorder
from tests.cluster.objects import kubeconfig_for

SOON = timedelta(seconds=10)


@pytest.fixture
async def recorder(cluster: Cluster) -> AsyncIterator[Recorder]:
    recorder = Recorder(cluster, instance="a-pod")
    task = asyncio.create_task(recorder.run())
    yield recorder
    task.cancel()
    await asyncio.wait([task])


def news(namespace: str, message: str = "Applied", **more: Any) -> News:
    what = {"api_version": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "name": "apps", "uid": "u-1", "reason": "Progressing"}
    return News(namespace=namespace, message=message, **{**what, **more})


async def listed(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await cluster.request("GET", f"/api/v1/namespaces/{namespace}/events")).body["items"]
    return found


async def test_event_is_what_clients_look_for(cluster: Cluster, recorder: Recorder, namespace: str) -> None:
    recorder.post(news(namespace, annotations={"kustomize.toolkit.fluxcd.io/revision": "main@sha1:1"}))
    await recorder.drain(SOON)
    (event,) = await listed(cluster, namespace)
    assert event["involvedObject"] == {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "namespace": namespace,
        "name": "apps",
        "uid": "u-1",
    }
    assert (event["type"], event["reason"], event["message"], event["count"]) == ("Normal", "Progressing", "Applied", 1)
    assert event["source"] == {"component": "kustomize-controller"}
    assert (event["reportingComponent"], event["reportingInstance"]) == ("kustomize-controller", "a-pod")
    assert event["metadata"]["name"].startswith("apps.")
    assert event["metadata"]["annotations"] == {"kustomize.toolkit.fluxcd.io/revision": "main@sha1:1"}


async def test_repeats_raise_the_count(cluster: Cluster, recorder: Recorder, namespace: str) -> None:
    for message in ("one", "one", "two", "one"):
        recorder.post(news(namespace, message))
    await recorder.drain(SOON)
    assert sorted((event["message"], event["count"]) for event in await listed(cluster, namespace)) == [("one", 3), ("two", 1)]


async def test_forgotten_event_is_made_anew(cluster: Cluster, recorder: Recorder, namespace: str) -> None:
    recorder.post(news(namespace))
    await recorder.drain(SOON)
    (event,) = await listed(cluster, namespace)
    await cluster.request("DELETE", f"/api/v1/namespaces/{namespace}/events/{event['metadata']['name']}")
    recorder.post(news(namespace))
    await recorder.drain(SOON)
    assert [event["count"] for event in await listed(cluster, namespace)] == [1]


async def test_long_message_is_cut(cluster: Cluster, recorder: Recorder, namespace: str) -> None:
    recorder.post(news(namespace, "x" * 3000))
    await recorder.drain(SOON)
    (event,) = await listed(cluster, namespace)
    assert len(event["message"]) == 1024
    assert event["message"].endswith(" ...")


async def test_refused_event_does_not_stop_the_next(cluster: Cluster, recorder: Recorder, namespace: str) -> None:
    recorder.post(news("no-such-namespace"))
    recorder.post(news(namespace))
    await recorder.drain(SOON)
    assert len(await listed(cluster, namespace)) == 1
    assert recorder.dropped == 1


async def test_full_queue_drops_and_does_not_wait(tmp_path: Path) -> None:
    cluster = await Cluster.from_kubeconfig(kubeconfig_for(tmp_path, "http://127.0.0.1:1"))
    recorder = Recorder(cluster)
    for number in range(QUEUE + 5):
        recorder.post(news("ns", str(number)))
    await cluster.close()
    assert recorder.dropped == 5
