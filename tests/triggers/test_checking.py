"""What a recorded delivery is told offline is what the intake would have said."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receivers.contract import Credentials
from service.triggers.checking import BadRecording, check, headers_of
from tests.receivers.recordings import CASES, Case


@pytest.mark.parametrize("case", CASES, ids=str)
def test_says_of_each_recording_what_it_says_itself(case: Case) -> None:
    checked = check(case.type, case.headers, case.body, case.credentials)
    if isinstance(case.expected, dict):
        assert checked.verdict == "refused"
        assert checked.reason
    else:
        assert json.loads(checked.events_json) == case.expected
        assert checked.verdict in ("stored", "filtered")
        assert (checked.verdict == "filtered") == ({event["type"] for event in case.expected} == {"Unchanged"})


@pytest.mark.parametrize(
    "recorded",
    [
        '{"X-GitHub-Event": "push", "Content-Type": ["application/json"]}',
        "X-GitHub-Event: push\nContent-Type:application/json\n",
        "POST /hook/abc HTTP/1.1\r\nX-GitHub-Event: push\r\nContent-Type: application/json\r\n\r\n",
        "> POST /hook/abc HTTP/1.1\n> X-GitHub-Event: push\n> Content-Type: application/json\n>\n",
        ":method: POST\nx-github-event: push\ncontent-type: application/json",
    ],
)
def test_headers_are_read_as_pages_and_tools_show_them(recorded: str) -> None:
    found = headers_of(recorded)
    assert (found["x-github-event"], found["content-type"]) == ("push", "application/json")


@pytest.mark.parametrize("recorded", ["just words", "{", '{"a": 3}', '{"a": {}}', "[]"])
def test_what_are_no_headers_is_refused_with_a_reason(recorded: str) -> None:
    with pytest.raises(BadRecording, match="headers"):
        headers_of(recorded)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_headers_or_none(recorded: str) -> None:
    try:
        assert all(name == name.lower() for name in headers_of(recorded))
    except BadRecording:
        return


@pytest.mark.parametrize(
    ("body_end", "token_end", "word"), [(b"", b"\n", "token file"), (b"\n", b"", "body file"), (b"\n", b"\r\n", "too")]
)
def test_line_breaks_of_editors_are_found(body_end: bytes, token_end: bytes, word: str) -> None:
    case = next(case for case in CASES if case.type == "github" and case.folder.name == "package__published")
    checked = check("github", case.headers, case.body + body_end, Credentials(token=case.token + token_end))
    assert checked.verdict == "refused"
    assert word in checked.hint


def test_an_unknown_type_names_the_known_ones() -> None:
    with pytest.raises(BadRecording, match="gitlab"):
        check("from-the-future", {}, b"", Credentials(token=b"x"))


def test_a_signed_time_is_told() -> None:
    case = next(case for case in CASES if case.folder.name == "push__signed")
    checked = check("gitlab", case.headers, case.body, case.credentials)
    assert checked.signed_at is not None
    refused = check("gitlab", case.headers | {"webhook-timestamp": "soon"}, case.body, case.credentials)
    assert "webhook-timestamp" in refused.reason
