"""Go's durations: its own examples, and round trips."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.kinds.duration import format_duration, parse_duration

LONGEST = timedelta(microseconds=(2**63 - 1) // 1000)


@pytest.mark.parametrize(
    ("text", "seconds", "printed"),
    [
        ("0", 0, "0s"),
        ("0s", 0, "0s"),
        ("60s", 60, "1m0s"),
        ("1m30s", 90, "1m30s"),
        ("1h", 3600, "1h0m0s"),
        ("1h15m30.918s", 4530.918, "1h15m30.918s"),
        ("1.5h", 5400, "1h30m0s"),
        (".5s", 0.5, "500ms"),
        ("5.s", 5, "5s"),
        ("1h-", None, None),
        ("1.5ms", 0.0015, "1.5ms"),
        ("100us", 0.0001, "100µs"),
        ("100µs", 0.0001, "100µs"),
        ("100μs", 0.0001, "100µs"),
        ("1999ns", 0.000001, "1µs"),
        ("-1m", -60, "-1m0s"),
        ("+5s", 5, "5s"),
        ("90m90s", 5490, "1h31m30s"),
    ],
)
def test_reads_and_prints_as_go_does(text: str, seconds: float | None, printed: str | None) -> None:
    if seconds is None:
        with pytest.raises(ValueError, match="write it like"):
            parse_duration(text)
        return
    assert parse_duration(text) == timedelta(seconds=seconds)
    assert format_duration(parse_duration(text)) == printed


@pytest.mark.parametrize(
    "text", ["", "-", "+", "5", "s", ".s", "1x", "1 s", " 1s", "1s ", "1d", "1m30", "1e3s", "１s", "--1s", "1S", "0" * 200 + "s"]
)
def test_refuses_what_go_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


def test_bound_is_that_of_go() -> None:
    assert parse_duration("2562047h47m16.854775807s") == LONGEST
    with pytest.raises(ValueError, match="292 years"):
        parse_duration("2562048h")


@given(st.timedeltas(min_value=-LONGEST, max_value=LONGEST))
def test_what_is_printed_reads_back(value: timedelta) -> None:
    assert parse_duration(format_duration(value)) == value


@given(st.text(alphabet="0123456789.hmsuµn+-x", max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        value = parse_duration(text)
    except ValueError:
        return
    assert parse_duration(format_duration(value)) == value
