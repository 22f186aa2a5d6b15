"""An Alert is muted while a push comes: nothing is lost or silent about it, on both API servers, with the service as a process."""

import json
import subprocess
import sys
from typing import Any

from tests.end_to_end.kubernetes import condition
from tests.end_to_end.test_why import why
from tests.end_to_end.world import World


def alert(town: World, *words: str) -> str:
    """`sluice alert ...`, as a person types it."""
    reads = [f"--address=127.0.0.1:{town.sluice.ports['admin']}", f"--state={town.sluice.state}"]
    changes = ["-n", town.namespace, f"--kubeconfig={town.kube.kubeconfig}"]
    command = [sys.executable, "-m", "service", "alert", *words, *(reads if words[0] == "list" else changes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_a_mute_holds_is_seen_everywhere_and_told_in_the_end(town: World) -> None:
    """About ten seconds, for the processes."""
    town.sluice.start()
    town.install()
    alert(town, "mute", "everything", "--for", "1h", "--by", "ann", "--reason", "migration")
    town.kube.wait("Alert", town.namespace, "everything", lambda seen: condition(seen, "Muted").get("status") == "True")
    commit = town.greet("good night")
    assert town.hook(commit).status == 200
    town.wait_greeting("good night")
    town.sluice.wait_log(lambda lines: any("by ann: migration" in str(line.get("why")) for line in lines))

    def held() -> list[Any]:
        return [each for each in why(town, "ks/shop-production")[1].get("alerts", []) if each["state"] == "held"]

    assert "by ann: migration" in json.dumps(held())
    listed = alert(town, "list")
    assert f"Kustomization/{town.namespace}/shop-production" in listed
    assert "by ann: migration" in listed
    assert town.slack.about("good night") == town.slack.about(commit[:8]) == []

    alert(town, "unmute", "everything")
    town.slack.wait_about(commit[:8])
    town.kube.wait("Alert", town.namespace, "everything", lambda seen: not condition(seen, "Muted"))
    assert held() == []
