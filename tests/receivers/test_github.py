"""Recordings of real and GitHub-shaped deliveries, and what becomes of them when they are damaged on the way."""

import hashlib
import hmac
import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receivers import RECEIVERS
from receivers.contract import BadPayload, BadSignature, Credentials, Delivery, Event, GitPush
from receivers.record import dump, load

CASES = sorted(path.parent for path in Path(__file__).parent.glob("github/*/events.json"))
SECRET = Credentials(token=b"a-shared-secret")
GITHUB = RECEIVERS["github"]
BODIES = [case.joinpath("body").read_bytes() for case in CASES]


def headers_of(case: Path) -> dict[str, str]:
    return {name.lower(): value for name, value in json.loads(case.joinpath("headers.json").read_text()).items()}


def received(headers: dict[str, str], body: bytes, *, piece: int = 1000, credentials: Credentials = SECRET) -> tuple[Event, ...]:
    check = GITHUB.verifier(headers, credentials)
    for start in range(0, len(body), piece):
        check.feed(body[start : start + piece])
    check.check()
    return GITHUB.read(Delivery(headers=headers, body=body))


def signed(body: bytes, event: str = "push", content_type: str = "application/json") -> dict[str, str]:
    digest = hmac.new(SECRET.token, body, hashlib.sha256).hexdigest()
    return {"x-hub-signature-256": f"sha256={digest}", "x-github-event": event, "content-type": content_type}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_reads_what_the_recording_says(case: Path) -> None:
    expected = json.loads(case.joinpath("events.json").read_text())
    body = case.joinpath("body").read_bytes()
    if isinstance(expected, dict):
        assert expected == {"refused": "BadSignature"}
        with pytest.raises(BadSignature):
            received(headers_of(case), body)
        return
    events = received(headers_of(case), body)
    assert json.loads(dump(events)) == expected
    assert load(dump(events)) == events


def test_there_are_recordings_of_every_kind() -> None:
    names = {case.name.partition("__")[0] for case in CASES}
    assert {"push", "ping", "issues", "gitea_push", "gitea_delete", "gogs_push"} <= names
    assert all(case.joinpath("origin.txt").read_text().strip() for case in CASES)


def test_finds_changed_files_of_a_plain_push() -> None:
    (event,) = received(headers_of(CASES[0].parent / "push__branch"), (CASES[0].parent / "push__branch/body").read_bytes())
    assert isinstance(event, GitPush)
    assert event.paths is not None
    assert "apps/café/kustomization.yaml" in event.paths
    assert "git@github.com:acme/fleet.git" in event.urls


@pytest.mark.parametrize(
    "missing", ["push__new_branch", "push__forced", "push__deleted_branch", "push__merge", "gitea_push__seven_commits"]
)
def test_files_are_unknown_when_the_sender_does_not_tell_all(missing: str) -> None:
    case = CASES[0].parent / missing
    (event,) = received(headers_of(case), case.joinpath("body").read_bytes())
    assert isinstance(event, GitPush)
    assert event.paths is None


@pytest.mark.parametrize("files", [3, ["\ud800"], [None], ["x" * 300_000], [f"f{n}" for n in range(299)] * 30])
def test_files_that_cannot_be_read_do_not_hide_the_push(files: object) -> None:
    push = json.loads((CASES[0].parent / "push__branch/body").read_bytes())
    push["commits"] = [{**push["commits"][-1], "added": files, "id": push["after"]}]
    body = json.dumps(push).encode()
    (event,) = received(signed(body), body)
    assert isinstance(event, GitPush)
    assert (event.ref, event.paths) == ("refs/heads/main", None)


def test_refuses_another_secret() -> None:
    body = BODIES[0]
    with pytest.raises(BadSignature):
        received(signed(body), body, credentials=Credentials(token=b"another"))


def test_refuses_an_empty_token_even_when_the_sender_has_none_either() -> None:
    headers = {"x-hub-signature-256": "sha256=" + hmac.new(b"", b"{}", hashlib.sha256).hexdigest()}
    with pytest.raises(BadSignature, match="empty"):
        received(headers, b"{}", credentials=Credentials(token=b""))


def test_refuses_a_delivery_without_a_signature() -> None:
    with pytest.raises(BadSignature, match="missing"):
        received({"x-github-event": "push"}, b"{}")


