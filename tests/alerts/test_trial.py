"""Trying a Provider: what would be sent, for every type and without its secrets; and one attempt."""

from collections.abc import Mapping
from typing import Any

import pytest

from providers import PROVIDERS
from service.alerts.trial import TrialFailed, trial
from service.kinds.event import Event
from service.outbound import Outbound, Policy
from tests.alerts.conftest import KUSTOMIZE, Slack, event, provider, says
from tests.providers.targets import TARGETS

TOLD = event(
    "it failed",
    severity="error",
    reason="BuildFailed",
    metadata={f"{KUSTOMIZE}/revision": "main@sha1:" + "a" * 40, "event.toolkit.fluxcd.io/change_request": "7"},
)


async def tried(raw: Mapping[str, Any], secret: Mapping[str, bytes], *, dry_run: bool = True, told: Event = TOLD) -> str:
    async def read(_: str, name: str) -> Mapping[str, bytes] | None:
        return secret if name == "s" else None

    return "\n\n".join(await trial(raw, read, told, dry_run=dry_run, outbound=Outbound(Policy(loopback=True))))


@pytest.mark.parametrize("name", TARGETS)
async def test_dry_run_shows_each_type_without_its_secrets(name: str) -> None:
    target = TARGETS[name]
    given = {"address": target.address, "token": target.token, "password": target.password}
    secret = {key: value.reveal().encode() for key, value in given.items() if value} | ({"username": b"me"} if target.password else {})
    secret |= {key: value.reveal().encode() for key, value in target.keys.items()}
    if target.headers:
        secret["headers"] = b"Authorization: Bearer hush"
    raw = provider(
        type=name, channel=target.channel, secretRef={"name": "s"}, **({} if target.address else {"address": "https://a.example"})
    )
    shown = await tried(raw, secret)
    assert shown.startswith(("POST https://", "PUT https://", "GET https://"))
    for value in (target.token, target.password):
        assert not value or value.reveal() not in shown
    assert "hush" not in shown
    assert "it failed" in shown.replace("+", " ") or PROVIDERS[name].wants == "commit_status" or name == "googlepubsub"  # in base64


async def test_dry_run_hides_the_path_of_an_address_that_is_a_secret() -> None:
    raw = provider(type="discord", secretRef={"name": "s"})
    shown = await tried(raw, {"address": b"https://discord.com/api/webhooks/1/very-hush/slack"})
    assert shown.startswith("POST https://discord.com/***\nContent-Type: application/json\n\n{")
    assert "hush" not in shown


async def test_every_type_over_http_can_be_tried() -> None:
    assert set(TARGETS) == {name for name, line in PROVIDERS.items() if line.publish is None}


async def test_event_that_the_type_does_not_get_is_named() -> None:
    raw = provider(type="githubpullrequestcomment", address="https://github.com/o/r", secretRef={"name": "s"})
    assert "does not get such an event" in await tried(raw, {"token": b"t"}, told=event())


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"type": "from-the-future", "address": "https://a.example"}, "spec.type"),
        ({"type": "slack"}, "add one"),
        ({"type": "slack", "secretRef": {"name": "other"}}, "does not exist"),
        ({"type": "webex", "address": "https://a.example"}, "no token"),
    ],
)
async def test_provider_that_cannot_be_used_says_what_to_do(spec: dict[str, Any], words: str) -> None:
    raw = provider() | {"spec": spec}
    with pytest.raises(TrialFailed, match=words):
        await tried(raw, {})


async def test_attempt_is_sent_and_a_refusal_is_told_without_the_address(slack: Slack) -> None:
    raw = provider(address=slack.address)
    assert "slack took it" in await tried(raw, {}, dry_run=False)
    slack.answers = [says(404, "no_service")]
    with pytest.raises(TrialFailed, match="no_service: the webhook was removed"):
        await tried(raw, {}, dry_run=False)
    assert len(slack.got) == 2
