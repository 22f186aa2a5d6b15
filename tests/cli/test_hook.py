"""`sluice hook`, offline and against a real admin port."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from receivers.guide import render
from service.cli import main
from service.kinds.meta import NOTIFICATION_GROUP, ObjectKey
from service.settings import Address
from service.state.deliverylog import Note, TargetState
from service.state.inbox import Inbox, NewDelivery
from service.state.store import Store
from service.triggers.kept import NoReplay, Replayed
from service.web.admin import application, token_file
from service.web.desk import Desk
from service.web.port import Port
from tests.receivers.recordings import CASES

WEB = ObjectKey(group=NOTIFICATION_GROUP, kind="Receiver", namespace="apps", name="web")
FLEET = ObjectKey(group="source.toolkit.fluxcd.io", kind="GitRepository", namespace="apps", name="fleet")


async def nothing(_kind: str, _namespace: str, _name: str) -> None:
    """No object is known."""


async def replay(wanted: str) -> Replayed:
    if wanted != "72d3":
        raise NoReplay("no such delivery in the log")
    return Replayed(row=2, trace="3" * 16, replay_of=1, read_again=False)


def followed(_trace: str) -> list[dict[str, object]]:
    return [
        {"object": "GitRepository/apps/fleet", "result": "gone", "seconds": 0.01},
        {"object": "Kustomization/apps/shop", "result": "failed", "seconds": 0.5, "message": "build failed"},
    ]


def seen() -> list[dict[str, object]]:
    missed = {"source": "GitRepository/apps/fleet", "count": 2, "revision": "main@sha1:" + "2" * 40, "at": "2026-11-21T12:00:00+00:00"}
    host = {"problems": {"acme/fleet": "the webhook is switched off"}, "askedAgain": 3}
    times = {"at": "2026-11-21T12:00:00.000+00:00", "refusedAt": "2026-11-21T12:00:00.000+00:00"}
    return [
        {
            "receiver": "apps/web",
            "counts": {"stored": 2, "refused": 1},
            "refusal": "the signature does not fit",
            "missed": [missed],
            "host": host,
            **times,
        },
        {"receiver": "apps/quiet", "counts": {}, "refusal": "", "at": None, "refusedAt": None, "missed": [], "host": {}},
    ]


class Scene:
    """A served delivery log with one accepted and one refused delivery."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.inbox, self.folder = Inbox(store), folder
        desk = Desk(log=self.inbox.log, replay=replay, followed=followed, receivers=seen)
        self.port = Port("admin", application(desk, token_file(folder), nothing), Address(host="127.0.0.1", port=0))

    async def fill(self) -> None:
        new = NewDelivery(receiver=WEB, sender_type="gitlab", delivery_id="72d3", body_digest="d", events_json="[]", trace="1" * 16)
        row = await self.inbox.put(new)
        await self.inbox.targets(row, [TargetState(object=FLEET, state="gone", result="gone", detail="it is not there")])
        await self.inbox.log.note(
            Note(
                state="refused",
                receiver=None,
                sender_type="",
                delivery_id="",
                reason="UnknownPath",
                detail="no Receiver has this path",
                trace="2" * 16,
            )
        )

    async def run(self, *words: str) -> int:
        return await asyncio.to_thread(main, ["hook", *words, "--address", str(self.port.address), "--state", str(self.folder)])


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    store = Store.open(tmp_path / "store")
    made = Scene(store, tmp_path)
    await made.port.start()
    await made.fill()
    yield made
    made.port.stop()
    await made.port.run()
    await store.close()


async def test_lists_oldest_first_with_the_reason(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    assert await scene.run("list") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "apps/web  gitlab  done" in first
    assert "1 objects" in first
    assert second.endswith("refused  no Receiver has this path")


@pytest.mark.parametrize(("receiver", "lines"), [("web", 1), ("apps/web", 1), ("eb", 0), ("else/web", 0)])
async def test_lists_one_receiver(scene: Scene, capsys: pytest.CaptureFixture[str], receiver: str, lines: int) -> None:
    assert await scene.run("list", "--receiver", receiver, "--json") == 0
    assert len(capsys.readouterr().out.splitlines()) == lines


async def test_shows_one_with_its_targets(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    assert await scene.run("show", "72d3") == 0
    assert "GitRepository/apps/fleet  gone  gone  it is not there" in capsys.readouterr().out
    assert await scene.run("show", "2" * 16, "--json") == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "UnknownPath"


async def test_says_what_is_wrong_when_nothing_can_be_shown(scene: Scene, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert await scene.run("show", "no/such") == 1
    assert "no such delivery" in capsys.readouterr().err
    (tmp_path / "other").write_text("guess")
    assert await scene.run("list", "--token-file", str(tmp_path / "other")) == 1
    assert "401" in capsys.readouterr().err
    assert await asyncio.to_thread(main, ["hook", "list", "--state", str(tmp_path / "none")]) == 1
    assert "no admin token in" in capsys.readouterr().err
    assert await asyncio.to_thread(main, ["hook", "list", "--state", str(tmp_path), "--address", "127.0.0.1:1"]) == 1
    assert "is the service running" in capsys.readouterr().err


def checked(folder: Path, token: bytes, type_: str = "gitlab") -> int:
    case = next(case for case in CASES if case.type == "gitlab" and case.folder.name == "push__branch")
    (folder / "token").write_bytes(token)
    files = ["--headers", str(case.folder / "headers.json"), "--body", str(case.folder / "body"), "--token-file", str(folder / "token")]
    return main(["hook", "check", "--type", type_, *files])


def test_prints_what_a_recorded_delivery_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(tmp_path, b"a-shared-secret") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["verdict"], told["event"], told["events"][0]["ref"]) == ("stored", "Push Hook", "refs/heads/master")


def test_prints_why_a_recorded_delivery_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(tmp_path, b"a-shared-secret\n") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "refused"
    assert "line break" in told["hint"]
    assert "a-shared-secret" not in json.dumps(told)
    assert checked(tmp_path, b"x", type_="from-the-future") == 1
    assert "not carried out" in capsys.readouterr().err


def test_prints_the_guide(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hook", "types"]) == 0
    assert capsys.readouterr().out == render()


async def test_shows_the_runs_that_followed_and_how_long_they_took(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    assert await scene.run("show", "72d3") == 0
    out = capsys.readouterr().out
    assert "then Kustomization/apps/shop  failed  0.500 s  build failed" in out
    assert out.count("GitRepository/apps/fleet") == 1


async def test_replays_and_says_of_what(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    assert await scene.run("replay", "72d3") == 0
    assert capsys.readouterr().out.startswith(f"{'3' * 16}  replays 1 from its events")
    assert await scene.run("replay", "72d3", "--json") == 0
    assert json.loads(capsys.readouterr().out)["replayOf"] == 1
    assert await scene.run("replay", "other") == 1
    assert "no such delivery in the log" in capsys.readouterr().err


async def test_says_what_receivers_saw_last(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    assert await scene.run("receivers") == 0
    first, problem, again, missed, second = capsys.readouterr().out.splitlines()
    assert problem == "  acme/fleet  the webhook is switched off"
    assert again == "  3 deliveries asked for again at the host"
    assert missed.startswith("  GitRepository/apps/fleet  2 found by interval, not by hook  last 2026")
    assert first.startswith("apps/web  1 refused, 2 stored  last 2026-11-21T12:00:00.000+00:00  last refusal")
    assert second == "apps/quiet  nothing yet"
    assert await scene.run("receivers", "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["counts"] == {"stored": 2, "refused": 1}
