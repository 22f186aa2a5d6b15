"""Paths and tokens: when a Secret is read, and what happens when it cannot be."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from service.cluster.client import ApiAway, ApiError, Cluster
from service.kinds.codec import Invalid
from service.triggers import index as index_module
from service.triggers.credentials import NoToken
from service.triggers.index import ReceiverIndex, webhook_path
from tests.triggers.kube import Kube
from tests.triggers.scene import SECRET_PATH, TOKEN, added, deleted, key, receiver, secret, until

WEB = key("Receiver", "web")
PATH = webhook_path(TOKEN, "web", "apps")


@asynccontextmanager
async def running(index: ReceiverIndex) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(index.run())
        yield
        index.stop()


async def settled(index: ReceiverIndex) -> None:
    await until(lambda: index.is_complete)


def made(cluster: Cluster, *objects: dict[str, object]) -> ReceiverIndex:
    return ReceiverIndex(cluster, {(o["metadata"]["namespace"], o["metadata"]["name"]): o for o in objects})  # type: ignore[index]


def test_the_path_is_flux_own() -> None:
    digest = hashlib.sha256(b"a-shared-secret" + b"web" + b"apps").hexdigest()
    assert PATH.split("/") == ["", "hook", digest]


async def test_finds_a_receiver_after_its_secret_was_read(kube: Kube, cluster: Cluster) -> None:
    kube.objects[SECRET_PATH] = secret()
    index = made(cluster, receiver())
    index.seen(added(receiver()))
    assert not index.is_complete
    async with running(index):
        await settled(index)
        entry = index.find(PATH)
    assert entry is not None
    assert (entry.key, entry.held.current.token, entry.problem) == (WEB, TOKEN, "")
    assert index.find(PATH.replace("a", "b")) is None
    assert "shared" not in repr(entry)
    assert PATH not in repr(entry)


async def test_a_status_write_reads_no_secret(kube: Kube, cluster: Cluster) -> None:
    kube.objects[SECRET_PATH] = secret()
    index = made(cluster, receiver())
    index.seen(added(receiver()))
    async with running(index):
        await settled(index)
        index.seen(added({**receiver(), "status": {"webhookPath": PATH}}, receiver()))
        await asyncio.sleep(0.02)
    assert kube.calls == [("GET", SECRET_PATH)]


async def test_a_status_write_of_a_receiver_without_a_token_reads_no_secret_either(kube: Kube, cluster: Cluster) -> None:
    index = made(cluster, receiver())
    index.seen(added(receiver()))
    async with running(index):
        await settled(index)
        asked = len(kube.calls)
        index.seen(added({**receiver(), "status": {"observedGeneration": 1}}, receiver()))
        await asyncio.sleep(0.05)
        assert (len(kube.calls), index.is_complete) == (asked, True)
        kube.objects[SECRET_PATH] = secret()
        await index.load(WEB)
    assert index.find(PATH) is not None


async def test_a_deleted_receiver_has_no_path(kube: Kube, cluster: Cluster) -> None:
    kube.objects[SECRET_PATH] = secret()
    index = made(cluster, receiver())
    await index.load(WEB)
    index.seen(deleted(receiver()))
    assert index.find(PATH) is None


async def test_a_watched_secret_that_changes_moves_the_path(kube: Kube, cluster: Cluster) -> None:
    kube.objects[SECRET_PATH] = secret()
    index = made(cluster, receiver())
    index.seen(added(receiver()))
    async with running(index):
        await settled(index)
        kube.objects[SECRET_PATH] = secret(b"new")
        assert index.secret_seen(added(secret(b"new"))) == (WEB,)
        await until(lambda: index.find(webhook_path(b"new", "web", "apps")) is not None)
    assert index.find(PATH) is None


@pytest.mark.parametrize("found", [None, secret(None), secret(b""), {"data": {"token": "*not base64*"}}])
async def test_without_a_token_there_is_no_path(kube: Kube, cluster: Cluster, found: dict[str, object] | None) -> None:
    kube.objects[SECRET_PATH] = secret()
    index = made(cluster, receiver())
    await index.load(WEB)
    kube.objects.pop(SECRET_PATH)
    if found is not None:
        kube.objects[SECRET_PATH] = found
    with pytest.raises(NoToken, match="Secret apps/token"):
        await index.load(WEB)
    assert index.find(PATH) is None


async def test_the_old_path_stays_while_the_api_server_is_away(kube: Kube, cluster: Cluster) -> None:
    kube.objects[SECRET_PATH] = secret()
    index = made(cluster, receiver())
    await index.load(WEB)
    kube.away = True
    with pytest.raises(ApiAway):
        await index.load(WEB)
    kube.away = False
    kube.refuse[SECRET_PATH] = 403
    with pytest.raises(ApiError):
        await index.load(WEB)
    assert index.find(PATH) is not None


async def test_is_complete_only_once_the_api_server_has_answered(kube: Kube, cluster: Cluster) -> None:
    kube.objects[SECRET_PATH], kube.away = secret(), True
    index = made(cluster, receiver())
    index.seen(added(receiver()))
    async with running(index):
        await asyncio.sleep(0.05)
        assert not index.is_complete
        kube.away = False
        await settled(index)
        assert index.find(PATH) is not None


async def test_a_mismatch_reads_the_secret_once_and_then_not_for_a_while(kube: Kube, cluster: Cluster) -> None:
    kube.objects[SECRET_PATH] = secret()
    index = made(cluster, receiver())
    entry = await index.load(WEB)
    assert entry is not None
    kube.objects[SECRET_PATH] = secret(b"new")
    newer = await index.refreshed(entry)
    assert newer is not None
    assert newer.held.current.token == b"new"
    asked = len(kube.calls)
    assert await index.refreshed(newer) is None
    assert len(kube.calls) == asked


async def test_what_is_not_carried_out_is_named(kube: Kube, cluster: Cluster) -> None:
    kube.objects[SECRET_PATH] = secret()
    entry = await made(cluster, receiver(fromTheFuture="true")).load(WEB)
    assert entry is not None
    assert "spec.fromTheFuture" in entry.problem
    other = await made(cluster, receiver(type="github-enterprise")).load(WEB)
    assert other is not None
    assert "spec.type" in other.problem
    filtered = await made(cluster, receiver(resourceFilter="req.")).load(WEB)
    assert filtered is not None
    assert "failed to parse the CEL expression" in filtered.problem


async def test_an_object_of_another_shape_has_no_path(kube: Kube, cluster: Cluster) -> None:
    index = made(cluster, {**receiver(), "spec": {"type": 3}})
    index.seen(added({**receiver(), "spec": {"type": 3}}))
    with pytest.raises(Invalid):
        await index.load(WEB)
    assert index.is_complete


async def test_what_is_known_is_served_while_the_api_is_away_for_five_minutes(
    kube: Kube, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In virtual time: the token is asked for at each interval, in vain, and the one that was read counts on."""
    seconds = 1000.0
    monkeypatch.setattr(index_module, "_now", lambda: seconds)
    kube.objects[SECRET_PATH] = secret()
    index = ReceiverIndex(cluster, {("apps", "web"): receiver(interval="30s")})
    await index.load(WEB)
    kube.away = True
    async with running(index):
        for _ in range(10):
            seconds += 31
            entry = index.find(PATH)
            assert entry is not None
            assert entry.held.current.token == TOKEN
            await until(lambda: not index._dirty)
        kube.away = False
        kube.objects[SECRET_PATH] = secret(b"new")
        await until(lambda: index.find(PATH) is None)
    assert index.find(webhook_path(b"new", "web", "apps")) is not None
