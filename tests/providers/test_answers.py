"""What a target's answer means: taken, later, or never, with what to do."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from providers import PROVIDERS
from providers.contract import Busy, Misconfigured, Rejected, Response, Secret, Target, recovers
from providers.forge import commit_of, repository_of
from providers.reason import words
from tests.providers.conftest import event_of, requests_of
from tests.providers.targets import TARGETS
from tests.providers.test_github_app import EVENT


def answered(type_: str, *answers: Response) -> None:
    list(requests_of(PROVIDERS[type_], EVENT, TARGETS[type_], answers))


def answer(status: int, body: str = "", **headers: str) -> Response:
    return Response(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=body.encode())


@pytest.mark.parametrize("type_", sorted(TARGETS.keys() - {"slack"}))
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_target_that_is_away_or_limits_us_is_tried_later(type_: str, status: int) -> None:
    with pytest.raises(Busy) as caught:
        answered(type_, answer(status, retry_after="7"))
    assert caught.value.retry_after == timedelta(seconds=7)


@pytest.mark.parametrize("type_", sorted(TARGETS.keys() - {"slack"}))
@pytest.mark.parametrize("status", [301, 400, 401, 403, 501])
def test_refusal_is_final_and_says_what_to_do(type_: str, status: int) -> None:
    with pytest.raises(Rejected, match=f"{status}: .{{10}}"):
        answered(type_, answer(status))


@pytest.mark.parametrize(
    ("type_", "answers", "error", "said"),
    [
        ("lark", [answer(200, '{"code": 0}')], None, ""),
        ("lark", [answer(200, '{"StatusCode": 0}')], None, ""),
        ("lark", [answer(200, '{"code": 19021, "msg": "sign match fail"}')], Rejected, "signing key"),
        ("lark", [answer(400, '{"code": 9499}')], Busy, "no more messages"),
        ("lark", [answer(200, '{"code": "x"}')], Rejected, "code 0"),
        ("gitlab", [answer(200, "[]"), answer(400, '{"message": "Cannot transition status via :run from :success"}')], None, ""),
        ("gitlab", [answer(404)], Rejected, "check spec.address"),
        ("github", [answer(404), answer(422)], Rejected, "not in this repository"),
        ("github", [answer(200, "<html>")], Busy, "not JSON"),
        ("bitbucket", [answer(404), answer(201)], None, ""),
    ],
)
def test_answers_with_a_meaning_of_their_own(type_: str, answers: list[Response], error: type[Exception] | None, said: str) -> None:
    if error is None:
        answered(type_, *answers)
        return
    with pytest.raises(error, match=said):
        answered(type_, *answers)


@pytest.mark.parametrize(
    ("address", "base", "path"),
    [
        ("https://github.com/org/fleet", "https://github.com", "org/fleet"),
        ("https://github.com/org/fleet.git/", "https://github.com", "org/fleet.git"),
        ("https://user:pass@git.example:8443/org/fleet.git", "https://git.example:8443", "org/fleet"),
        ("ssh://git@git.example:2222/org/fleet.git", "https://git.example", "org/fleet"),
        ("git@git.example:org/sub/fleet.git", "https://git.example", "org/sub/fleet"),
        ("http://git.example/org/fleet", "http://git.example", "org/fleet"),
    ],
)
def test_repository_of_an_address(address: str, base: str, path: str) -> None:
    found = repository_of(Target(address=Secret(address)))
    assert (found.base, found.path.removesuffix(".git")) == (base, path.removesuffix(".git"))


@pytest.mark.parametrize(
    "address", ["https://github.com", "https://github.com/org", "https://github.com/../x/y", "https://a.example/o/<r>"]
)
def test_address_that_names_no_repository_is_named(address: str) -> None:
    with pytest.raises(Misconfigured, match=r"set spec\.address"):
        list(requests_of(PROVIDERS["github"], EVENT, Target(address=Secret(address), token=Secret("t"))))


@pytest.mark.parametrize(
    ("metadata", "commit"),
    [
        ({"revision": "main@sha1:" + "a" * 40}, "a" * 40),
        ({"revision": "main/" + "b" * 40}, "b" * 40),
        ({"revision": "c" * 64}, "c" * 64),
        ({"revision": "latest@sha256:" + "d" * 64, "originRevision": "main@sha1:" + "e" * 40}, "e" * 40),
        ({"revision": "main@sha1:" + "a" * 40, "commit": "f" * 40}, "f" * 40),
        ({"revision": "6.1.0"}, None),
        ({"revision": "main@sha1:" + "A" * 40}, None),
        ({}, None),
    ],
)
def test_commit_of_an_event(metadata: dict[str, str], commit: str | None) -> None:
    body: dict[str, Any] = {
        "kind": "K",
        "namespace": "n",
        "name": "x",
        "severity": "info",
        "reason": "R",
        "message": "",
        "metadata": metadata,
    }
    event = event_of(body | {"timestamp": "2026-01-01T00:00:00+00:00"})
    if commit is None:
        with pytest.raises(Rejected, match="names no commit"):
            commit_of(event)
    else:
        assert commit_of(event) == commit


@pytest.mark.parametrize(
    ("reason", "said"),
    [("HealthCheckFailed", "health check failed"), ("OCIArtifactPullFailed", "oci artifact pull failed"), ("", "event"), ("x1Y", "x 1 y")],
)
def test_reason_in_words(reason: str, said: str) -> None:
    assert words(reason) == said


@pytest.mark.parametrize(
    ("severity", "reason", "well"),
    [
        ("info", "ReconciliationSucceeded", True), ("info", "UpgradeSucceeded", True), ("info", "NewArtifact", True),
        ("info", "Progressing", False), ("info", "DependencyNotReady", False), ("error", "ReconciliationSucceeded", False),
    ],
)  # fmt: skip
def test_only_a_success_is_a_recovery(severity: str, reason: str, well: bool) -> None:
    assert recovers(severity, reason) is well


@pytest.mark.parametrize("name", ["alertmanager", "otel", "grafana", "bitbucketserver", "zulip"])
@pytest.mark.parametrize("half", [{"username": "me"}, {"password": Secret("hush")}])
def test_half_a_pair_of_credentials_sends_nothing(name: str, half: dict[str, Any]) -> None:
    target = replace(TARGETS[name], token=Secret(), username="", password=Secret())
    with pytest.raises(Misconfigured, match=r"belong together|no username|no password") as caught:
        list(requests_of(PROVIDERS[name], EVENT, replace(target, **half)))
    assert "hush" not in str(caught.value)
