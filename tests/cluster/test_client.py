import asyncio
import json
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from service.cluster.access import Access, BadKubeconfig
from service.cluster.client import APPLY_PATCH, ApiAway, ApiError, Cluster, Lines
from tests.cluster.objects import config_map, kubeconfig_for, scripted, status_json


async def test_request_carries_json_both_ways(cluster: Cluster, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    made = await cluster.request("POST", path, body=config_map(namespace, "one", {"a": "1"}))
    read = await cluster.request("GET", f"{path}/one")
    assert made.status == 201
    assert read.status == 200
    assert read.body["data"] == {"a": "1"}


async def test_bytes_are_sent_as_they_are(cluster: Cluster, namespace: str) -> None:
    body = json.dumps(config_map(namespace, "two", {"b": "ä"}), ensure_ascii=False, indent=1).encode()
    answer = await cluster.request(
        "PATCH", f"/api/v1/namespaces/{namespace}/configmaps/two", query={"fieldManager": "t"}, body=body, content_type=APPLY_PATCH
    )
    assert answer.status == 201
    assert answer.body["data"] == {"b": "ä"}


async def test_refusal_names_the_object(cluster: Cluster, namespace: str) -> None:
    with pytest.raises(ApiError) as caught:
        await cluster.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/nobody")
    assert caught.value.not_found
    assert caught.value.reason == "NotFound"
    assert str(caught.value) == 'configmaps "nobody" not found'


async def test_invalid_object_names_the_field(cluster: Cluster, namespace: str) -> None:
    with pytest.raises(ApiError) as caught:
        await cluster.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", body=config_map(namespace, "Not A Name"))
    assert caught.value.status == 422
    assert caught.value.reason == "Invalid"
    assert [cause.field for cause in caught.value.causes] == ["metadata.name"]


async def test_away_when_nobody_listens(tmp_path: Path, unused_tcp_port: int) -> None:
    cluster = await Cluster.from_kubeconfig(kubeconfig_for(tmp_path, f"http://127.0.0.1:{unused_tcp_port}"))
    with pytest.raises(ApiAway) as caught:
        await cluster.request("GET", "/api/v1/namespaces")
    await cluster.close()
    assert "not reachable" in caught.value.message
    assert "sesame" not in caught.value.message


async def test_away_when_the_answer_is_late(tmp_path: Path) -> None:
    async def slow(_request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async with scripted(slow, tmp_path) as cluster:
        began = time.monotonic()
        with pytest.raises(ApiAway, match=r"no answer from http://\S+ within 0.1 s"):
            await cluster.request("GET", "/api", timeout=timedelta(milliseconds=100))
        assert time.monotonic() - began < 1


async def test_token_file_is_read_again_when_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.cluster.access.RENEW_AT_MOST_EVERY", timedelta(0))
    token = tmp_path / "token"
    token.write_text("old\n")
    seen = []

    async def door(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"])
        return web.json_response({"kind": "X"}) if seen[-1] == "Bearer new" else status_json(401, "Unauthorized", "Unauthorized")

    async with scripted(door, tmp_path, {"tokenFile": str(token)}) as cluster:
        token.write_text("new\n")
        answer = await cluster.request("GET", "/api")
    assert answer.body == {"kind": "X"}
    assert seen == ["Bearer old", "Bearer new"]


async def test_busy_server_is_asked_again(tmp_path: Path) -> None:
    count = 0

    async def busy(_request: web.Request) -> web.Response:
        nonlocal count
        count += 1
        if count < 3:
            return web.Response(status=429, headers={"Retry-After": "0"}, text="Too many requests")
        return web.json_response({"n": count})

    async with scripted(busy, tmp_path) as cluster:
        assert (await cluster.request("POST", "/api", body={})).body == {"n": 3}


@pytest.mark.parametrize(
    ("status", "text", "message"),
    [
        (503, "no endpoints", "the server answered 503: no endpoints"),
        (500, "", "the server answered 500"),
        (302, "", "the server answered 302"),
        (502, '{"kind":"Else"}', 'the server answered 502: {"kind":"Else"}'),
    ],
)
async def test_answer_without_status_is_an_error(tmp_path: Path, status: int, text: str, message: str) -> None:
    async def odd(_request: web.Request) -> web.Response:
        return web.Response(status=status, text=text, headers={"Location": "http://127.0.0.1:1/"} if status == 302 else {})

    async with scripted(odd, tmp_path) as cluster:
        with pytest.raises(ApiError) as caught:
            await cluster.request("GET", "/api")
    assert (caught.value.status, str(caught.value)) == (status, message)


async def test_answer_that_is_no_json(tmp_path: Path) -> None:
    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="<html>login</html>")

    async with scripted(page, tmp_path) as cluster:
        with pytest.raises(ApiError, match="is this a Kubernetes API server"):
            await cluster.request("GET", "/api")


async def test_patch_survives_a_stale_connection(tmp_path: Path) -> None:
    count = 0

    async def closing(request: web.Request) -> web.Response:
        nonlocal count
        count += 1
        if count == 2 and request.transport is not None:
            request.transport.abort()
        return web.json_response({"n": count})

    async with scripted(closing, tmp_path) as cluster:
        await cluster.request("GET", "/api")
        assert (await cluster.request("PATCH", "/api", body={})).body == {"n": 3}


async def test_exec_plugin_gives_the_token(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    status = {"token": "from-plugin", "expirationTimestamp": "2126-01-01T00:00:00Z"}
    answer = json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status})
    plugin.write_text(f"#!/bin/sh\necho '{answer}'\n")
    plugin.chmod(0o755)
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}}
    access = await Access.from_kubeconfig(kubeconfig_for(tmp_path, "https://127.0.0.1:1", user))
    assert await access.headers() == {"Authorization": "Bearer from-plugin"}


