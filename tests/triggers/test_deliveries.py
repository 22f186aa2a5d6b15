"""From the inbox to the queue and back, on a real store: what runs, when a row is done, and what a restart finds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from receivers.contract import Event, ImagePush
from receivers.record import dump
from service.cel import Evaluator
from service.cluster.client import Cluster
from service.cluster.discovery import Discovery
from service.kinds.meta import ObjectKey
from service.reconcile.gate import Gate
from service.reconcile.queue import Trigger
from service.state.deliverylog import LogEntry
from service.state.inbox import Inbox, NewDelivery
from service.state.store import Store
from service.triggers.choosing import Choosing
from service.triggers.deliveries import Deliveries
from service.triggers.graph import Graph
from service.triggers.intake import Stored
from service.triggers.listing import Listing
from service.triggers.requests import Requests
from tests.triggers.kube import Kube
from tests.triggers.scene import key, push, receiver, repository, until

pytestmark = pytest.mark.databases

FLEET, WEB = key("GitRepository", "fleet"), key("Receiver", "web")
RELEASE = "/apis/helm.toolkit.fluxcd.io/v1/namespaces/apps/helmreleases/app"


class Scene:
    """A room of deliveries with what stands around it."""

    def __init__(
        self, store: Store, cluster: Cluster, *objects: dict[str, Any], shadow: bool = False, elected: Gate | None = None, **spec: Any
    ) -> None:
        self.inbox = Inbox(store)
        self.receivers = {("apps", "web"): receiver(**spec)}
        self.graph = Graph(["GitRepository"])
        for each in objects:
            self.graph.seen(key(each["kind"], each["metadata"]["name"]), each)
        self.asked: list[tuple[ObjectKey, Trigger]] = []
        self.gate = Gate("notification")
        self.gate.open()
        discovery, self.evaluator = Discovery(cluster), Evaluator()
        self.requests = Requests(cluster, discovery, gate=self.gate, shadow=shadow)
        self.room = Deliveries(
            inbox=self.inbox,
            choosing=Choosing(
                receivers=self.receivers,
                listing=Listing(self.graph, cluster, discovery),
                evaluator=self.evaluator,
                no_cross_namespace=False,
            ),
            requests=self.requests,
            enqueue=lambda key, trigger: self.asked.append((key, trigger)),
            runs=frozenset(["GitRepository"]),
            elected=elected,
        )
        self.room.is_ready.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.room.run())
            tasks.create_task(self.requests.run())
            yield
            self.room.stop()
            self.requests.stop()
        await self.evaluator.close()

    async def deliver(self, *events: Event, tell: bool = True) -> int:
        """Store a delivery; with `tell` the room hears of it as from the intake."""
        new = NewDelivery(receiver=WEB, sender_type="github", delivery_id="", body_digest="d", events_json=dump(events), trace="t" * 16)
        row = await self.inbox.put(new)
        if tell:
            self.room.stored(Stored(row=row, stored_at=datetime.now(UTC), receiver=WEB, events=events, trace="t" * 16))
        return row

    async def log(self, row: int) -> LogEntry:
        return next(entry for entry in await self.inbox.log.newest() if entry.row == row)

    async def until_done(self, row: int) -> LogEntry:
        async with asyncio.timeout(2):
            while (entry := await self.log(row)).state == "queued":  # noqa: ASYNC110 - the disk tells nobody
                await asyncio.sleep(0.005)
        return entry


async def test_runs_the_target_and_is_done_with_its_outcome(store: Store, cluster: Cluster) -> None:
    scene = Scene(store, cluster, repository())
    async with scene.running():
        row = await scene.deliver(replace(push(), after="a" * 40))
        await until(lambda: bool(scene.asked))
        asked, trigger = scene.asked[0]
        assert (asked, trigger.reason, trigger.delivery, trigger.trace) == (FLEET, "hook", row, "t" * 16)
        assert trigger.hint == "a" * 40
        assert scene.room.is_open(row)
        scene.room.outcome(FLEET, datetime.now(UTC), "succeeded", "stored artifact")
        entry = await scene.until_done(row)
        assert [(target.object, target.state, target.result) for target in entry.targets] == [(FLEET, "reconciled", "succeeded")]
        await until(lambda: not scene.room.is_open(row))


async def test_a_run_that_began_before_the_delivery_does_not_count(store: Store, cluster: Cluster) -> None:
    scene = Scene(store, cluster, repository())
    early = datetime.now(UTC)
    async with scene.running():
        row = await scene.deliver(push())
        await until(lambda: bool(scene.asked))
        scene.room.outcome(FLEET, early - timedelta(seconds=1), "succeeded")
        await asyncio.sleep(0.05)
        assert (await scene.log(row)).state == "queued"
        scene.room.outcome(FLEET, datetime.now(UTC), "failed", "the remote is gone")
        entry = await scene.until_done(row)
        assert entry.targets[0].detail == "the remote is gone"


async def test_waits_for_every_target(store: Store, cluster: Cluster) -> None:
    resources = [{"kind": "GitRepository", "name": "fleet"}, {"kind": "GitRepository", "name": "other"}]
    scene = Scene(store, cluster, repository(), repository("other"), resources=resources)
    async with scene.running():
        row = await scene.deliver(push())
        await until(lambda: len(scene.asked) == 2)
        scene.room.outcome(FLEET, datetime.now(UTC), "succeeded")
        await asyncio.sleep(0.05)
        assert (await scene.log(row)).state == "queued"
        scene.room.gone(key("GitRepository", "other"))
        entry = await scene.until_done(row)
        assert {target.object.name: target.state for target in entry.targets} == {"fleet": "reconciled", "other": "gone"}


async def test_one_run_ends_all_deliveries_that_wait_for_it(store: Store, cluster: Cluster) -> None:
    scene = Scene(store, cluster, repository())
    async with scene.running():
        rows = [await scene.deliver(push()) for _ in range(50)]
        await until(lambda: len(scene.asked) == 50)
        scene.room.outcome(FLEET, datetime.now(UTC), "succeeded")
        for row in rows:
            await scene.until_done(row)


async def test_a_suspended_target_ends_the_delivery_at_once(store: Store, cluster: Cluster) -> None:
    scene = Scene(store, cluster, repository(suspend=True))
    async with scene.running():
        entry = await scene.until_done(await scene.deliver(push()))
    assert [target.state for target in entry.targets] == ["suspended"]
    assert scene.asked == []


async def test_a_restart_takes_up_what_was_pending(store: Store, cluster: Cluster) -> None:
    before = Scene(store, cluster, repository())
    known, unknown = await before.deliver(push(), tell=False), await before.deliver(push(), tell=False)
    async with before.running():
        await until(lambda: len(before.asked) == 2)
    after = Scene(store, cluster, repository())
    async with after.running():
        await until(lambda: len(after.asked) == 2)
        after.room.outcome(FLEET, datetime.now(UTC), "unchanged")
        for row in (known, unknown):
            assert (await after.until_done(row)).state == "done"
    third = Scene(store, cluster, repository())
    async with third.running():
        await asyncio.sleep(0.05)
    assert third.asked == []


async def test_nothing_runs_before_the_caches_are_complete(store: Store, cluster: Cluster) -> None:
    scene = Scene(store, cluster, repository())
    scene.room.is_ready.clear()
    async with scene.running():
        await scene.deliver(push())
        await asyncio.sleep(0.05)
        assert scene.asked == []
        scene.room.is_ready.set()
        await until(lambda: len(scene.asked) == 1)


async def test_what_a_former_process_left_is_counted_before_anything_can_run(store: Store, cluster: Cluster) -> None:
    scene = Scene(store, cluster, repository())
    scene.room.is_ready.clear()
    row = await scene.deliver(push(), tell=False)
    async with scene.running():
        await until(lambda: scene.room.pending == 1)
        assert scene.asked == []
        scene.room.stored(Stored(row=row, stored_at=datetime.now(UTC), receiver=WEB, events=(push(),), trace="t" * 16))
        scene.room.is_ready.set()
        await until(lambda: len(scene.asked) == 1)
        scene.room.outcome(FLEET, datetime.now(UTC), "unchanged")
        await scene.until_done(row)
    assert len(scene.asked) == 1, "told by the intake and found on the disk, it is one delivery"


async def test_a_deleted_receiver_ends_its_deliveries(store: Store, cluster: Cluster) -> None:
    scene = Scene(store, cluster, repository())
    scene.receivers.clear()
    async with scene.running():
        entry = await scene.until_done(await scene.deliver(push()))
    assert (entry.verdict, scene.asked) == ("gone", [])


async def test_a_push_that_nobody_follows_says_so(store: Store, cluster: Cluster) -> None:
    star = {"kind": "GitRepository", "name": "*", "matchLabels": {"team": "shop"}}
    scene = Scene(store, cluster, repository(), resources=[star])
    async with scene.running():
        entry = await scene.until_done(await scene.deliver(push("refs/heads/feature")))
    assert entry.verdict == "nothing"
    assert "1 objects left out" in entry.detail


async def test_other_kinds_get_requested_at(store: Store, kube: Kube, cluster: Cluster) -> None:
    kube.objects[RELEASE] = {"metadata": {"name": "app", "namespace": "apps"}}
    scene = Scene(store, cluster, resources=[{"kind": "HelmRelease", "name": "app"}])
    async with scene.running():
        entry = await scene.until_done(await scene.deliver(push()))
    assert [(target.state, target.result) for target in entry.targets] == [("reconciled", "requested")]
    stamp = kube.objects[RELEASE]["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"]
    assert abs(datetime.fromisoformat(stamp[:26].rstrip("Z") + "+00:00") - datetime.now(UTC)) < timedelta(seconds=5)
    assert stamp.endswith("Z")


async def test_a_star_of_another_kind_is_listed_by_its_labels(store: Store, kube: Kube, cluster: Cluster) -> None:
    kube.objects[RELEASE] = {"metadata": {"name": "app", "namespace": "apps"}}
    star = {"kind": "HelmRelease", "name": "*", "matchLabels": {"team": "shop"}}
    scene = Scene(store, cluster, resources=[star])
    async with scene.running():
        entry = await scene.until_done(await scene.deliver(push()))
    assert [target.object.name for target in entry.targets] == ["app"]


async def test_an_object_that_is_not_there_is_gone(store: Store, cluster: Cluster) -> None:
    scene = Scene(store, cluster)
    async with scene.running():
        entry = await scene.until_done(await scene.deliver(push()))
    assert [target.state for target in entry.targets] == ["gone"]


async def test_requests_wait_while_another_process_holds_the_lease(store: Store, kube: Kube, cluster: Cluster) -> None:
    kube.objects[RELEASE] = {"metadata": {"name": "app", "namespace": "apps"}}
    scene = Scene(store, cluster, resources=[{"kind": "HelmRelease", "name": "app"}])
    scene.gate.shut()
    async with scene.running():
        row = await scene.deliver(push())
        await asyncio.sleep(0.05)
        assert kube.wrote() == []
        scene.gate.open()
        await scene.until_done(row)


async def test_shadow_requests_nothing(store: Store, kube: Kube, cluster: Cluster) -> None:
    scene = Scene(store, cluster, resources=[{"kind": "HelmRelease", "name": "app"}], shadow=True)
    async with scene.running():
        entry = await scene.until_done(await scene.deliver(push()))
    assert kube.wrote() == []
    assert entry.targets[0].result == "shadow"


async def test_an_api_server_that_is_away_delays_and_loses_nothing(store: Store, kube: Kube, cluster: Cluster) -> None:
    kube.objects[RELEASE], kube.away = {"metadata": {"name": "app", "namespace": "apps"}}, True
    star = {"kind": "HelmRelease", "name": "*", "matchLabels": {"team": "shop"}}
    scene = Scene(store, cluster, resources=[star])
    async with scene.running():
        row = await scene.deliver(push())
        await asyncio.sleep(0.1)
        assert (await scene.log(row)).state == "queued"
        kube.away = False
        assert (await scene.until_done(row)).targets[0].result == "requested"


async def test_a_row_that_cannot_be_worked_on_counts_its_failures(store: Store, kube: Kube, cluster: Cluster) -> None:
    kube.refuse["/apis/helm.toolkit.fluxcd.io/v1/namespaces/apps/helmreleases"] = 403
    star = {"kind": "HelmRelease", "name": "*", "matchLabels": {"team": "shop"}}
    scene = Scene(store, cluster, repository(), resources=[star])
    row = await scene.deliver(push(), tell=False)
    for _ in range(9):
        await scene.inbox.failed(row, "earlier")
    async with scene.running():
        entry = await scene.until_done(row)
    assert (entry.state, entry.detail) == ("aside", "Forbidden")
    assert not scene.room.is_open(row)


async def test_an_image_push_asks_for_the_source_that_follows_it_alone(store: Store, kube: Kube, cluster: Cluster) -> None:
    base = "/apis/source.toolkit.fluxcd.io/v1/namespaces/apps/ocirepositories"
    for name, url, tag in (
        ("shop", "oci://ghcr.io/acme/shop", "latest"),
        ("old", "oci://ghcr.io/acme/shop", "1.0"),
        ("cart", "oci://ghcr.io/acme/cart", "latest"),
    ):
        kube.objects[f"{base}/{name}"] = {"metadata": {"name": name, "labels": {"team": "shop"}}, "spec": {"url": url, "ref": {"tag": tag}}}
    star = {"kind": "OCIRepository", "name": "*", "matchLabels": {"team": "shop"}}
    scene = Scene(store, cluster, resources=[star, {"kind": "ImageRepository", "name": "shop"}])
    image = "/apis/image.toolkit.fluxcd.io/v1/namespaces/apps/imagerepositories/shop"
    kube.objects[image] = {"metadata": {"name": "shop"}, "spec": {"image": "ghcr.io/acme/shop"}}
    async with scene.running():
        entry = await scene.until_done(await scene.deliver(ImagePush(names=("ghcr.io/acme/shop",), tag="latest")))
    assert sorted(kube.wrote()) == sorted([f"{base}/shop", image])
    assert {(target.object.name, target.object.kind, target.result) for target in entry.targets} == {
        ("shop", "OCIRepository", "requested"), ("shop", "ImageRepository", "requested"),
    }  # fmt: skip
    assert all("reconcile.fluxcd.io/requestedAt" in each["metadata"]["annotations"] for each in kube.bodies)


async def test_a_replica_that_is_not_elected_tells_and_carries_nothing_out(store: Store, cluster: Cluster) -> None:
    elected, told = Gate("replica"), list[int]()
    scene = Scene(store, cluster, repository(), elected=elected)
    scene.room.tell = told.append
    async with scene.running():
        row = await scene.deliver(push())
        decided: list[str] = []
        new = Stored(row=row, stored_at=datetime.now(UTC), receiver=WEB, events=(push(),), trace="t" * 16, decided=decided.append)
        scene.room.stored(new)
        scene.room.heard(row)
        await asyncio.sleep(0.05)
        assert (told, decided, scene.asked, scene.room.pending) == ([row, row], [""], [], 0)
        elected.open()  # the one before is gone
        await until(lambda: bool(scene.asked))
        scene.room.outcome(FLEET, datetime.now(UTC), "succeeded")
        await scene.until_done(row)


async def test_the_elected_one_carries_out_what_it_hears_of_once(store: Store, cluster: Cluster) -> None:
    scene = Scene(store, cluster, repository())
    async with scene.running():
        await asyncio.sleep(0.05)
        rows = [await scene.deliver(push(), tell=False) for _ in range(3)]
        scene.room.heard(rows[0])
        scene.room.heard(rows[0])
        await until(lambda: len(scene.asked) == 1)
        scene.room.heard()  # all there are
        await until(lambda: len(scene.asked) == 3)
        assert sorted(trigger.delivery or 0 for _, trigger in scene.asked) == rows
        scene.room.outcome(FLEET, datetime.now(UTC), "succeeded")
        for row in rows:
            await scene.until_done(row)
        scene.room.heard(rows[0])  # late
        scene.room.heard(10**6)
        await asyncio.sleep(0.05)
        assert len(scene.asked) == 3


async def test_who_is_not_elected_any_more_puts_everything_down(store: Store, cluster: Cluster) -> None:
    elected = Gate("replica")
    elected.open()
    scene = Scene(store, cluster, repository(), elected=elected)
    async with scene.running():
        await asyncio.sleep(0.05)
        row = await scene.deliver(push())
        await until(lambda: len(scene.asked) == 1)
        elected.shut()
        await until(lambda: scene.room.pending == 0)
        scene.room.outcome(FLEET, datetime.now(UTC), "succeeded")  # not ours to say
        await asyncio.sleep(0.05)
        assert (await scene.log(row)).state == "queued"
        elected.open()
        await until(lambda: len(scene.asked) == 2)
