"""Each sender's recordings, and what becomes of them when they are damaged, forged or made up."""

import gc
import json
import re
import time
from contextlib import suppress
from copy import deepcopy
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receivers import RECEIVERS
from receivers.contract import BadPayload, BadSignature, Credentials, Delivery, Sender
from receivers.record import dump, load
from tests.receivers.recordings import CASES, KEYED, PLAIN, UNSIGNED, Case, received

GOOD = [case for case in CASES if case.is_good]
EXAMPLES, QUICK, FUZZ, SOAK = 60, 500, 10_000, 100_000


@pytest.mark.parametrize("case", CASES, ids=str)
def test_reads_what_the_recording_says(case: Case) -> None:
    expected = case.expected
    if isinstance(expected, dict):
        with pytest.raises(BadSignature if expected["refused"] == "BadSignature" else BadPayload):
            received(case.type, case.headers, case.body, case.token)
        return
    events = received(case.type, case.headers, case.body, case.token)
    assert json.loads(dump(events)) == expected
    assert load(dump(events)) == events


@pytest.mark.parametrize("type_", RECEIVERS)
def test_each_sender_has_recordings_with_their_origin(type_: str) -> None:
    cases = [case for case in CASES if case.type == type_]
    assert any(case.is_good for case in cases)
    assert all(len(case.folder.joinpath("origin.txt").read_text()) > 20 for case in cases)


@pytest.mark.parametrize("case", [case for case in GOOD if case.type not in UNSIGNED | KEYED], ids=str)
def test_another_token_proves_nothing(case: Case) -> None:
    for token in (b"another", case.token + b"x", case.token[:-1], b"whsec_" + b"A" * 44):
        with pytest.raises(BadSignature):
            received(case.type, case.headers, case.body, token)
    with pytest.raises(BadSignature, match=r"empty|missing"):
        received(case.type, case.headers, case.body, b"")


@pytest.mark.parametrize("type_", [type_ for type_ in RECEIVERS if type_ not in UNSIGNED])
def test_without_its_header_a_delivery_says_which_is_missing(type_: str) -> None:
    with pytest.raises(BadSignature, match=r"is missing: .*token"):
        received(type_, {"content-type": "application/json"}, b"{}")


@pytest.mark.parametrize("type_", [type_ for type_ in RECEIVERS if type_ not in UNSIGNED])
@pytest.mark.parametrize("value", ["", " ", "Bearer", "Bearer ", "Basic", "Basic !", "Basic eDo=", "sha256=", "v1,", "é", "\udcff", "\x00"])
def test_odd_values_in_the_header_are_refused(type_: str, value: str) -> None:
    named = {
        "authorization", "x-api-key", "x-signature", "x-gitlab-token", "x-hub-signature", "x-hub-signature-256", "x-gitea-signature",
        "x-nexus-webhook-signature", "x-jfrog-event-auth",
    }  # fmt: skip
    with pytest.raises(BadSignature):
        received(type_, dict.fromkeys(named, value), b"{}")


