"""A Provider and its Secret: complete credentials, or an error that says what is missing and shows nothing."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from providers import PROVIDERS
from providers.contract import Target
from service.alerts import credentials
from service.alerts.credentials import BadCredentials
from service.kinds.codec import decode
from service.kinds.notification import Provider
from tests.alerts.conftest import provider

HOOK = "https://hooks.slack.com/services/T/B/hush"


def target_of(provider: Provider, secret: Mapping[str, bytes] | None) -> Target:
    return credentials.target_of(provider, PROVIDERS[provider.spec.type], secret, now=datetime(2026, 1, 1, tzinfo=UTC))


def typed(**spec: Any) -> Provider:
    return decode(Provider, provider(**spec))


def test_address_and_channel_of_the_provider() -> None:
    target = target_of(typed(address=HOOK, channel="c", username="u"), None)
    assert (target.address.reveal(), bool(target.token), target.channel, target.username) == (HOOK, False, "c", "u")


def test_secret_wins_and_is_stripped() -> None:
    secret = {"address": f" {HOOK}\n".encode(), "token": b"t\n", "username": b"x", "password": b"y"}
    target = target_of(typed(address="https://other.example", username="u", secretRef={"name": "s"}), secret)
    assert (target.address.reveal(), target.token.reveal(), target.username) == (HOOK, "t", "x")


def test_documented_split_of_username_and_password_is_complete() -> None:
    assert target_of(typed(address=HOOK, username="u", secretRef={"name": "s"}), {"password": b"y", "token": b"t"}).token.reveal() == "t"


@pytest.mark.parametrize(
    ("spec", "secret", "words"),
    [
        ({"secretRef": {"name": "s"}}, None, "Secret/apps/s does not exist: create it"),
        ({"secretRef": {"name": "s"}}, {}, "neither the key address nor the key token"),
        ({"secretRef": {"name": "s"}}, {"adress": HOOK.encode()}, "neither the key address nor the key token"),
        ({}, None, "no spec.address and no spec.secretRef"),
        ({"secretRef": {"name": "s"}}, {"token": b"hush", "username": b"u"}, "username but no password"),
        ({"secretRef": {"name": "s"}}, {"token": b"hush", "password": b"u"}, "password but no username"),
        ({"secretRef": {"name": "s"}}, {"address": b""}, "the key address is empty"),
        ({"secretRef": {"name": "s"}}, {"token": b" \n"}, "the key token is empty"),
        ({"secretRef": {"name": "s"}}, {"token": b"\xff\xfe"}, "the key token is not text"),
        ({"secretRef": {"name": "s"}}, {"token": b"hush\nX-Header: 1"}, "line break"),
        ({"secretRef": {"name": "s"}}, {"address": b"hush"}, "not a plain http"),
        ({"secretRef": {"name": "s"}}, {"address": b"ftp://hush"}, "not a plain http"),
        ({"secretRef": {"name": "s"}}, {"address": b"https://user:hush@host/x"}, "not a plain http"),
        ({"secretRef": {"name": "s"}}, {"address": b"https://[hush/x"}, "not a plain http"),
        ({"secretRef": {"name": "s"}}, {"address": HOOK.encode(), "headers": b"A: hush"}, "headers is not carried out for the type slack"),
        ({"type": "generic", "secretRef": {"name": "s"}}, {"address": HOOK.encode(), "headers": b"[hush"}, "headers is not YAML"),
        ({"type": "generic", "secretRef": {"name": "s"}}, {"address": HOOK.encode(), "headers": b"hush"}, "headers is not a map"),
        ({"type": "generic", "secretRef": {"name": "s"}}, {"address": HOOK.encode(), "headers": b"A: 1"}, "no header can have"),
        ({"type": "generic", "secretRef": {"name": "s"}}, {"address": HOOK.encode(), "headers": b'A: "hush\\nB: 1"'}, "no header can have"),
        ({"type": "generic", "secretRef": {"name": "s"}}, {"address": HOOK.encode(), "headers": b'"A b": hush'}, "no header can have"),
        ({"secretRef": {"name": "s"}}, {"address": HOOK.encode(), "ca.crt": b"hush"}, "ca.crt is not carried out"),
    ],
)
def test_incomplete_credentials_are_named_and_not_shown(spec: dict[str, Any], secret: dict[str, bytes] | None, words: str) -> None:
    with pytest.raises(BadCredentials) as caught:
        target_of(typed(**spec), secret)
    assert words in str(caught.value)
    assert "hush" not in str(caught.value)


def test_headers_of_the_secret_are_a_map() -> None:
    target = target_of(typed(type="generic", address=HOOK, secretRef={"name": "s"}), {"headers": b"Authorization: Bearer hush\nX-A: '1'\n"})
    assert target.headers == {"Authorization": "Bearer hush", "X-A": "1"}
    assert "hush" not in repr(target)
