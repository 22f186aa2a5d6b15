"""Bodies that are kept, and deliveries that are carried out again: over HTTP, with a real inbox."""

from datetime import UTC, datetime
from typing import Any

import pytest

from receivers import RECEIVERS
from receivers.contract import BadPayload, Delivery
from receivers.record import dump
from service.cluster.client import Cluster
from service.state.bodies import Bodies, KeptBody
from service.state.deliverylog import Note
from service.state.store import Store
from service.triggers.intake import Stored
from service.triggers.kept import Keeping, NoReplay, Replays
from tests.receivers.recordings import CASES
from tests.triggers.kube import Kube
from tests.triggers.scene import key, push_body, receiver, signed
from tests.web.test_hooks import Scene, serving

WEB = key("Receiver", "web")


class Remembering(Bodies):
    """Notes what it is given; no disk."""

    def __init__(self) -> None:
        self.kept: list[KeptBody] = []

    async def keep(self, row: int, trace: str, kept: KeptBody) -> None:
        self.kept.append(kept)


def replays(scene: Scene) -> Replays:
    return Replays(
        inbox=scene.inbox, bodies=Bodies(scene.store), reading=scene.hooks._intake.reading, index=scene.index, carrier=scene
    )  # fmt: skip


def keep(scene: Scene, most_bytes: int = 10_000) -> Bodies:
    bodies = Bodies(scene.store)
    scene.hooks._intake.keep = Keeping(bodies, most_bytes=most_bytes).keep
    return bodies


async def test_a_replay_is_a_delivery_of_its_own_with_the_same_events(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster) as scene:
        body = push_body()
        await scene.post(body, signed(body, delivery="72d3"))
        first = scene.taken[0]
        for wanted in ("72d3", first.trace, str(first.row)):
            made = await replays(scene).replay(wanted)
            assert (made.read_again, made.row, scene.taken[-1].row) == (False, made.row, made.row)
            assert scene.taken[-1].events == first.events
            assert scene.taken[-1].trace == made.trace != first.trace
        entry = await scene.last()
        assert (entry.replay_of, entry.delivery_id, entry.receiver) == (made.replay_of, "72d3", WEB)
        assert (await scene.post(body, signed(body, delivery="72d3")))[1].startswith("duplicate; ")


async def test_a_kept_body_is_read_again_without_its_secrets(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster) as scene:
        bodies, body = keep(scene), push_body()
        await scene.post(body, signed(body) | {"Authorization": "Bearer secret", "Cookie": "a=secret"})
        first = scene.taken[0]
        kept = await bodies.of(first.row, first.trace)
        assert kept is not None
        assert kept.body == body
        assert dict(kept.headers) == {"content-type": "application/json", "x-github-event": "push"}
        made = await replays(scene).replay(first.trace)
        assert made.read_again
        assert scene.taken[-1].events == first.events


@pytest.mark.parametrize("body", [push_body(padding=20_000), push_body().replace(b'"padding": ""', b'"secret": "a-shared-secret"')])
async def test_no_body_is_kept_that_is_large_or_holds_the_token(store: Store, kube: Kube, cluster: Cluster, body: bytes) -> None:
    async with serving(store, kube, cluster) as scene:
        bodies = keep(scene)
        assert (await scene.post(body))[0] == 200
        assert await bodies.of(scene.taken[0].row, scene.taken[0].trace) is None


async def test_what_was_not_stored_cannot_be_replayed(store: Store, kube: Kube, cluster: Cluster) -> None:
    async with serving(store, kube, cluster) as scene:
        await scene.inbox.log.note(Note(state="refused", reason="BadRequest", detail="", trace="t" * 16))
        for wanted, said in (("t" * 16, "it was refused"), ("unknown", "no such delivery")):
            with pytest.raises(NoReplay, match=said):
                await replays(scene).replay(wanted)
        await scene.post(push_body())
        scene.cache["apps", "web"] = receiver(suspend=True)
        await scene.index.load(WEB)
        with pytest.raises(NoReplay, match=r"spec\.suspend"):
            await replays(scene).replay("1")
        del scene.cache["apps", "web"]
        await scene.index.load(WEB)
        with pytest.raises(NoReplay, match="is not there"):
            await replays(scene).replay("1")


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_what_is_kept_of_a_recording_reads_the_same(case: Any) -> None:
    """The headers that are kept are all that the readers need, and none of them can hold a secret."""
    sender, bodies = RECEIVERS[case.type], Remembering()
    stored = Stored(row=1, stored_at=datetime.now(UTC), receiver=WEB, events=(), trace="t")
    await Keeping(bodies, most_bytes=10_000_000).keep(stored, case.headers, [case.body], tokens=[])
    (kept,) = bodies.kept
    assert not {"authorization", "cookie", "x-api-key", "x-gitlab-token", "x-jfrog-event-auth"} & set(kept.headers)
    assert not any("signature" in name for name in kept.headers)
    try:
        expected = dump(sender.read(Delivery(headers=case.headers, body=case.body)))
    except BadPayload:
        return
    assert dump(sender.read(Delivery(headers=kept.headers, body=kept.body))) == expected
