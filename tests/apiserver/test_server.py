"""The embedded server as a thing in a folder: files, restarts, a killed process, windows of history."""

import asyncio
import io
import json
import subprocess
import sys

from service.apiserver import store
from service.apiserver.server import ApiServer
from service.apiserver.unsupported import UNSUPPORTED
from tests.apiserver.conftest import Kube


def config_map(name="a", **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def test_listens_on_loopback_and_keeps_its_files_private(server):
    assert server.url.startswith("https://127.0.0.1:")
    for name in ("kubeconfig", "token", "server.key"):
        assert (server.kubeconfig.parent / name).stat().st_mode & 0o777 == 0o600
    assert server.token not in server.url


async def test_restart_keeps_objects_versions_and_definitions(tmp_path):
    first = await ApiServer.start(tmp_path)
    async with (kube := Kube(first.kubeconfig, "default")).session:
        _, made = await kube.call("POST", kube.path("configmaps"), config_map(x="1"))
    await first.stop()
    second = await ApiServer.start(tmp_path)
    async with (kube := Kube(second.kubeconfig, "default")).session:
        assert (await kube.call("GET", kube.path("configmaps", "a")))[1] == made
        _, changed = await kube.call("POST", kube.path("configmaps"), config_map("b"))
        assert int(changed["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
    await second.stop()
    assert second.token == first.token


async def test_old_version_after_a_restart_is_gone(tmp_path):
    first = await ApiServer.start(tmp_path)
    async with (kube := Kube(first.kubeconfig, "default")).session:
        _, made = await kube.call("POST", kube.path("configmaps"), config_map())
        await kube.call("DELETE", kube.path("configmaps", "a"))
    await first.stop()
    second = await ApiServer.start(tmp_path)
    async with (kube := Kube(second.kubeconfig, "default")).session:
        version = made["metadata"]["resourceVersion"]
        (event,) = await kube.watch(kube.path("configmaps"), events=1, resourceVersion=version)
        assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    await second.stop()


async def test_version_that_left_the_window_is_gone(monkeypatch, tmp_path):
    monkeypatch.setattr(store, "EVENTS_KEPT", 5)
    server = await ApiServer.start(tmp_path)
    async with (kube := Kube(server.kubeconfig, "default")).session:
        versions = []
        for at in range(9):
            _, body = await kube.apply(kube.path("configmaps", "a"), config_map(x=str(at)))
            versions.append(body["metadata"]["resourceVersion"])
        (event,) = await kube.watch(kube.path("configmaps"), events=1, resourceVersion=versions[0])
        assert event["object"]["code"] == 410
        events = await kube.watch(kube.path("configmaps"), events=5, resourceVersion=versions[3])
        assert [event["object"]["data"]["x"] for event in events] == ["4", "5", "6", "7", "8"]
    await server.stop()


async def test_every_watcher_sees_every_write_in_order(own):
    path = own.path("configmaps")
    _, page = await own.call("GET", path)
    version = page["metadata"]["resourceVersion"]
    watches = [asyncio.create_task(own.watch(path, events=60, resourceVersion=version)) for _ in range(5)]
    await asyncio.gather(*(own.apply(own.path("configmaps", f"c{at % 20}"), config_map(f"c{at % 20}", x=str(at))) for at in range(60)))
    seen = await asyncio.gather(*watches)
    assert all(events == seen[0] for events in seen)
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in seen[0]]
    assert versions == sorted(set(versions))


async def test_unsupported_things_are_said(own):
    status, body = await own.call("GET", own.path("configmaps"), watch="true", sendInitialEvents="true")
    assert (status, body["kind"]) == (422, "Status")
    status, body = await own.call("GET", own.path("configmaps"), accept="application/vnd.kubernetes.protobuf")
    assert (status, body["reason"]) == (406, "NotAcceptable")
    status, body = await own.call("POST", own.path("configmaps"), b"k8s\x00", media="application/vnd.kubernetes.protobuf")
    assert status == 415
    assert "kubectl apply" in body["message"]
    status, body = await own.call("GET", own.path("pods", "a/log"))
    assert (status, body["reason"]) == (404, "NotFound")


async def test_large_bodies_are_refused(own):
    status, body = await own.call("POST", own.path("configmaps"), io.BytesIO(b"x" * 4_000_000))
    assert (status, body["reason"]) == (413, "RequestEntityTooLarge")


async def test_stop_ends_open_watches(tmp_path):
    server = await ApiServer.start(tmp_path)
    async with (kube := Kube(server.kubeconfig, "default")).session:
        watching = asyncio.create_task(kube.watch(kube.path("configmaps"), events=9))
        await asyncio.sleep(0.1)
        async with asyncio.timeout(3):
            await server.stop()
        assert await watching == []


async def test_killed_process_keeps_what_it_answered(tmp_path):
    """kill -9 in the middle of writes: what was answered is there after the next start."""
    command = (sys.executable, "-m", "service.apiserver", tmp_path)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    await process.stdout.readline()
    async with (kube := Kube(tmp_path / "kubeconfig", "default")).session:
        for at in range(20):
            assert (await kube.apply(kube.path("configmaps", f"c{at}"), config_map(f"c{at}")))[0] == 201
        process.kill()
        await process.wait()
    server = await ApiServer.start(tmp_path)
    async with (kube := Kube(server.kubeconfig, "default")).session:
        _, page = await kube.call("GET", kube.path("configmaps"))
    await server.stop()
    assert {item["metadata"]["name"] for item in page["items"]} == {f"c{at}" for at in range(20)}


def test_command_prints_what_is_not_emulated():
    out = subprocess.run([sys.executable, "-m", "service.apiserver", "--unsupported"], capture_output=True, text=True, check=True).stdout
    assert out.splitlines() == [f"- {line}" for line in UNSUPPORTED]


async def test_list_items_are_what_get_answers(own):
    await own.apply(own.path("configmaps", "a"), config_map(x="ü"))
    _, page = await own.call("GET", own.path("configmaps"))
    _, one = await own.call("GET", own.path("configmaps", "a"))
    assert json.dumps(page["items"]) == json.dumps([one])
