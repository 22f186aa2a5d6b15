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
from service.state.inbox import Inbox, NewDelivery, TargetState
from service.state.store import Store
from service.web.admin import application, token_file
from service.web.port import Port
from tests.receivers.recordings import CASES

WEB = ObjectKey(group=NOTIFICATION_GROUP, kind="Receiver", namespace="apps", name="web")
FLEET = ObjectKey(group="source.toolkit.fluxcd.io", kind="GitRepository", namespace="apps", name="fleet")


async def nothing(_kind: str, _namespace: str, _name: str) -> None:
    """No object is known."""


class Scene:
    """A served delivery log with one accepted and one refused delivery."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.inbox, self.folder = Inbox(store), folder
        self.port = Port("admin", application(self.inbox, token_file(folder), nothing), Address(host="127.0.0.1", port=0))

    async def fill(self) -> None:
        new = NewDelivery(receiver=WEB, sender_type="gitlab", delivery_id="72d3", body_digest="d", events_json="[]", trace="1" * 16)
        row = await self.inbox.put(new)
        await self.inbox.targets(row, [TargetState(object=FLEET, state="gone", result="gone", detail="it is not there")])
        await self.inbox.refused(
            receiver=None, sender_type="", delivery_id="", reason="UnknownPath", detail="no Receiver has this path", trace="2" * 16
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
    assert "404" in capsys.readouterr().err
    (tmp_path / "other").write_text("guess")
    assert await scene.run("list", "--token-file", str(tmp_path / "other")) == 1
    assert "401" in capsys.readouterr().err
    assert await asyncio.to_thread(main, ["hook", "list", "--state", str(tmp_path / "none")]) == 1
    assert "cannot be read" in capsys.readouterr().err
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
