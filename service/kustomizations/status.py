"""The status of a Kustomization as Flux writes it, as what to merge into the status subresource.

Conditions, reasons and messages: kustomize-controller 1.9, api/v1/kustomization_types.go. `history` holds the last five distinct outcomes.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from service.kinds.kustomize import Kustomization
from service.kinds.meta import (
    ARTIFACT_FAILED,
    DRIFTED,
    HEALTH_CHECK_FAILED,
    PROGRESSING,
    PROGRESSING_WITH_RETRY,
    READY,
    RECONCILIATION_SUCCEEDED,
    RECONCILING,
    STALLED,
    SUCCEEDED,
    VALIDATION_FAILED,
    Condition,
    format_duration,
    format_time,
)
from service.reconcile.conditions import condition, merged

HEALTHY = "Healthy"
HISTORY_LENGTH = 5
MESSAGE_LIMIT = 20_000  # bytes; the CRD allows 32768 characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The end of a run: `reason` and `message` of Ready; `ready` False with `stalled`, `waiting` for something else, or a retry. `health`
    is what Healthy says where `healthy` is not None; it is not asked for where a run that is `ready` leaves that open."""

    revision: str
    ready: bool
    reason: str
    message: str
    stalled: bool = False
    waiting: bool = False
    healthy: bool | None = None
    health: str = ""
    inventory: Sequence[Mapping[str, str]] | None = None
    digest: str = ""
    took: timedelta = timedelta(0)
    handled: str = ""
    next_attempt: datetime | None = None
    drift: str = ""  # what is left alone; said by a run that ends well


def end_patch(found: Kustomization, raw: Mapping[str, Any], ended: Ended) -> dict[str, Any]:
    """The status after a run."""
    generation = found.metadata.generation
    ready = condition(READY, "True" if ended.ready else "False", ended.reason, ended.message[:MESSAGE_LIMIT], generation)
    if ended.ready:
        others = [condition(RECONCILING, "False", "", "", generation), condition(STALLED, "False", "", "", generation)]
        others.append(condition(DRIFTED, "True" if ended.drift else "False", "DriftDetected", ended.drift[:MESSAGE_LIMIT], generation))
    elif ended.stalled:
        others = [
            condition(STALLED, "True", ended.reason, ended.message[:MESSAGE_LIMIT], generation),
            condition(RECONCILING, "False", "", "", generation),
        ]
    else:
        others = [
            condition(RECONCILING, "True", PROGRESSING_WITH_RETRY, _retry_words(ended)[:MESSAGE_LIMIT], generation),
            condition(STALLED, "False", "", "", generation),
        ]
    if ended.healthy is not None:
        reason = SUCCEEDED if ended.healthy else HEALTH_CHECK_FAILED
        others.append(condition(HEALTHY, "True" if ended.healthy else "False", reason, ended.health[:MESSAGE_LIMIT], generation))
    unasked = ended.ready and ended.healthy is None
    before = [each for each in found.status.conditions if not (unasked and each.type == HEALTHY)]
    status: dict[str, Any] = {"conditions": conditions_json(before, [ready, *others])}
    if ended.revision and not ended.waiting and ended.reason != ARTIFACT_FAILED:  # else nothing was attempted
        status["lastAttemptedRevision"] = ended.revision
    if ended.ready or ended.stalled:
        status["observedGeneration"] = generation
    if ended.ready:
        status["lastAppliedRevision"] = ended.revision
    if ended.inventory is not None:
        status["inventory"] = {"entries": list(ended.inventory)}
    if ended.handled:
        status["lastHandledReconcileAt"] = ended.handled
    if ended.digest:
        status["history"] = _history((raw.get("status") or {}).get("history") or (), ended)
    return status


def _retry_words(ended: Ended) -> str:
    """The failure, after the time of the next attempt: Ready has it without, so that it stays the same while the failure does."""
    return f"next attempt at {format_time(ended.next_attempt)}: {ended.message}" if ended.next_attempt is not None else ended.message


def progress_patch(found: Kustomization, message: str) -> dict[str, Any]:
    """The status while a run waits for health, which may take long."""
    generation = found.metadata.generation
    now = [
        condition(RECONCILING, "True", PROGRESSING, message, generation),
        condition(READY, "Unknown", PROGRESSING, "Reconciliation in progress", generation),
        condition(STALLED, "False", "", "", generation),
        condition(HEALTHY, "Unknown", PROGRESSING, message, generation),
    ]
    return {"conditions": conditions_json(found.status.conditions, now)}


def move_patch(found: Kustomization, revision: str) -> dict[str, Any]:
    """The status of an object that a push does not concern: the same outcome at a newer revision."""
    ready = condition(READY, "True", RECONCILIATION_SUCCEEDED, f"Applied revision: {revision}", found.metadata.generation)
    return {
        "conditions": conditions_json(found.status.conditions, [ready]),
        "lastAppliedRevision": revision,
        "lastAttemptedRevision": revision,
    }


def invalid_patch(raw: Mapping[str, Any], message: str) -> dict[str, Any] | None:
    """The status of an object that does not have the shape of its kind; None where it says so already."""
    generation = int(raw["metadata"].get("generation") or 0)
    before = [each for each in (raw.get("status") or {}).get("conditions") or () if isinstance(each, dict)]
    said = any(e.get("type") == READY and e.get("message") == message and e.get("observedGeneration") == generation for e in before)
    ready, stalled = (
        condition(READY, "False", VALIDATION_FAILED, message, generation),
        condition(STALLED, "True", VALIDATION_FAILED, message, generation),
    )
    now = [ready, stalled]
    return None if said else {"conditions": conditions_json((), now), "observedGeneration": generation}


def conditions_json(before: Sequence[Condition], now: Iterable[Condition]) -> list[dict[str, object]]:
    """The merged list as JSON."""
    return [each.to_json() for each in merged(before, now)]


def digest_of(digests: Mapping[str, str]) -> str:
    """One digest for all objects of a build, in the form of the history entries."""
    lines = "\n".join(f"{key} {digests[key]}" for key in sorted(digests))
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def finished_message(took: timedelta, interval: timedelta) -> str:
    """`Reconciliation finished in D, next run in I`."""
    shown = timedelta(milliseconds=max(1, round(took.total_seconds() * 1000)))
    return f"Reconciliation finished in {format_duration(shown)}, next run in {format_duration(interval)}"


def _history(before: Sequence[Mapping[str, Any]], ended: Ended) -> list[dict[str, Any]]:
    """Newest first; an entry is one digest with one outcome, counted."""
    now = format_time(datetime.now(UTC))
    old = next((dict(e) for e in before if e.get("digest") == ended.digest and e.get("lastReconciledStatus") == ended.reason), None)
    entry = {
        "digest": ended.digest,
        "firstReconciled": old["firstReconciled"] if old else now,
        "lastReconciled": now,
        "lastReconciledDuration": format_duration(timedelta(milliseconds=max(1, round(ended.took.total_seconds() * 1000)))),
        "lastReconciledStatus": ended.reason,
        "totalReconciliations": int(old["totalReconciliations"] if old else 0) + 1,
        "metadata": {"revision": ended.revision},
    }
    others = [dict(e) for e in before if not (e.get("digest") == ended.digest and e.get("lastReconciledStatus") == ended.reason)]
    return [entry, *others][:HISTORY_LENGTH]
