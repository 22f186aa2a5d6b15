"""The port for the person who runs it: who gets in, and what the delivery log says."""

import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from service.cluster.client import ApiAway
from service.settings import Address
from service.state.deliverylog import Note, TargetState
from service.state.errors import StateUnwritable
from service.state.inbox import Inbox, NewDelivery
from service.state.store import Store
from service.triggers.kept import NoReplay, Replayed
from service.web.admin import application, token_file
from service.web.desk import Desk
from service.web.port import Port
from tests.triggers.scene import key

WEB = key("Receiver", "web")
FOUND = {
    key("Kustomization", name): {"object": f"Kustomization/x/{name}", "changes": changes, "problem": problem}
    for name, changes, problem in (("a", [], ""), ("b", ["ConfigMap/x/y created"], ""), ("c", [], "BuildFailed: no"))
}


async def why(kind: str, namespace: str, name: str) -> dict[str, str] | None:
    if kind == "away":
        raise ApiAway("refused")
    return {"object": f"{kind}/{namespace}/{name}"} if name == "shop" else None


async def replay(wanted: str) -> Replayed:
    match wanted:
        case "bad":
            raise NoReplay("it was refused")
        case "full":
            raise StateUnwritable("the disk is full")
        case _:
            return Replayed(row=2, trace="t" * 16, replay_of=1, read_again=True)


def followed(_trace: str) -> list[dict[str, object]]:
    return [{"object": "Kustomization/apps/shop", "result": "succeeded", "seconds": 0.5}]


class Scene:
    def __init__(self, store: Store, token: str) -> None:
        self.inbox = Inbox(store)
        self.token = token
        desk = Desk(
            log=self.inbox.log,
            replay=replay,
            followed=followed,
            receivers=lambda: [{"receiver": "apps/web", "counts": {"stored": 1}}],
        )
        self.port = Port("admin", application(desk, token, why, lambda: FOUND), Address(host="127.0.0.1", port=0))
        self.session = aiohttp.ClientSession()

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.token}", **headers}
        async with self.session.get(f"http://{self.port.address}{path}", headers=headers) as answer:
            return answer.status, await answer.json() if answer.content_type == "application/json" else await answer.text()


@pytest.fixture
async def scene(store: Store, tmp_path: Path) -> AsyncIterator[Scene]:
    made = Scene(store, token_file(tmp_path))
    await made.port.start()
    yield made
    await made.session.close()
    made.port.stop()
    await made.port.run()


def test_the_token_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    token = token_file(tmp_path)
    path = tmp_path / "admin.token"
    assert len(token) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    assert token_file(tmp_path) == token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("")
    assert token_file(tmp_path) != token


@pytest.mark.parametrize("given", ["", "Bearer ", "Bearer guess", "Basic eDp5", "Bearer é"])
async def test_without_the_token_nobody_gets_in(scene: Scene, given: str) -> None:
    status, words = await scene.get("/deliveries", Authorization=given)
    assert status == 401
    assert scene.token not in words


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9440", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1:9440", "", "["]
)
async def test_a_name_that_someone_points_here_is_refused(scene: Scene, host: str) -> None:
    assert (await scene.get("/deliveries", Host=host))[0] == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9440", "127.0.0.1:1", "[::1]:9440", "[::1]"])
async def test_loopback_in_all_forms_is_fine(scene: Scene, host: str) -> None:
    assert (await scene.get("/deliveries", Host=host))[0] == 200


