"""Two writers of one field: when a correction is undone again and again, it is no drift but a dispute, and only people can end it.

In: each field that was corrected, and when. Out: whether it is disputed, and when the next correction may follow: later each time.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta

FLIPS = 3
WITHIN = timedelta(minutes=5)
FIRST_PAUSE, LAST_PAUSE = timedelta(minutes=1), timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """A field (`path`) that `manager` changes back: so many times, and how long it is left to them now."""

    path: str
    manager: str
    times: int
    pause: timedelta


@dataclass(slots=True)
class _Fight:
    flips: dict[tuple[str, str], deque[float]] = field(default_factory=dict)
    level: int = 0
    last: float = 0.0
    until: float = 0.0


class Fights:
    """Keyed by whatever names an object. `clock` counts seconds. In memory: a restart forgets, and learns again after three flips."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._fights: dict[object, _Fight] = {}

    def corrected(self, subject: object, fields: Iterable[tuple[str, str]]) -> Dispute | None:
        """These fields (path, manager) of an object were set back to what Git says. A Dispute if that was once too often."""
        now = self._clock()
        fight = self._fights.setdefault(subject, _Fight())
        window = max(WITHIN.total_seconds(), 3 * _pause(fight.level).total_seconds() if fight.level else 0)
        if now - fight.last > window:
            fight.level = 0
            fight.flips.clear()
        fight.last = now
        worst: Dispute | None = None
        for path, manager in fields:
            times = fight.flips.setdefault((path, manager), deque(maxlen=100))
            times.append(now)
            while now - times[0] > window:
                times.popleft()
            if len(times) >= FLIPS and (worst is None or len(times) > worst.times):
                worst = Dispute(path=path, manager=manager, times=len(times), pause=_pause(fight.level + 1))
        if worst is not None:
            fight.level += 1
            fight.until = now + worst.pause.total_seconds()
        return worst

    def pause(self, subject: object) -> timedelta:
        """How long the object is left alone from now on; zero where it is not disputed."""
        fight = self._fights.get(subject)
        return timedelta(seconds=max(0.0, fight.until - self._clock())) if fight is not None else timedelta(0)

    def forget(self, subjects: Iterable[object]) -> None:
        """They are gone."""
        for subject in subjects:
            self._fights.pop(subject, None)


def _pause(level: int) -> timedelta:
    return min(LAST_PAUSE, FIRST_PAUSE * int(2 ** min(level - 1, 10)))
