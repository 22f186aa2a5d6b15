"""One push as a timeline, read from the service's own log: every line of it carries the delivery's trace id.

The times are those of the service, taken where the step happens; the demo adds when it sent the payload and when the message arrived.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of the flow: the log message that ends it and what is shown beside it. `begins` takes the line's duration off its time."""

    name: str
    message: str
    detail: Callable[[Line], str]
    begins: bool = False


STEPS = (
    Step(name="received", message="hook accepted", detail=lambda line: "the first byte is here", begins=True),
    Step(name="verified", message="hook accepted", detail=lambda line: "signature right, delivery on disk, 200 sent"),
    Step(name="fetched", message="new revision", detail=lambda line: str(line.get("revision", ""))),
    Step(name="compared", message="revision spread", detail=lambda line: f"{line.get('run')} to run, {line.get('still')} not concerned"),
    Step(name="built", message="built", detail=lambda line: f"{line.get('object')}, {line.get('objects')} objects"),
    Step(name="applied", message="applied", detail=lambda line: ", ".join(line.get("changes", ()))),
    Step(name="healthy", message="reconciled", detail=lambda line: "simulated: no containers run here"),
)


@dataclass(slots=True)
class Timeline:
    """Collects the first line of each step of one trace, after `sent_at` (seconds since the epoch)."""

    sent_at: float = 0.0
    seen: dict[str, tuple[float, Line]] = field(default_factory=dict)
    trace: str = ""

    def start(self, sent_at: float) -> None:
        self.sent_at, self.trace = sent_at, ""
        self.seen.clear()

    def read(self, text: str) -> Line | None:
        """Take a log line in; returns it parsed, or None for what is not one."""
        try:
            line = json.loads(text)
            moment = datetime.fromisoformat(line["ts"]).timestamp()
        except (ValueError, KeyError, TypeError):
            return None
        if not isinstance(line, dict) or not self.sent_at or moment < self.sent_at - 0.001:
            return line if isinstance(line, dict) else None
        if line.get("msg") == STEPS[0].message and not self.trace:
            self.trace = str(line.get("trace", ""))
        if self.trace and line.get("trace") == self.trace:
            self.seen.setdefault(str(line.get("msg")), (moment, line))
        return line

    @property
    def complete(self) -> bool:
        return not self.missing

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(step.name for step in STEPS if step.message not in self.seen)

    def rows(self) -> list[tuple[str, float, str]]:
        """(step, milliseconds after the payload was sent, detail) in the order of the flow."""
        found = [(step, *self.seen[step.message]) for step in STEPS if step.message in self.seen]
        began = [moment - (float(line.get("seconds", 0)) if step.begins else 0) for step, moment, line in found]
        return [(step.name, (at - self.sent_at) * 1000, step.detail(line)) for at, (step, _, line) in zip(began, found, strict=True)]
