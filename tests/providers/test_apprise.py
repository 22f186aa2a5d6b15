"""Apprise: what it is given, what its answers mean, and that its words hold no part of a URL."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as some

from providers import apprise
from providers.contract import Busy, Misconfigured, Rejected, Secret, Target
from tests.providers.conftest import FOLDER, event_of, target_of


class Noting:
    """Means that note what would be run apart."""

    tls = None
    certificates = None
    timeout = timedelta(seconds=15)

    def __init__(self) -> None:
        self.got: tuple[Any, ...] = ()

    async def connect(self, host: str, port: int) -> Any:
        raise AssertionError(f"{host}:{port}: the library makes its own connections")

    async def apart(self, function: Any, *args: Any) -> Any:
        assert function is apprise.deliver
        self.got = args


@pytest.mark.parametrize("case", sorted((FOLDER / "apprise").glob("*/")), ids=lambda path: path.name)
async def test_message_equals_the_recording(case: Path) -> None:
    body, means = json.loads((case / "event.json").read_text()), Noting()
    await apprise.publish(event_of(body["event"]), target_of(body["target"]), means)
    assert dict(zip(("url", "title", "body", "failed"), means.got, strict=True)) == json.loads((case / "request.json").read_text())


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("", "no address"),
        ("ops@example.com", "not one of Apprise's URLs"),
        ("json://a.example json://b.example", "more than one"),
        ("syslog://", "not one of"),
        ("syslog://here", "notifies the machine"),
        ("Windows://here", "notifies the machine"),
    ],
)
async def test_address_that_cannot_be_used_says_why(address: str, words: str) -> None:
    event = event_of(json.loads((FOLDER / "apprise" / "applied" / "event.json").read_text())["event"])
    with pytest.raises(Misconfigured, match=words):
        await apprise.publish(event, Target(address=Secret(address)), Noting())


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("Failed to send JSON POST notification: Unauthorized - Invalid Token., error=401.", Rejected),
        ("Failed to send Discord notification: Not Found., error=404.", Rejected),
        ("Failed to send JSON POST notification: error=429.", Busy),
        ("Failed to send JSON POST notification: Server Error., error=503.", Busy),
        ("Failed to send JSON POST notification: error=501.", Rejected),
        ("Socket Exception: (535, b'5.7.8 authentication failed')", Rejected),
        ("Socket Exception: (421, b'4.7.0 try again later')", Busy),
        ("A Connection error occurred sending JSON notification to 10.0.0.1.", Busy),
        ("", Busy),
    ],
)
def test_logged_status_says_whether_a_later_try_helps(reason: str, error: type[Exception]) -> None:
    found = apprise.refusal(reason)
    assert type(found) is error
    assert reason in str(found)


PART = some.text("abcdefghijklmnopqrstuvwxyz0123456789+% é:@/", min_size=4, max_size=30)


@given(user=PART, password=PART, path=PART, value=PART)
def test_no_part_of_a_url_is_told(user: str, password: str, path: str, value: str) -> None:
    secret = [quote(each, safe="") for each in (user, password, path, value)]
    url = "json://{}:{}@host.example/{}?key={}".format(*secret)
    for each in (*secret, user, password, path, value):
        shown = apprise.masked(f"=> {each} <=", url)
        assert each not in shown or each in ("=> ", " <=") or each.strip() == ""


def test_title_of_a_template_is_the_subject() -> None:
    body = json.loads((FOLDER / "apprise" / "applied" / "event.json").read_text())["event"]
    title, _ = apprise.message(event_of(body | {"title": "@all: web is live"}), "json://a.example")
    assert title == "@\u200ball: web is live"


def test_words_of_a_url_that_is_none_are_not_told() -> None:
    assert apprise.masked("https://[hush/x", "https://[hush/x") == "***"


def test_dry_run_shows_the_message_and_no_secret() -> None:
    body = json.loads((FOLDER / "apprise" / "failed__mail" / "event.json").read_text())
    target = Target(address=Secret("mailtos://ops:hush-word@smtp.example.com:465?from=a@b.example&to=hush@b.example"))
    shown = apprise.preview(event_of(body["event"]), target)
    assert shown.startswith("notify mailtos://smtp.example.com:465/***\n\nkustomization/web.apps: health check failed\n\n")
    assert "hush" not in shown
