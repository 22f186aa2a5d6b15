"""Commit statuses and comments on a real Gitea, alarms in a real Alertmanager: what our requests do there."""

import base64
import json
import socket
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_string, policy
from pathlib import Path
from typing import Any

import pytest

from providers import PROVIDERS
from providers.contract import Busy, Event, Rejected, Secret, Target
from service.alerts.route import Route
from service.alerts.sending import open_wire, send
from service.kinds.notification import ProviderSpec
from service.outbound import Outbound, Policy
from tests.peers.binaries import binary
from tests.peers.gitea import USER, Gitea
from tests.peers.process import Running, free_port
from tests.providers.conftest import event_of

pytestmark = pytest.mark.real
BASE = {
    "kind": "Kustomization", "namespace": "apps", "name": "web", "uid": "8d1f2d0e", "controller": "kustomize-controller",
    "timestamp": (datetime.now(UTC) - timedelta(minutes=1)).isoformat(),
}  # fmt: skip
FAILED = {"severity": "error", "reason": "HealthCheckFailed", "message": "Deployment/web/web: @tester ``` /close <b>x</b>"}
RECOVERED = {"severity": "info", "reason": "ReconciliationSucceeded", "message": "Reconciliation finished in 33ms"}


def told(body: dict[str, str], **metadata: str) -> Event:
    return event_of(BASE | body | {"metadata": metadata})


async def tell(type_: str, event: Event, target: Target) -> None:
    async with open_wire(Outbound(Policy(loopback=True))) as wire:
        await send(wire, PROVIDERS[type_], event, route=Route(target=target), timeout=ProviderSpec(type=type_).timeout)


@pytest.fixture(scope="module")
def gitea(peers: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gitea]:
    peers.need("gitea")
    with Gitea(tmp_path_factory.mktemp("gitea")) as host:
        yield host


@pytest.fixture(scope="module")
def fleet(gitea: Gitea) -> tuple[Target, str]:
    """A repository with a commit and the pull request 1."""
    gitea.make_repository("fleet")
    content = {"content": base64.b64encode(b"a").decode(), "message": "Start"}
    commit = gitea.api("POST", f"/repos/{USER}/fleet/contents/a", content)["commit"]["sha"]
    gitea.api("POST", f"/repos/{USER}/fleet/contents/b", content | {"branch": "main", "new_branch": "change"})
    gitea.api("POST", f"/repos/{USER}/fleet/pulls", {"head": "change", "base": "main", "title": "Change"})
    scopes = {"name": "sluice", "scopes": ["write:repository", "write:issue", "read:user"]}
    token = gitea.api("POST", f"/users/{USER}/tokens", scopes)["sha1"]
    return Target(address=Secret(f"{gitea.url}/{USER}/fleet.git"), token=Secret(token), uid="5c1b9b0e-1"), commit


async def test_commit_status_follows_the_object_and_is_not_repeated(gitea: Gitea, fleet: tuple[Target, str]) -> None:
    target, commit = fleet
    for body in (FAILED, FAILED, RECOVERED, RECOVERED, FAILED):
        await tell("gitea", told(body, revision=f"main@sha1:{commit}"), target)
    statuses = sorted(gitea.api("GET", f"/repos/{USER}/fleet/commits/{commit}/statuses"), key=lambda each: -int(each["id"]))
    assert [each["status"] for each in statuses] == ["failure", "success", "failure"]
    assert {each["context"] for each in statuses} == {"kustomization/web/5c1b9b0e"}
    assert statuses[0]["description"] == "health check failed"


async def test_commit_that_is_not_there_is_refused(fleet: tuple[Target, str]) -> None:
    with pytest.raises((Rejected, Busy)):
        await tell("gitea", told(FAILED, revision="main@sha1:" + "0" * 40), fleet[0])


