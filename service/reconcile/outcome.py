"""How a reconcile ends: with an Outcome, or with an error that says what follows from it.

`Stalled`: a person must act, the object is not tried again until it or what it names changes. `Waiting`: something else must happen
first, with the time after which to look again at the latest. `Failed`: tried again with back-off. Each carries reason and message.
"""

from dataclasses import dataclass
from datetime import timedelta


class ReconcileError(Exception):
    """The run ended early; `reason` and `message` are what the Ready condition says."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Stalled(ReconcileError):
    """Nothing but a person's change can help."""


class Waiting(ReconcileError):
    """Not now: looked at again when what it waits for changes, and after `retry_after` at the latest."""

    def __init__(self, reason: str, message: str, retry_after: timedelta) -> None:
        super().__init__(reason, message)
        self.retry_after = retry_after


class Failed(ReconcileError):
    """This attempt failed; the next follows after `retry_after`, or the queue's back-off where that is None."""

    def __init__(self, reason: str, message: str, retry_after: timedelta | None = None) -> None:
        super().__init__(reason, message)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of a run.

    `result` is one word for the log, the metrics and the delivery log: `succeeded`, `unchanged`, `progressing` (applied, health is waited
    for), `suspended`, `gone`, `failed`, `waiting`, `stalled`. `requeue_after` is when to run again without any event (None: never).
    `backoff` asks the queue to choose that time.
    """

    result: str
    requeue_after: timedelta | None = None
    backoff: bool = False
    message: str = ""
