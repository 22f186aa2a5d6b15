"""What happened last, kept in memory for whoever asks why: the last run of each Kustomization step by step, the last push of each source.

In: a word from each step as it ends. Out: values that can be shown. Nothing here decides anything; a restart begins with an empty trail.
Bounded: one run for each object, with the first lines of its changes, and one push for each source.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import wraps
from time import perf_counter
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from service.kinds.meta import ObjectKey
from service.reconcile.queue import Trigger
from service.sources.snapshot import Snapshot

if TYPE_CHECKING:
    from service.kustomizations.run import Run

P = ParamSpec("P")
T = TypeVar("T")
SHOWN_CHANGES, SHOWN_PATHS, SHOWN_READS, MESSAGE_LIMIT = 30, 30, 20, 4_000


@dataclass(slots=True, kw_only=True)
class LastRun:
    """The last run that built. `full`: every object was compared with the cluster. `ended_at` is None while it runs or waits for health."""

    began_at: datetime
    revision: str
    full: bool
    triggers: tuple[Trigger, ...]
    steps: list[tuple[str, float]] = field(default_factory=list)
    changes: tuple[str, ...] = ()
    change_count: int = 0
    ready: bool | None = None
    reason: str = ""
    message: str = ""
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LastPush:
    """What a new revision of a source changed, and whom it concerned: the recorded reads that differ, by object."""

    revision: str
    at: datetime
    paths: tuple[str, ...]
    path_count: int
    concerned: Mapping[ObjectKey, tuple[str, ...]]


class Trail:
    """One for the room."""

    def __init__(self) -> None:
        self._runs: dict[ObjectKey, LastRun] = {}
        self._pushes: dict[ObjectKey, LastPush] = {}

    def began(self, key: ObjectKey, *, revision: str, full: bool, triggers: tuple[Trigger, ...]) -> None:
        """A run begins to build."""
        self._runs[key] = LastRun(began_at=datetime.now(UTC), revision=revision, full=full, triggers=triggers)

    def step(self, key: ObjectKey, name: str, seconds: float) -> None:
        """A step of the run has ended, well or not."""
        if (found := self._runs.get(key)) is not None:
            found.steps.append((name, round(seconds, 4)))

    def ended(self, key: ObjectKey, *, ready: bool, reason: str, message: str, changes: Sequence[str]) -> None:
        """How the run ended. One that never came to build has no entry, and leaves the last one alone."""
        if (found := self._runs.get(key)) is None or found.ended_at is not None:
            return
        found.ready, found.reason, found.message = ready, reason, message[:MESSAGE_LIMIT]
        found.changes, found.change_count, found.ended_at = tuple(changes[:SHOWN_CHANGES]), len(changes), datetime.now(UTC)

    def compared(self, snapshot: Snapshot, paths: Collection[str], concerned: Mapping[ObjectKey, Collection[str]]) -> None:
        """A push has been compared with what stood before."""
        folders = {parent for path in paths for parent in _parents(path)}
        files = sorted(set(paths) - folders)
        self._pushes[snapshot.key] = LastPush(
            revision=snapshot.revision,
            at=datetime.now(UTC),
            paths=tuple(files[:SHOWN_PATHS]),
            path_count=len(files),
            concerned={key: tuple(sorted(reads)[:SHOWN_READS]) for key, reads in concerned.items()},
        )

    def run_of(self, key: ObjectKey) -> LastRun | None:
        return self._runs.get(key)

    def push_of(self, source: ObjectKey) -> LastPush | None:
        return self._pushes.get(source)

    def forget(self, key: ObjectKey) -> None:
        """The object is gone."""
        self._runs.pop(key, None)
        self._pushes.pop(key, None)


def _parents(path: str) -> Iterator[str]:
    """The folders above a path, the root too."""
    while path:
        path = path.rpartition("/")[0]
        yield path


def timed(name: str) -> Callable[[Callable[Concatenate["Run", P], Awaitable[T]]], Callable[Concatenate["Run", P], Awaitable[T]]]:
    """Note how long a step of a run took, whatever became of it."""

    def around(step: Callable[Concatenate["Run", P], Awaitable[T]]) -> Callable[Concatenate["Run", P], Awaitable[T]]:
        @wraps(step)
        async def noted(run: "Run", /, *args: P.args, **kwargs: P.kwargs) -> T:
            began = perf_counter()
            try:
                return await step(run, *args, **kwargs)
            finally:
                run.rooms.trail.step(run.key, name, perf_counter() - began)

        return noted

    return around
