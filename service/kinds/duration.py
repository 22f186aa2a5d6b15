"""Go's duration text, as Kubernetes writes it in every `interval` and `timeout`.

In: text such as `1m30s`. Out: a timedelta (microseconds are its smallest unit, finer parts are cut off), and the text back as Go prints it.
The format: https://pkg.go.dev/time#ParseDuration and https://pkg.go.dev/time#Duration.String
"""

import re
from datetime import timedelta

_NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"(?P<whole>[0-9]*)(?:\.(?P<fraction>[0-9]*))?(?P<unit>ns|us|µs|μs|ms|s|m|h)")
_LONGEST = 2**63 - 1
_MAX_TEXT = 100


def parse_duration(text: str) -> timedelta:
    """Return the duration that Go would read. Raises ValueError on any other text and past 292 years, Go's own bound."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return timedelta(0)
    if not rest or len(rest) > _MAX_TEXT:
        raise ValueError(f"not a duration: {text[:_MAX_TEXT]!r}, write it like 30s, 5m or 1h30m")
    nanoseconds = at = 0
    while at < len(rest):
        part = _PART.match(rest, at)
        if part is None or not (part["whole"] or part["fraction"]):
            raise ValueError(f"not a duration: {text!r}, write it like 30s, 5m or 1h30m")
        unit, fraction = _NANOSECONDS[part["unit"]], part["fraction"] or "0"
        nanoseconds += int(part["whole"] or 0) * unit + int(fraction) * unit // 10 ** len(fraction)
        at = part.end()
    if nanoseconds > _LONGEST:
        raise ValueError(f"a duration of {text!r} is longer than 292 years")
    return timedelta(microseconds=sign * (nanoseconds // 1000))


def format_duration(value: timedelta) -> str:
    """Return the duration as Go prints it: `1h0m0s`, `5m0s`, `1.5s`, `20ms`, `0s`."""
    microseconds = value // timedelta(microseconds=1)
    sign, microseconds = ("-" if microseconds < 0 else ""), abs(microseconds)
    if microseconds == 0:
        return "0s"
    if microseconds < 1000:
        return f"{sign}{microseconds}µs"
    if microseconds < 10**6:
        return f"{sign}{_decimal(microseconds, 3)}ms"
    minutes, rest = divmod(microseconds, 60 * 10**6)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, 6)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{text}"
    return f"{sign}{minutes}m{text}" if minutes else f"{sign}{text}"


def _decimal(value: int, places: int) -> str:
    whole, fraction = divmod(value, 10**places)
    return f"{whole}.{fraction:0{places}d}".rstrip("0").rstrip(".")