@pytest.mark.parametrize("case", [case for case in GOOD if case.type not in UNSIGNED | PLAIN | KEYED and case.body], ids=str)
def test_a_changed_body_is_refused(case: Case) -> None:
    if case.headers.get("x-gitlab-token") or case.headers.get("x-jfrog-event-auth") == "a-shared-secret":
        return  # GitLab's and Artifactory's older way proves who sent it, not what
    body = bytearray(case.body)
    body[len(body) // 2] ^= 1
    with pytest.raises(BadSignature):
        received(case.type, case.headers, bytes(body), case.token)


def test_a_signed_time_belongs_to_the_signature() -> None:
    (case,) = (case for case in CASES if case.folder.name == "push__signed")
    sender, headers = RECEIVERS["gitlab"], case.headers
    assert sender.signed_at is not None
    signed_at = sender.signed_at(headers)
    assert signed_at is not None
    assert signed_at.timestamp() == int(headers["webhook-timestamp"])
    for name, value in (("webhook-timestamp", "1795252801"), ("webhook-id", "another"), ("webhook-timestamp", "soon")):
        with pytest.raises(BadSignature):
            received("gitlab", headers | {name: value}, case.body, case.token)
    several = headers | {"webhook-signature": f"v1a,AAAA v1,AAAA {headers['webhook-signature']}"}
    assert received("gitlab", several, case.body, case.token)


@pytest.mark.parametrize("type_", sorted(PLAIN - {"harbor"}))
@pytest.mark.parametrize("value", ["a-shared-secret", "Bearer a-shared-secret", "bearer a-shared-secret", "Basic eDphLXNoYXJlZC1zZWNyZXQ="])
def test_the_token_is_taken_in_each_form_of_authorization(type_: str, value: str) -> None:
    RECEIVERS[type_].verifier({"authorization": value}, Credentials(token=b"a-shared-secret")).check()


@pytest.mark.parametrize("type_", [type_ for type_ in RECEIVERS if not type_.startswith("generic")])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'"x"', b"null", b'{"a":' * 100 + b"1" + b"}" * 100])
def test_what_is_no_json_object_is_refused_with_a_reason(type_: str, body: bytes) -> None:
    with pytest.raises(BadPayload, match=r"JSON|nested"):
        RECEIVERS[type_].read(Delivery(headers={"content-type": "application/json"}, body=body))


def _drawn_body(data: st.DataObject, case: Case) -> bytes:
    """A recording with one value replaced anywhere, or its bytes damaged."""
    body = bytearray(case.body)
    if not body or data.draw(st.booleans()):
        spot = data.draw(st.integers(0, len(body)))
        body[spot : spot + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
        return bytes(body)
    try:
        whole: Any = json.loads(case.body)
    except ValueError:
        return bytes(body)
    spot = whole
    while isinstance(spot, dict | list) and spot:
        step = data.draw(st.sampled_from(list(spot) if isinstance(spot, dict) else list(range(len(spot)))))
        if not isinstance(spot[step], dict | list) or not spot[step] or data.draw(st.integers(0, 3)) == 0:
            spot[step] = data.draw(_VALUES)
            break
        spot = spot[step]
    return json.dumps(whole).encode()


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["sha256:", "oci://", ":@/", "%", "refs/heads/x", "0" * 40]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)


def _is_read_or_refused(data: st.DataObject, type_: str) -> None:
    case = data.draw(st.sampled_from([case for case in CASES if case.type == type_]))
    headers = dict(case.headers)
    if data.draw(st.integers(0, 3)) == 0:
        headers[data.draw(st.sampled_from(sorted(headers)))] = data.draw(st.text(max_size=20))
    body = _drawn_body(data, case)
    with suppress(BadSignature, BadPayload):
        received(type_, headers, body, case.token)
    sender = RECEIVERS[type_]
    assert isinstance(sender.delivery_id(headers), str)
    assert sender.name is None or isinstance(sender.name(headers), str)
    with suppress(BadPayload):
        events = sender.read(Delivery(headers=headers, body=body))
        assert load(dump(events)) == events
        assert len(dump(events)) < 20 * (len(body) + 1000)


@pytest.mark.parametrize("type_", RECEIVERS)
@settings(max_examples=EXAMPLES, deadline=None)
@given(st.data())
def test_mutations_are_read_or_refused_by_name(type_: str, data: st.DataObject) -> None:
    _is_read_or_refused(data, type_)


_ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1e308, 10**30, "", "x" * 5000, "\ud800", "sha256:", "sha256:" + "0" * 64, "oci://", ":@/", "%zz", "//",
    "refs/heads/x", "0" * 40, [], {}, [None], [[]], {"": ""}, {"0": None}, [{}] * 300,
)  # fmt: skip


