"""Slack messages: recorded cases, any text at all, and what each of Slack's answers means."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers import slack_api as slack
from providers import slack_words
from providers.contract import Busy, Event, Rejected, Response, Secret, Target
from providers.mrkdwn import units

CASES = sorted(path.parent for path in (Path(__file__).parent / "slack").glob("*/event.json"))
HOOK = Target(address=Secret("https://hooks.slack.com/services/T/B/x"))


def event_of(body: dict[str, Any]) -> Event:
    return Event(**body | {"timestamp": datetime.fromisoformat(body["timestamp"])})


def target_of(body: dict[str, str]) -> Target:
    return Target(**{name: Secret(text) if name in ("address", "token") else text for name, text in body.items()})


def told(event: Event, target: Target = HOOK) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(slack.render(event, target).body)
    return body


def some_event(**changes: Any) -> Event:
    values = {
        "kind": "Kustomization", "namespace": "apps", "name": "web", "severity": "info", "reason": "ReconciliationSucceeded", "message": "",
        "timestamp": datetime(2026, 1, 1, tzinfo=UTC),
    }  # fmt: skip
    return Event(**values | changes)


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_render_equals_the_recording(case: Path) -> None:
    given_ = json.loads((case / "event.json").read_text())
    request = slack.render(event_of(given_["event"]), target_of(given_["target"]))
    seen = {"method": request.method, "url": request.url.reveal(), "headers": dict(request.headers), "body": json.loads(request.body)}
    recorded = json.loads((case / "request.json").read_text())
    if not isinstance(recorded, list):  # a message and its thread: test_cases.py
        assert seen == recorded


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in strings(each)]
    if isinstance(value, list):
        return [text for each in value for text in strings(each)]
    return [value] if isinstance(value, str) else []


def check_bounds(body: dict[str, Any]) -> None:
    [attachment] = body["attachments"]
    blocks = body["blocks"] + attachment["blocks"]
    assert len(blocks) <= 50
    for block in blocks:
        match block["type"]:
            case "header":
                assert 1 <= units(block["text"]["text"]) <= 150
            case "section":
                assert len(block.get("fields", [])) <= 10
                assert all(1 <= units(field["text"]) <= 2000 for field in block.get("fields", []))
                assert "text" not in block or 1 <= units(block["text"]["text"]) <= 3000
            case "context":
                assert 1 <= len(block["elements"]) <= 10
                assert all(1 <= units(each["text"]) <= 3000 for each in block["elements"])
            case other:
                pytest.fail(f"a block of the type {other}")
    assert sum(units(text) for text in strings(blocks)) < 13_000
    assert 1 <= units(body["text"]) <= 4_000


TEXT = st.text(max_size=300) | st.text("<>&!@#|`*_~:\n\r /\x00\u202e😀\ud800", max_size=3_500)
LINE = st.sampled_from(["Deployment/a/b configured", "<!channel>", "a" * 400, "&&&&&", "Secret/<@U1>/x created", "https://x.y|z"])


@settings(max_examples=150, deadline=None)
@given(
    names=st.tuples(TEXT, TEXT, TEXT, TEXT),
    severity=st.sampled_from(["info", "error"]),
    message=TEXT | st.lists(LINE, max_size=300).map("\n".join),
    metadata=st.dictionaries(st.sampled_from([*sorted(slack_words.SHOWN_APART), *sorted(slack_words.UNSHOWN)]) | TEXT, TEXT, max_size=14),
)
def test_render_of_any_text_is_bounded_and_holds_no_control_sequence(
    names: tuple[str, str, str, str], severity: Any, message: str, metadata: dict[str, str]
) -> None:
    kind, namespace, name, reason = names
    event = some_event(kind=kind, namespace=namespace, name=name, reason=reason, severity=severity, message=message, metadata=metadata)
    body = told(event, Target(token=Secret("x"), channel="c"))
    check_bounds(body)
    shown = strings([body["text"], body["blocks"], body["attachments"]])
    for text in shown:
        text.encode()
        assert "\x00" not in text
        assert "\u202e" not in text
        without_escapes = re.sub(r"&(?:amp|lt|gt);", "", text)
        without_link = re.sub(r"<https?://[\w./%~+:=@\[\]-]+\|[^<>|]*>", "", without_escapes, flags=re.ASCII)
        assert not set("&<>") & set(without_link), text


def test_render_links_the_revision_only_to_an_address_that_cannot_end_the_link() -> None:
    sha = "a" * 40
    for address, linked in (
        (f"https://git.example/o/r/commit/{sha}", True),
        ("https://git.example/x|@everyone", False),
        ("https://git.example/> <!channel>", False),
        ("javascript:alert(1)", False),
        ("https://user:pass@git.example/x", False),
    ):
        event = some_event(metadata={"revision": f"main@sha1:{sha}", "commit_url": address})
        [headline] = told(event)["blocks"]
        assert (" at <https://git.example/" in headline["text"]["text"]) is linked
        assert "main@aaaaaaaa" in headline["text"]["text"]


def test_render_says_how_many_changes_are_not_shown() -> None:
    message = "\n".join(f"Deployment/apps/app-{number} configured" for number in range(1_000))
    line, section = (block["text"]["text"] for block in told(some_event(message=message))["attachments"][0]["blocks"])
    shown = section.count("configured")
    assert line == "1000 objects changed (1000 configured)"
    assert section.endswith(f"\n… and {1_000 - shown} more")
    assert shown > 50


def test_render_refuses_what_is_not_complete() -> None:
    for target, words in (
        (Target(), "no address and no token"),
        (Target(token=Secret("t")), "set spec.channel"),
        (Target(address=Secret("https://slack.com/api/chat.postMessage"), channel="c"), "bot token"),
    ):
        with pytest.raises(Rejected, match=words):
            slack.render(some_event(), target)


def test_request_and_target_show_no_secret() -> None:
    target = Target(address=Secret("https://hooks.slack.com/services/T/B/hush"), token=Secret("xoxb-hush"))
    request = slack.render(some_event(), target)
    assert "hush" not in f"{target!r} {target} {request!r} {request} {target.address} {target.token!r}"
    assert request.headers["Authorization"] == "Bearer xoxb-hush"


def answer(status: int, body: str = "", **headers: str) -> Response:
    return Response(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=body.encode())


@pytest.mark.parametrize("response", [answer(200, "ok"), answer(200, '{"ok": true, "ts": "1"}'), answer(200, "{}"), answer(204)])
def test_settle_takes_success(response: Response) -> None:
    slack.settle(response)


@pytest.mark.parametrize(
    ("response", "seconds"),
    [
        (answer(429, "rate_limited", retry_after="30"), 30),
        (answer(429, '{"ok": false, "error": "ratelimited"}', retry_after="7"), 7),
        (answer(200, '{"ok": false, "error": "ratelimited"}'), None),
        (answer(429, retry_after="999999999"), 3600),
        (answer(429, retry_after="soon"), None),
        (answer(429, retry_after="Sat, 21 Nov 2026 12:00:20 GMT", date="Sat, 21 Nov 2026 12:00:00 GMT"), 20),
        (answer(429, retry_after="Sat, 21 Nov 2026 12:00:20 GMT"), None),
        (answer(500, "rollup_error"), None),
        (answer(503, "<html>", retry_after="2"), 2),
        (answer(408), None),
        (answer(200, '{"ok": false, "error": "internal_error"}'), None),
    ],
)
def test_settle_is_busy_where_a_later_try_can_help(response: Response, seconds: int | None) -> None:
    with pytest.raises(Busy) as caught:
        slack.settle(response)
    assert caught.value.retry_after == (None if seconds is None else timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (answer(404, "no_service"), "no_service: the webhook was removed"),
        (answer(410, "channel_is_archived"), "channel_is_archived: unarchive"),
        (answer(403, "action_prohibited"), "action_prohibited: an administrator"),
        (answer(400, "invalid_payload"), "invalid_payload: check the Provider"),
        (answer(200, '{"ok": false, "error": "channel_not_found"}'), "channel_not_found: check spec.channel"),
        (answer(200, '{"ok": false, "error": "not_in_channel"}'), "invite the bot"),
        (answer(200, '{"ok": false, "error": "https://secret"}'), "unknown_error"),
        (answer(200, '{"ok": false}'), "unknown_error"),
        (answer(200, "{not json"), "unreadable_answer"),
        (answer(301, "moved"), "Slack answered 301"),
        (answer(404, "<html>not Slack at all</html>"), "Slack answered 404: check the Provider"),
        (answer(501), "Slack answered 501"),
    ],
)
def test_settle_rejects_what_will_never_work_and_says_what_to_do(response: Response, words: str) -> None:
    with pytest.raises(Rejected, match=re.escape(words)):
        slack.settle(response)


@settings(max_examples=100)
@given(status=st.integers(100, 599), body=st.binary(max_size=200), wait=st.text(max_size=20))
def test_settle_of_any_answer_ends_in_one_of_three_ways(status: int, body: bytes, wait: str) -> None:
    try:
        slack.settle(Response(status=status, headers={"retry-after": wait}, body=body))
    except (Busy, Rejected) as error:
        assert len(str(error)) < 200  # noqa: PT017 - which error it is does not matter here
    else:
        assert 200 <= status < 300
