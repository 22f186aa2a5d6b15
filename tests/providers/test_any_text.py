"""Whatever an event says, each provider makes valid and bounded requests of it, in which the text is only text."""

import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers import PROVIDERS
from providers.contract import Busy, Event, Rejected, Response, Secret, Target
from tests.providers.conftest import event_of, requests_of
from tests.providers.targets import TARGETS, check

OVER_HTTP = [name for name, line in PROVIDERS.items() if line.publish is None]
TEXT = st.text(max_size=200) | st.text("<>&!@#|`*_~[](){}.-=+\\:\n\r /\x00\x1b\u202e\u200b😀\ud800\"'", max_size=400)
LONG = st.sampled_from(["@everyone <!channel> [x](https://evil.example) " * 900, "😀" * 20_000, "&" * 39_000, "a\n" * 19_000, "`" * 39_000])
SHA = "5394cb7f48332b2de7c17dd8b8384bbc84b7e738"
WHO = b'{"login": "sluice", "username": "sluice", "access_token": "t"}'
ANSWERS = [Response(status=200, headers={}, body=WHO)]  # who we are, where a type asks that
BASE = {
    "kind": "Kustomization", "namespace": "apps", "name": "web", "severity": "error", "reason": "BuildFailed", "message": "",
    "timestamp": "2026-11-21T12:00:00+00:00", "uid": "d1",
}  # fmt: skip


@pytest.mark.parametrize("name", OVER_HTTP)
@settings(max_examples=40, deadline=None)
@given(
    names=st.tuples(TEXT, TEXT, TEXT, TEXT),
    severity=st.sampled_from(["info", "error"]),
    message=TEXT | LONG,
    metadata=st.dictionaries(st.sampled_from(["summary", "commit_subject", "app-version", "cluster"]) | TEXT, TEXT | LONG, max_size=8),
)
def test_any_event_makes_bounded_requests(
    name: str, names: tuple[str, str, str, str], severity: Any, message: str, metadata: dict[str, str]
) -> None:
    kind, namespace, title, reason = names
    fixed = {"revision": f"main@sha1:{SHA}", "change_request": "7"}
    texts = {"kind": kind, "namespace": namespace, "name": title, "reason": reason, "message": message}
    event = event_of(BASE | texts | {"severity": severity, "metadata": metadata | fixed, "controller": title})
    for request in requests_of(PROVIDERS[name], event, TARGETS[name], ANSWERS):
        parts = urlsplit(request.url.reveal())
        assert parts.scheme in ("http", "https")
        assert parts.hostname is not None
        assert not parts.hostname.startswith(("-", "."))
        assert re.fullmatch(r"[!-~]+", request.url.reveal()), "an address holds printable ASCII only"
        for header in (*request.headers, *request.headers.values()):
            assert header.isascii()
            assert header.isprintable()
        assert len(request.body) < 500_000
        request.body.decode()
        check(name, request)


@pytest.mark.parametrize("name", OVER_HTTP)
def test_same_event_makes_the_same_requests(name: str) -> None:
    event = event_of(BASE | {"metadata": {"b": "1", "a": "2", "revision": f"main@sha1:{SHA}", "change_request": "7"}})
    again = event_of(BASE | {"metadata": {"change_request": "7", "revision": f"main@sha1:{SHA}", "a": "2", "b": "1"}})
    one, two = ([(each.url, each.body) for each in requests_of(PROVIDERS[name], told, TARGETS[name], ANSWERS)] for told in (event, again))
    assert one == two
    assert one


@pytest.mark.parametrize("name", [name for name in OVER_HTTP if PROVIDERS[name].address != "unused"])
def test_without_address_and_credentials_a_provider_says_what_to_set(name: str) -> None:
    with pytest.raises(Rejected, match=r"set |put |add |no "):
        list(requests_of(PROVIDERS[name], event_of(BASE | {"metadata": {"change_request": "7", "revision": SHA}}), Target()))


@pytest.mark.parametrize("name", OVER_HTTP)
@settings(max_examples=40, deadline=None)
@given(
    status=st.integers(100, 599), body=st.binary(max_size=200) | st.sampled_from([b"[]", b"{}", b"[1]", b"null", b'{"a": [{}]}', b'"x"'])
)
def test_any_answer_ends_in_one_of_three_ways(name: str, status: int, body: bytes) -> None:
    event: Event = event_of(BASE | {"metadata": {"revision": f"main@sha1:{SHA}", "change_request": "7"}})
    answers = [Response(status=status, headers={"retry-after": "3"}, body=body)] * 12
    try:
        list(requests_of(PROVIDERS[name], event, TARGETS[name], answers))
    except (Busy, Rejected) as error:
        assert len(str(error)) < 400  # noqa: PT017 - which error it is does not matter here
        for secret in (TARGETS[name].token, TARGETS[name].password, Secret("hush")):
            assert not secret or secret.reveal() not in str(error)  # noqa: PT017
    else:
        assert 200 <= status < 300