def test_does_not_fall_back_to_sha1_when_the_better_signature_is_bad() -> None:
    body = BODIES[0]
    old = "sha1=" + hmac.new(SECRET.token, body, hashlib.sha1).hexdigest()
    assert received({"x-hub-signature": old}, body) == ()
    with pytest.raises(BadSignature):
        received({"x-hub-signature": old, "x-hub-signature-256": "sha256=" + "0" * 64}, body)


@pytest.mark.parametrize(
    "value", ["", "sha256", "sha256=", "sha256=zz", "md5=" + "0" * 32, "sha1=" + "0" * 40, "sha256=" + "0" * 63, "sha256=é", "0" * 64]
)
def test_refuses_a_malformed_signature(value: str) -> None:
    with pytest.raises(BadSignature):
        received({"x-hub-signature-256": value}, b"{}")


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", ""),
        (b"{", ""),
        (b'{"a": NaN}', ""),
        (b'{"a": ' + b"9" * 5000 + b"}", ""),
        (b"\xff\xfe{}", ""),
        (b"[]", ""),
        (b'{"a":' * 100 + b"1" + b"}" * 100, ""),
        (b"[" * 200_000, ""),
        (b"{}", "repository.clone_url"),
        (b'{"repository": 3}', "repository"),
        (b'{"repository": {"clone_url": 3}}', "repository.clone_url"),
        (b'{"repository": {"clone_url": "https://h/r"}, "before": "main"}', "before"),
        (b'{"repository": {"clone_url": "https://h/\\ud800"}}', "repository.clone_url"),
        (b'{"repository": {"clone_url": "https://h/' + b"x" * 5000 + b'"}}', "repository.clone_url"),
    ],
)
def test_names_the_place_that_is_bad(body: bytes, place: str) -> None:
    with pytest.raises(BadPayload) as caught:
        received(signed(body), body)
    assert caught.value.path == place


def test_an_error_tells_nothing_of_the_body() -> None:
    body = b'{"repository": {"clone_url": "https://user:hunter2@host/r", hunter2'
    with pytest.raises(BadPayload) as caught:
        received(signed(body), body)
    assert "hunter2" not in str(caught.value)


def test_a_form_needs_its_payload_field() -> None:
    with pytest.raises(BadPayload) as caught:
        received(signed(b"other=1", content_type="application/x-www-form-urlencoded"), b"other=1")
    assert caught.value.path == "payload"


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=2000), st.sampled_from(["push", "ping", "issues", "", "PUSH"]), st.sampled_from(["json", "x-www-form-urlencoded"])
)
def test_any_bytes_end_in_events_or_bad_payload(body: bytes, event: str, form: str) -> None:
    with suppress(BadPayload):
        received(signed(body, event, f"application/{form}"), body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_push_with_any_value_in_any_place_is_read_or_refused(data: st.DataObject) -> None:
    push = json.loads(CASES[0].parent.joinpath("push__branch/body").read_bytes())
    spot = push
    while True:
        step = data.draw(st.sampled_from(list(spot) if isinstance(spot, dict) else list(range(len(spot)))))
        if not isinstance(spot[step], dict | list) or not spot[step] or data.draw(st.booleans()):
            spot[step] = data.draw(json_values)
            break
        spot = spot[step]
    body = json.dumps(push).encode()
    try:
        events = received(signed(body), body)
    except BadPayload:
        return
    assert load(dump(events)) == events


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_recording_is_never_taken_for_good(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(CASES))
    body = bytearray(case.joinpath("body").read_bytes())
    spot = data.draw(st.integers(0, len(body) - 1))
    match data.draw(st.sampled_from(["flip", "cut", "insert", "drop"])):
        case "flip":
            body[spot] ^= 1 << data.draw(st.integers(0, 7))
        case "cut":
            del body[spot:]
        case "insert":
            body[spot:spot] = data.draw(st.binary(min_size=1, max_size=4))
        case "drop":
            del body[spot]
    with pytest.raises(BadSignature):
        received(headers_of(case), bytes(body))
    event = headers_of(case).get("x-github-event", "")
    with suppress(BadPayload):
        received(signed(bytes(body), event), bytes(body))
