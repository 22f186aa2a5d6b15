"""Conditions as Flux keeps them: a list in status, negative ones only while True, a new time whenever status, reason or message change.

https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from service.kinds.meta import Condition

NEGATIVE = frozenset(
    (
        "Reconciling",
        "Stalled",
        "FetchFailed",
        "ArtifactOutdated",
        "StorageOperationFailed",
        "BuildFailed",
        "IncludeUnavailable",
        "Drifted",
        "Muted",
    )
)
_ORDER = ("Reconciling", "Stalled", "Ready")


def merged(before: Sequence[Condition], now: Iterable[Condition]) -> tuple[Condition, ...]:
    """`before` with the conditions of `now` put in; a negative one that is not True goes; unchanged ones keep their time."""
    by_type = {condition.type: condition for condition in before}
    for condition in now:
        old = by_type.get(condition.type)
        if condition.type in NEGATIVE and condition.status != "True":
            by_type.pop(condition.type, None)
        elif old is None or (old.status, old.reason, old.message) != (condition.status, condition.reason, condition.message):
            by_type[condition.type] = condition
        else:
            by_type[condition.type] = replace(old, observed_generation=condition.observed_generation)
    return tuple(sorted(by_type.values(), key=lambda c: (_ORDER.index(c.type) if c.type in _ORDER else len(_ORDER), c.type)))


def condition(kind: str, status: Literal["True", "False", "Unknown"], reason: str, message: str, generation: int) -> Condition:
    """A condition as of now."""
    return Condition(
        type=kind,
        status=status,
        reason=reason,
        message=message,
        observed_generation=generation,
        last_transition_time=datetime.now(UTC).replace(microsecond=0),
    )