def _mutated(random: Random, recorded: bytes) -> bytes:
    """A recording with bytes damaged, or values replaced, dropped or moved."""
    body = bytearray(recorded)
    if not body or random.random() < 0.4:
        for _ in range(random.randint(1, 4)):
            spot = random.randint(0, len(body))
            body[spot : spot + random.randint(0, 8)] = random.randbytes(random.randint(0, 8))
        return bytes(body)
    try:
        whole: Any = json.loads(recorded)
    except ValueError:
        return bytes(body)
    for _ in range(random.randint(1, 3)):
        spot = whole
        while isinstance(spot, dict | list) and spot:
            step = random.choice(list(spot)) if isinstance(spot, dict) else random.randrange(len(spot))
            if not isinstance(spot[step], dict | list) or not spot[step] or random.random() < 0.2:
                if random.random() < 0.2:
                    del spot[step]
                else:
                    spot[step] = deepcopy(random.choice(_ODD))  # what is put in twice would be within itself
                break
            spot = spot[step]
    return json.dumps(whole).encode()


_ODD_HEADERS = (
    "",
    " ",
    "Bearer",
    "Basic !",
    "sha256=",
    "sha256=00",
    "v1,",
    "\udcff",
    "é",
    "x" * 5000,
    "application/json",
    "push",
    "0",
    "a.b.c",
)


def _mutated_headers(random: Random, recorded: dict[str, str]) -> dict[str, str]:
    """The headers, of which in one of four cases some are replaced or dropped."""
    if not recorded or random.random() < 0.75:
        return recorded
    name = random.choice(list(recorded))
    kept = {key: value for key, value in recorded.items() if key != name}
    return kept if random.random() < 0.3 else kept | {name: random.choice(_ODD_HEADERS)}


def _proven_or_refused(sender: Sender, credentials: Credentials, delivery: Delivery) -> None:
    """What the intake asks of a sender before it reads."""
    with suppress(BadSignature):
        check = sender.verifier(delivery.headers, credentials)
        check.feed(delivery.body)
        check.check()
    for moment in (sender.signed_at, sender.expires_at, sender.begins_at):
        if moment is not None:
            with suppress(BadSignature):
                moment(delivery.headers)
    assert len(sender.delivery_id(delivery.headers)) <= 5000


@pytest.mark.parametrize("type_", RECEIVERS)
@pytest.mark.parametrize("count", [QUICK, pytest.param(FUZZ, marks=pytest.mark.fuzz), pytest.param(SOAK, marks=pytest.mark.soak)])
def test_many_mutations_are_read_or_refused_by_name(type_: str, count: int) -> None:
    """Only typed refusals. No hang: each takes less than a second. No growth: what lives at the end is what lived after the first tenth."""
    random, cases, slowest = Random(type_), [case for case in CASES if case.type == type_], 0.0
    sender, read, refused, held = RECEIVERS[type_], 0, 0, 0
    recorded = [(case.credentials, case.headers, case.body) for case in cases]
    for number in range(count):
        credentials, headers, body = random.choice(recorded)
        delivery = Delivery(headers=_mutated_headers(random, headers), body=_mutated(random, body))
        began = time.perf_counter()
        _proven_or_refused(sender, credentials, delivery)
        try:
            dump(sender.read(delivery))
            read += 1
        except BadPayload:
            refused += 1
        slowest = max(slowest, time.perf_counter() - began)
        if number == count // 10:
            gc.collect()
            held = len(gc.get_objects())
    gc.collect()
    assert read + refused == count
    assert slowest < 1
    assert len(gc.get_objects()) < held + 1000


@pytest.mark.parametrize("case", GOOD, ids=str)
def test_an_error_tells_nothing_of_the_body(case: Case) -> None:
    marked = re.sub(rb'": *"[^"]*"', b'": ["hunter2"]', case.body)
    if marked == case.body:
        return
    with suppress(BadPayload):
        RECEIVERS[case.type].read(Delivery(headers=case.headers, body=marked))
        return
    with pytest.raises(BadPayload) as caught:
        RECEIVERS[case.type].read(Delivery(headers=case.headers, body=marked))
    assert "hunter2" not in str(caught.value)
