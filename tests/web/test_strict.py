"""A Receiver that asks for it tells callers that its filter cannot be evaluated, as Flux does; the delivery is kept all the same."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from service.cluster.client import Cluster
from service.state.store import Store
from service.triggers.filters import LONGEST_BODY
from service.triggers.index import webhook_path
from tests.triggers.kube import Kube
from tests.triggers.scene import TOKEN, key, repository
from tests.triggers.test_deliveries import Scene as Room
from tests.web.test_hooks import Scene, serving

JSON = {"Content-Type": "application/json"}
STRICT = {"notification.sluice.dev/filter-errors": "fail"}


@asynccontextmanager
async def whole(store: Store, kube: Kube, cluster: Cluster, annotations: dict[str, str], **spec: Any) -> AsyncIterator[Scene]:
    """The hooks port with the room behind it."""
    room = Room(store, cluster, repository(), type="generic", **spec)
    room.receivers["apps", "web"]["metadata"]["annotations"] = annotations
    async with serving(store, kube, cluster, type="generic", **spec) as scene, room.running():
        scene.cache["apps", "web"]["metadata"]["annotations"] = annotations
        await scene.index.load(key("Receiver", "web"))
        scene.stored = room.room.stored  # type: ignore[method-assign]
        yield scene


async def test_a_caller_is_told_only_where_the_receiver_asks_for_it(store: Store, kube: Kube, cluster: Cluster) -> None:
    for annotations, status in ((STRICT, 500), ({}, 200), ({"notification.sluice.dev/filter-errors": "log"}, 200)):
        async with whole(store, kube, cluster, annotations, resourceFilter="req.ref == 'x'") as scene:
            found, said = await scene.post(b"{}", JSON)
            assert (found, "cannot be evaluated" in said) == (status, status == 500)
            assert (await scene.post(b'{"ref": "y"}', JSON))[0] == 200
    entries = [entry for entry in await scene.inbox.log.newest() if entry.state != "refused"]
    assert len(entries) == 6
    assert all(entry.state != "refused" for entry in await scene.inbox.log.newest())


async def test_bodies_that_filters_read_are_bounded(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with whole(store, kube, cluster, {}, resourceFilter="has(req.a)") as scene:
        body = b'{"a": "' + b"x" * 200_000 + b'"}'
        assert (await scene.post(body, JSON))[0] == 200
        assert (await scene.post(b'{"a": "' + b"x" * LONGEST_BODY + b'"}', JSON))[0] == 413
        assert (await scene.post(b"{", JSON))[0] == 400
        assert (await scene.post(b"{", {"Content-Type": "text/plain"}))[0] == 200


async def test_without_filters_the_body_is_not_kept(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster, type="generic", resourceFilter="res.kind == 'x'") as scene:
        assert (await scene.post(b"not json", JSON, webhook_path(TOKEN, "web", "apps")))[0] == 200
        assert [row.events_json for row in await scene.inbox.pending()] == ["[]"]
