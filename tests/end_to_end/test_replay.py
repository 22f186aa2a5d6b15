"""The delivery log of the service as a process, through the commands: what a hook led to, and that it can be carried out again.

It starts the service, so it takes some seconds.
"""

import json
from typing import Any

import pytest

from service.cli import main
from tests.end_to_end.world import World


def test_a_delivery_is_shown_with_what_followed_and_replayed(village: World, capsys: pytest.CaptureFixture[str]) -> None:
    village.sluice.arguments += ("--keep-bodies=64", "--rate-per-source=3")
    village.sluice.start()
    village.install()
    where = ["--address", f"127.0.0.1:{village.sluice.ports['admin']}", "--state", str(village.sluice.state)]

    def asked(*words: str) -> Any:
        capsys.readouterr()
        assert main(["hook", *words, "--json", *where]) == 0
        out = capsys.readouterr().out
        return json.loads(out) if words[0] == "show" else [json.loads(line) for line in out.splitlines()]

    commit = village.greet("good morning")
    assert village.hook(commit).status == 200
    village.wait_revision(commit, ["shop-production"])
    village.sluice.running.until(lambda: asked("list")[-1]["state"] == "done", seconds=10)
    (first,) = asked("list", "--receiver", asked("receivers")[0]["receiver"])
    shown = asked("show", first["id"])
    assert {target["result"] for target in shown["targets"]} == {"succeeded"}
    assert shown["seconds"] > 0
    assert f"Kustomization/{village.namespace}/shop-production" in {run["object"] for run in shown["followed"]}

    (made,) = asked("replay", first["id"])
    assert (made["replayOf"], made["readAgain"]) == (first["row"], True)
    village.sluice.running.until(lambda: asked("show", made["id"])["state"] == "done", seconds=10)
    again = asked("show", made["id"])
    assert (again["replayOf"], {target["result"] for target in again["targets"]}) == (first["row"], {"unchanged"})
    assert again["receiver"] == first["receiver"]

    path, body = village.hook_path(), json.dumps(village.payload(commit)).encode()
    answers = [village.sluice.hook(path, body, token="guess").status for _ in range(4)]
    assert answers == [400, 400, 400, 429]
    (receiver,) = asked("receivers")
    assert receiver["counts"] == {"stored": 1, "refused": 4}
    assert receiver["missed"] == []
