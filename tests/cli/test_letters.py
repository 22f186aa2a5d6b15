"""`sluice alert list`, `show`, `resend` and `senders` against a real admin port."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from service.alerts.bundles import composed
from service.cli import main
from service.kinds.meta import NOTIFICATION_GROUP, ObjectKey
from service.settings import Address
from service.state import moments
from service.state.held import Held, Hold
from service.state.inbox import Inbox
from service.state.letters import Letters
from service.state.outbox import EventRow, Outbox, OutMessage
from service.state.store import Store
from service.web import letters
from service.web.admin import application, token_file
from service.web.desk import Desk
from service.web.port import Port

SLACK = ObjectKey(group=NOTIFICATION_GROUP, kind="Provider", namespace="apps", name="slack")
ALERT = ObjectKey(group=NOTIFICATION_GROUP, kind="Alert", namespace="apps", name="all")


async def nothing(_kind: str, _namespace: str, _name: str) -> None:
    """No object is known."""


class Scene:
    """One message sent, one dead, one that waits."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.outbox, self.folder = Outbox(store), folder
        app = application(Desk(log=Inbox(store).log), token_file(folder), nothing)
        self.held = Held(store, composed)
        letters.add_routes(app, Letters(store), self.outbox, self.held)
        self.port = Port("admin", app, Address(host="127.0.0.1", port=0))

    async def fill(self) -> None:
        for number, name in enumerate(("sent", "dead", "waiting"), 1):
            await self.outbox.add(EventRow(key=name, json={}))
            payload = {"reason": "HealthCheckFailed", "message": f"the {name} one", "metadata": {"revision": "main@1"}, "severity": "error"}
            message = OutMessage(alert=ALERT, provider=SLACK, payload=json.dumps(payload), object=f"Kustomization/apps/{name}")
            await self.outbox.match(number, [message])
        await self.outbox.sent(1)
        await self.outbox.rejected(2, "Slack answered 404 no_team")

    async def run(self, *words: str) -> int:
        return await asyncio.to_thread(main, ["alert", *words, "--address", str(self.port.address), "--state", str(self.folder)])


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


async def test_lists_oldest_first_and_counts(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    assert await scene.run("list") == 0
    *lines, counts = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[2] for line in lines] == ["sent", "dead", "queued"]
    assert "Slack answered 404 no_team" in lines[1]
    assert counts == "1 wait, 1 sent, 0 folded, 1 given up, 0 events not matched yet"
    assert await scene.run("list", "--dead", "--json") == 0
    assert [each["id"] for each in json.loads(capsys.readouterr().out)["alerts"]] == [2]
    assert await scene.run("list", "--provider", "apps/other") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


async def test_what_is_held_back_is_listed_with_its_reason(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    until = moments.now() + timedelta(hours=1)
    happened = {"involvedObject": {"kind": "Kustomization", "namespace": "apps", "name": "web"}, "reason": "BuildFailed"}
    await scene.outbox.add(EventRow(key="held", json=happened))
    hold = Hold(until=until, bundle="b", why="muted until tomorrow by ann: migration")
    await scene.outbox.match(4, [OutMessage(alert=ALERT, provider=SLACK, payload="{}", object="o", hold=hold)])
    for words, count in (("list",), 1), (("list", "--queued"), 1), (("list", "--dead"), 0), (("list", "--provider", "apps/other"), 0):
        assert await scene.run(*words) == 0
        lines = [each for each in capsys.readouterr().out.splitlines() if each.startswith("held  ")]
        assert len(lines) == count
        assert all("Kustomization/apps/web  BuildFailed  muted until tomorrow by ann: migration" in each for each in lines)


async def test_shows_one_with_its_event(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    assert await scene.run("show", "2") == 0
    out = capsys.readouterr().out
    assert "the dead one" in out
    assert "revision: main@1" in out
    assert await scene.run("show", "77") == 1
    assert "no message 77" in capsys.readouterr().err


async def test_resends_one_or_all_that_are_dead(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    assert await scene.run("resend", "2") == 0
    assert [each.id for each in await scene.outbox.queued()] == [2, 3]
    assert await scene.run("resend", "2") == 1
    await scene.outbox.rejected(3, "refused")
    assert await scene.run("resend", "--dead", "--provider", "apps/other") == 0
    assert await scene.run("resend", "--dead") == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [f"{count} queued again: `sluice alert list --queued`" for count in (0, 1)]
    assert [each.id for each in await scene.outbox.queued()] == [2, 3]
    assert await scene.run("resend") == 1
    assert "name the ID" in capsys.readouterr().err


async def test_senders_say_what_became_of_their_messages(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    assert await scene.run("senders") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[:2] for line in lines] == [
        [f"{kind}/apps/{name}", "1 sent, 1 wait, 1 given up"] for kind, name in (("Alert", "all"), ("Provider", "slack"))
    ]


async def test_wrong_token_or_no_service_is_said(scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await scene.run("list", "--token-file", str(tmp_path / "missing")) == 1
    (tmp_path / "other").write_text("wrong")
    assert await scene.run("list", "--token-file", str(tmp_path / "other")) == 1
    assert "401" in capsys.readouterr().err