async def test_broken_plugin_is_named(tmp_path: Path) -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/nonexistent/plugin"}}
    with pytest.raises(BadKubeconfig, match="/nonexistent/plugin"):
        await Access.from_kubeconfig(kubeconfig_for(tmp_path, "https://127.0.0.1:1", user))


@pytest.mark.parametrize(
    "text", ["", "[]", "a: [", "words", "current-context: x\ncontexts: []\nclusters: []\n", "current-context: x\ncontexts: [1]\n"]
)
async def test_unusable_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "kubeconfig").write_text(text)
    with pytest.raises(BadKubeconfig, match="kubeconfig is not a usable kubeconfig") as raised:
        await Access.from_kubeconfig(tmp_path / "kubeconfig")
    assert "assignment" not in str(raised.value)  # not what Python says of its own types


async def test_missing_kubeconfig_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadKubeconfig, match="there is no kubeconfig at"):
        await Access.from_kubeconfig(tmp_path / "nothing")


@pytest.fixture
def in_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")


@pytest.mark.usefixtures("in_pod")
async def test_service_account_token_follows_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("first")
    (tmp_path / "ca.crt").write_text("a certificate")
    access = await Access.in_cluster(str(tmp_path / "token"), str(tmp_path / "ca.crt"))
    assert access.server == "https://[fd00::1]:443"
    assert await access.headers() == {"Authorization": "Bearer first"}
    (tmp_path / "token").write_text("second\n")
    assert await access.headers() == {"Authorization": "Bearer first"}
    monkeypatch.setattr("service.cluster.access.REFRESH", timedelta(0))
    monkeypatch.setattr("service.cluster.access.RENEW_AT_MOST_EVERY", timedelta(0))
    assert await access.headers() == {"Authorization": "Bearer second"}


async def test_outside_of_a_pod_says_what_to_give() -> None:
    assert "KUBERNETES_SERVICE_HOST" not in os.environ
    with pytest.raises(BadKubeconfig, match="Give --kubeconfig or --embedded"):
        await Access.in_cluster("/nonexistent", "/nonexistent")


@given(st.lists(st.binary(max_size=20)), st.data())
def test_lines_come_out_whole_however_they_arrive(texts: list[bytes], data: st.DataObject) -> None:
    texts = [text.replace(b"\n", b" ").strip() or b"x" for text in texts]
    stream = b"".join(text + b"\n" for text in texts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    lines, found = Lines(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += lines.feed(stream[start:end])
    assert found == texts
