import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from service.cluster.client import MERGE_PATCH, Cluster
from service.cluster.discovery import Resource
from service.cluster.watch import Change, Watch
from tests.cluster.objects import Cord, config_map, definition, eventually, scripted, status_json

CONFIG_MAP = Resource(group="", version="v1", plural="configmaps", namespaced=True, kind="ConfigMap")


class Log:
    """The changes, in short."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, change: Change) -> None:
        old = change.old["data"].get("v") if change.old is not None else None
        self.lines.append(f"{change.type} {change.object['metadata']['name']} {old}->{change.object['data'].get('v')}")


@asynccontextmanager
async def running(watch: Watch) -> AsyncIterator[Watch]:
    task = asyncio.create_task(watch.run())
    try:
        async with asyncio.timeout(10):
            await watch.synced.wait()
        yield watch
    finally:
        task.cancel()
        await asyncio.wait([task])


def of(namespace: str, log: Log, cluster: Cluster) -> Watch:
    # the namespace has objects of its own where a controller manager runs
    return Watch(cluster, resource=CONFIG_MAP, namespace=namespace, label_selector="mine=yes", on_change=log)


def mine(namespace: str, name: str, value: str) -> dict[str, Any]:
    return config_map(namespace, name, {"v": value}, labels={"mine": "yes"})


async def put(cluster: Cluster, namespace: str, name: str, value: str) -> None:
    await cluster.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", body=mine(namespace, name, value))


async def test_changes_are_reported_as_they_come(cluster: Cluster, namespace: str) -> None:
    log = Log()
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await put(cluster, namespace, "early", "1")
    async with running(of(namespace, log, cluster)) as watch:
        assert log.lines == ["ADDED early None->1"]
        await put(cluster, namespace, "late", "2")
        await cluster.request("PATCH", f"{path}/late", body={"data": {"v": "3"}}, content_type=MERGE_PATCH)
        await cluster.request("DELETE", f"{path}/early")
        await eventually(lambda: len(log.lines) == 4)
        assert log.lines[1:] == ["ADDED late None->2", "MODIFIED late 2->3", "DELETED early 1->1"]
        assert list(watch.objects) == [(namespace, "late")]
        late = watch.objects[namespace, "late"]
        assert late["kind"] == "ConfigMap"
        assert "managedFields" not in late["metadata"]


async def test_label_leaving_the_selection_is_a_deletion(cluster: Cluster, namespace: str) -> None:
    log = Log()
    await put(cluster, namespace, "one", "1")
    async with running(of(namespace, log, cluster)) as watch:
        body = {"metadata": {"labels": {"mine": "no"}}}
        await cluster.request("PATCH", f"/api/v1/namespaces/{namespace}/configmaps/one", body=body, content_type=MERGE_PATCH)
        await eventually(lambda: not watch.objects)
        assert log.lines[-1].startswith("DELETED one")


async def test_many_objects_come_in_pages(cluster: Cluster, namespace: str) -> None:
    await asyncio.gather(*(put(cluster, namespace, f"o-{number}", str(number)) for number in range(105)))
    log = Log()
    async with running(of(namespace, log, cluster)) as watch:
        assert len(watch.objects) == 105
        assert len(log.lines) == 105


async def test_pages_of_large_objects_are_shorter(tmp_path: Path) -> None:
    limits: list[int] = []

    async def server(request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            await asyncio.sleep(60)
        limits.append(int(request.query["limit"]))
        number = len(limits)
        item = {"metadata": {"name": f"o-{number}", "resourceVersion": "1"}, "data": {"v": "x" * 300_000 if number == 1 else ""}}
        return web.json_response({"items": [item], "metadata": {"resourceVersion": "5", "continue": "more" if number < 3 else ""}})

    async with scripted(server, tmp_path) as cluster, running(Watch(cluster, resource=CONFIG_MAP)) as watch:
        assert len(watch.objects) == 3
    assert limits == [100, 87, 100]


async def test_what_was_missed_is_made_up_after_a_break(kubeconfig: Path, cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    cord = Cord(kubeconfig, tmp_path)
    through = await Cluster.from_kubeconfig(await cord.mend())
    log = Log()
    await put(cluster, namespace, "one", "1")
    await put(cluster, namespace, "two", "1")
    async with running(of(namespace, log, through)) as watch:
        await cord.cut()
        await eventually(lambda: watch.away_since is not None)
        assert "/configmaps" in watch.problem
        path = f"/api/v1/namespaces/{namespace}/configmaps"
        await cluster.request("DELETE", f"{path}/one")
        await cluster.request("PATCH", f"{path}/two", body={"data": {"v": "2"}}, content_type=MERGE_PATCH)
        await put(cluster, namespace, "three", "1")
        await cord.mend()
        await eventually(lambda: len(log.lines) == 5)
        assert log.lines[2:] == ["DELETED one 1->1", "MODIFIED two 1->2", "ADDED three None->1"]
        assert watch.away_since is None
    await cord.cut()
    await through.close()


async def test_kind_is_picked_up_when_it_is_installed(cluster: Cluster, namespace: str) -> None:
    group = f"{namespace}.example.org"
    gadgets = Resource(group=group, version="v1", plural="gadgets", namespaced=True, kind="Gadget")
    seen: list[str] = []
    watch = Watch(cluster, resource=gadgets, on_change=lambda change: seen.append(f"{change.type} {change.object['metadata']['name']}"))
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    async with running(watch):
        assert not watch.installed
        assert watch.away_since is None
        await cluster.request("POST", definitions, body=definition(group))
        await eventually(lambda: watch.installed)
        body = {"apiVersion": f"{group}/v1", "kind": "Gadget", "metadata": {"name": "g", "namespace": namespace}}
        await cluster.request("POST", f"/apis/{group}/v1/namespaces/{namespace}/gadgets", body=body)
        await eventually(lambda: seen == ["ADDED g"])
        await cluster.request("DELETE", f"{definitions}/gadgets.{group}")
        await eventually(lambda: seen == ["ADDED g", "DELETED g"])


async def test_failing_listener_does_not_end_the_watch(cluster: Cluster, namespace: str, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_change: Change) -> None:
        raise RuntimeError("a bug in the listener")

    watch = Watch(cluster, resource=CONFIG_MAP, namespace=namespace, label_selector="mine=yes", on_change=fail)
    async with running(watch):
        await put(cluster, namespace, "one", "1")
        await put(cluster, namespace, "two", "1")
        await eventually(lambda: len(watch.objects) == 2)
    assert [record.message for record in caplog.records if record.exc_info].count("a watch's listener failed") == 2


def stored(name: str, version: int, uid: str = "") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "ns", "uid": uid or name, "resourceVersion": str(version)}, "data": {"v": str(version)}}


class Forgetful:
    """A server that forgets its history: each watch ends with 410 (inside the stream, or as its status), lists come as given."""

    def __init__(self, lists: list[list[dict[str, Any]]], *, inside: bool) -> None:
        self._lists = iter(lists)
        self._inside = inside

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            items = next(self._lists, None)
            if items is None:
                await asyncio.sleep(60)
            return web.json_response({"items": items, "metadata": {"resourceVersion": "7"}})
        if not self._inside:
            return status_json(410, "Expired", "too old resource version")
        response = web.StreamResponse()
        await response.prepare(request)
        gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
        await response.write(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
        return response


@pytest.mark.parametrize("inside", [True, False])
async def test_list_after_410_reports_the_difference(tmp_path: Path, inside: bool) -> None:
    lists = [
        [stored("a", 1), stored("b", 2), stored("c", 3)],
        [stored("b", 2), stored("c", 9), stored("d", 8)],
        [stored("b", 4, uid="new")],
    ]
    async with scripted(Forgetful(lists, inside=inside), tmp_path) as cluster:
        log = Log()
        async with running(Watch(cluster, resource=CONFIG_MAP, on_change=log)):
            await eventually(lambda: len(log.lines) == 10)
    assert log.lines[:3] == ["ADDED a None->1", "ADDED b None->2", "ADDED c None->3"]
    assert log.lines[3:6] == ["DELETED a 1->1", "MODIFIED c 3->9", "ADDED d None->8"]
    assert log.lines[6:] == ["DELETED c 9->9", "DELETED d 8->8", "DELETED b 2->2", "ADDED b None->4"]


async def test_watch_resumes_where_the_bookmark_stands(tmp_path: Path) -> None:
    asked: list[str] = []

    async def server(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response({"items": [], "metadata": {"resourceVersion": "5"}})
        asked.append(request.query["resourceVersion"])
        response = web.StreamResponse()
        await response.prepare(request)
        if len(asked) > 1:
            await asyncio.sleep(60)
        await response.write(json.dumps({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "11"}}}).encode() + b"\n")
        return response

    async with scripted(server, tmp_path) as cluster, running(Watch(cluster, resource=CONFIG_MAP)):
        await eventually(lambda: len(asked) == 2)
    assert asked == ["5", "11"]