async def test_comment_is_made_once_and_then_edited(gitea: Gitea, fleet: tuple[Target, str]) -> None:
    for body in (FAILED, RECOVERED, FAILED):
        await tell("giteapullrequestcomment", told(body, change_request="1"), fleet[0])
    [comment] = gitea.api("GET", f"/repos/{USER}/fleet/issues/1/comments")
    assert "Deployment/web/web" in comment["body"]
    assert comment["user"]["login"] == USER
    assert gitea.api("GET", f"/repos/{USER}/fleet/issues/1")["state"] == "open"


@pytest.fixture
def alertmanager(peers: Any, tmp_path: Path) -> Iterator[str]:
    peers.need("alertmanager")
    port, conf = free_port(), tmp_path / "conf.yml"
    conf.write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    options = [f"--config.file={conf}", f"--storage.path={tmp_path}", f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    with Running("alertmanager", [binary("alertmanager"), *options], log=tmp_path / "log") as running:
        running.until(lambda: answers(f"http://127.0.0.1:{port}/-/ready"), seconds=10)
        yield f"http://127.0.0.1:{port}/api/v2/alerts/"


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except OSError:
        return False


def firing(url: str) -> list[dict[str, str]]:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return sorted((each["labels"] for each in json.load(answer)), key=lambda labels: sorted(labels.items()))


async def test_recovery_ends_each_alarm_of_its_object_and_cluster_and_no_other(alertmanager: str) -> None:
    target = Target(address=Secret(alertmanager))
    await tell("alertmanager", told(FAILED, cluster="a", revision="main@sha1:1", commit_subject='say "hi"'), target)
    await tell("alertmanager", told(FAILED | {"reason": "BuildFailed"}, cluster="a", revision="main@sha1:2"), target)
    await tell("alertmanager", told(FAILED, cluster="b", revision="main@sha1:1"), target)
    assert {each["alertname"] for each in firing(alertmanager)} == {
        "FluxKustomizationHealthcheckfailed", "FluxKustomizationBuildfailed",
    }  # fmt: skip
    assert len(firing(alertmanager)) == 3
    await tell("alertmanager", told(RECOVERED, cluster="a", revision="main@sha1:3"), target)
    [left] = firing(alertmanager)
    assert left["cluster"] == "b"
    await tell("alertmanager", told(RECOVERED, cluster="b", revision="main@sha1:3"), target)
    assert firing(alertmanager) == []


async def test_mail_is_taken_by_a_server_that_knows_us_and_by_no_other(peers: Any, tmp_path: Path) -> None:
    peers.need("smtp")
    port, log = free_port(), tmp_path / "log"
    words = {"SMTP_USER": "ops@example.com", "SMTP_PASSWORD": "hush-word"}
    tail = "from=sluice@example.com&to=ann@example.com,ben@example.com&format=text"
    with Running("smtp", [binary("smtp"), f"127.0.0.1:{port}"], log=log, env=words) as running:
        running.until(lambda: is_open(port), seconds=10)
        address = f"mailto://ops%40example.com:hush-word@127.0.0.1:{port}?{tail}"
        await tell("apprise", told(FAILED | {"message": "Größe & <b>Maß</b>"}, revision="main@sha1:1"), Target(address=Secret(address)))
        with pytest.raises(Rejected, match="535") as caught:
            await tell("apprise", told(FAILED), Target(address=Secret(address.replace("hush", "wrong"))))
        assert "wrong-word" not in str(caught.value)
    mails = log.read_text().split("\nEND\n")[:-1]
    heads = [line for mail in mails for line in mail.splitlines() if line.startswith(("MAIL", "RCPT"))]
    assert sorted(set(heads)) == ["MAIL sluice@example.com", "RCPT ann@example.com", "RCPT ben@example.com"]
    mail = message_from_string(mails[0].split("RCPT", 1)[1].split("\n", 1)[1], policy=policy.default)
    body = mail.get_body(("plain",))
    assert "Größe & <b>Maß</b>" in body.get_content()
    assert mail["subject"] == "kustomization/web.apps: health check failed"


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
