"""What each Receiver saw last: when a delivery came, when one was taken, why one was refused, and how many there were.

In: the end of each request. Out: a record for each Receiver, since the start of the process; nothing is written to the cluster for it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from service.kinds.meta import ObjectKey


@dataclass(slots=True, kw_only=True)
class Seen:
    """Of one Receiver. `counts` by verdict: stored, filtered, duplicate, refused."""

    counts: dict[str, int] = field(default_factory=dict)
    at: datetime | None = None
    taken_at: datetime | None = None
    refused_at: datetime | None = None
    refusal: str = ""


class LastSeen:
    """Grows with the number of Receivers and no further."""

    def __init__(self) -> None:
        self.by_receiver: dict[ObjectKey, Seen] = {}

    def taken(self, receiver: ObjectKey, verdict: str) -> None:
        """A delivery was verified."""
        seen, now = self._of(receiver), datetime.now(UTC)
        seen.at = seen.taken_at = now
        seen.counts[verdict] = seen.counts.get(verdict, 0) + 1

    def refused(self, receiver: ObjectKey, reason: str) -> None:
        """A delivery was not taken."""
        seen, now = self._of(receiver), datetime.now(UTC)
        seen.at = seen.refused_at = now
        seen.refusal = reason[:500]
        seen.counts["refused"] = seen.counts.get("refused", 0) + 1

    def keep(self, receivers: Iterable[ObjectKey]) -> None:
        """Forget all but these."""
        for gone in set(self.by_receiver).difference(receivers):
            del self.by_receiver[gone]

    def shown(self, receiver: ObjectKey) -> Mapping[str, object]:
        """For the admin port."""
        seen = self.by_receiver.get(receiver, Seen())
        times = {"at": seen.at, "takenAt": seen.taken_at, "refusedAt": seen.refused_at}
        return {name: at.isoformat(timespec="milliseconds") if at else None for name, at in times.items()} | {
            "refusal": seen.refusal,
            "counts": dict(seen.counts),
        }

    def _of(self, receiver: ObjectKey) -> Seen:
        return self.by_receiver.setdefault(receiver, Seen())
