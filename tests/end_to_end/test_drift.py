"""Drift, by the service as a process: undone within a second and told, or, where it may not watch, said so. Starts the service itself."""

import time
from pathlib import Path

import pytest

from tests.end_to_end.world import world

WATCHING = {"SLUICE_DRIFT": "watch"}


def test_what_is_changed_by_hand_is_undone_and_slack_knows_who(kubeconfig: Path, tmp_path: Path, namespace_name: str) -> None:
    with world(tmp_path, kubeconfig, namespace_name) as town:
        town.sluice.start(environment=WATCHING)
        town.install()
        time.sleep(1)  # until the watches stand
        target = f"{town.namespace}-production"
        began = time.monotonic()
        town.kube.patch("ConfigMap", target, "shop-settings", {"data": {"greeting": "changed by hand"}})
        town.wait_greeting("hello")
        assert time.monotonic() - began < 1
        message = town.slack.wait_about("shop-production", "drifted: data.greeting")
        assert f"ConfigMap/{target}/shop-settings drifted" in message.text
        assert town.failures() == []


@pytest.mark.real
def test_what_may_not_be_watched_is_said_once_for_each_kind(real_kubeconfig: Path, tmp_path: Path, namespace_name: str) -> None:
    with world(tmp_path, real_kubeconfig, namespace_name, with_rbac=True) as town:
        town.sluice.start(environment=WATCHING)
        town.install()
        for kind, plural in (("Service", "services"), ("Deployment", "deployments")):
            words = f"drift of kind {kind} is seen at the interval only"
            message = town.slack.wait_about(words)
            assert f'cannot list resource "{plural}"' in message.text
            time.sleep(0.2)
            assert len(town.slack.about(words)) == 1