async def test_shows_what_was_accepted_and_what_was_refused(scene: Scene) -> None:
    new = NewDelivery(receiver=WEB, sender_type="github", delivery_id="72d3", body_digest="d", events_json="[]", trace="1" * 16)
    row = await scene.inbox.put(new)
    await scene.inbox.done(row, "nothing", "no object is meant")
    await scene.inbox.log.note(
        Note(state="refused", receiver=None, sender_type="", delivery_id="", reason="UnknownPath", detail="no Receiver", trace="2" * 16)
    )
    status, found = await scene.get("/deliveries")
    assert status == 200
    assert [(each["state"], each["verdict"]) for each in found["deliveries"]] == [("refused", "UnknownPath"), ("done", "nothing")]
    assert len((await scene.get("/deliveries?limit=1"))[1]["deliveries"]) == 1
    for by in (str(row), "1" * 16, "72d3"):
        assert (await scene.get(f"/deliveries/{by}"))[1]["detail"] == "no object is meant"
    assert (await scene.get(f"/deliveries/{'2' * 16}"))[1]["receiver"] is None
    assert (await scene.get("/deliveries/none"))[0] == 404
    assert (await scene.get("/deliveries?limit=x"))[0] == 200
    assert (await scene.get("/deliveries?limit=-1"))[0] == 200


async def test_asks_why_and_says_what_cannot_be_said(scene: Scene) -> None:
    assert await scene.get("/why/ks/apps/shop") == (200, {"object": "ks/apps/shop"})
    status, found = await scene.get("/why/ks/apps/other")
    assert status == 404
    assert "ks/apps/other: not found" in found["error"]
    status, found = await scene.get("/why/away/apps/shop")
    assert status == 502
    assert "refused" in found["error"]


async def test_what_shadow_mode_found_has_differences_first(scene: Scene) -> None:
    status, body = await scene.get("/shadow")
    assert status == 200
    assert [each["object"] for each in body["objects"]] == ["Kustomization/x/b", "Kustomization/x/c", "Kustomization/x/a"]


async def test_looks_at_one_receiver_and_shows_how_long_things_took(scene: Scene) -> None:
    for name in ("web", "other"):
        new = NewDelivery(
            receiver=key("Receiver", name), sender_type="github", delivery_id="", body_digest="d", events_json="[]", trace=name
        )
        row = await scene.inbox.put(new)
        await scene.inbox.targets(row, [TargetState(object=key("GitRepository", "fleet"), state="waiting")])
    fleet = TargetState(object=key("GitRepository", "fleet"), state="reconciled", result="failed", detail="the remote is gone")
    await scene.inbox.settle(fleet, began_at=datetime.now(UTC))
    for asked, names in (("", ["other", "web"]), ("web", ["web"]), ("apps/other", ["other"]), ("eb", []), ("else/web", [])):
        found = (await scene.get(f"/deliveries?receiver={asked}"))[1]["deliveries"]
        assert [each["id"] for each in found] == names
    (target,) = (await scene.get("/deliveries/web"))[1]["targets"]
    assert (target["result"], target["detail"], target["seconds"] >= 0) == ("failed", "the remote is gone", True)
    shown = (await scene.get("/deliveries/web"))[1]
    assert shown["seconds"] >= target["seconds"]
    assert shown["followed"] == [{"object": "Kustomization/apps/shop", "result": "succeeded", "seconds": 0.5}]


async def test_carries_out_again_what_can_be(scene: Scene) -> None:
    headers = {"Authorization": f"Bearer {scene.token}"}
    for wanted, status, said in (("good", 202, "readAgain"), ("bad", 409, "it was refused"), ("full", 503, "the disk is full")):
        async with scene.session.post(f"http://{scene.port.address}/deliveries/{wanted}/replay", headers=headers) as answer:
            assert answer.status == status
            assert said in await answer.text()
    async with scene.session.post(f"http://{scene.port.address}/deliveries/good/replay") as answer:
        assert answer.status == 401
    async with scene.session.get(f"http://{scene.port.address}/deliveries/good/replay", headers=headers) as answer:
        assert answer.status == 405


async def test_says_what_each_receiver_saw_last(scene: Scene) -> None:
    assert (await scene.get("/receivers"))[1] == {"receivers": [{"receiver": "apps/web", "counts": {"stored": 1}}]}
