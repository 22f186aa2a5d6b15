"""Foreign JSON before it is parsed: how deep it is, found out without parsing it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receivers.contract import BadPayload
from receivers.payload import DEEPEST, parse


def nested(levels: int) -> bytes:
    """An object of so many levels, of lists and objects in turn."""
    return (
        b'{"a":'
        + b"".join(b"[" if level % 2 else b'{"b":' for level in range(1, levels))
        + b"1"
        + b"".join(b"]" if level % 2 else b"}" for level in reversed(range(1, levels)))
        + b"}"
    )


@pytest.mark.parametrize("padding", [b"", b"[]," * 100, b'"[[[", ' * 100, b'"\\"[", ' * 100])
def test_as_many_levels_as_are_allowed_are_read_and_one_more_is_not(padding: bytes) -> None:
    fine, deep = nested(DEEPEST), nested(DEEPEST + 1)
    assert json.loads(fine) == parse(fine)
    with pytest.raises(BadPayload, match="deeper than 64"):
        parse(deep)
    beside = b'{"x": [' + padding + b'0], "y": '
    assert parse(beside + nested(DEEPEST - 1) + b"}")
    with pytest.raises(BadPayload, match="deeper than 64"):
        parse(beside + nested(DEEPEST) + b"}")


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"a":' * 200_000, b"[{" * 100_000, b"[]" * 50 + b"[" * 100, b"]" * 100 + b"[" * 100])
def test_what_never_ends_is_refused_before_it_is_parsed(body: bytes) -> None:
    with pytest.raises(BadPayload):
        parse(body)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet='[]{}",:1\\ ', max_size=300))
def test_any_mixture_of_brackets_is_read_or_refused(text: str) -> None:
    try:
        found = parse(text.encode())
    except BadPayload:
        return
    assert found == json.loads(text)
