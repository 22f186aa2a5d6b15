"""Times as the databases keep them: whole microseconds since 1970 in UTC, so that they compare and sort exactly."""

from datetime import UTC, datetime, timedelta

_START = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def now() -> datetime:
    """The present, aware, in UTC."""
    return datetime.now(UTC)


def to_stored(moment: datetime) -> int:
    """Microseconds since 1970 of an aware time."""
    return (moment - _START) // _MICROSECOND


def from_stored(microseconds: int) -> datetime:
    """The aware UTC time of what `to_stored` gave."""
    return _START + timedelta(microseconds=microseconds)
