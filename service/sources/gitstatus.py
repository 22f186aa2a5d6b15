"""The status of a GitRepository as Flux writes it, as merge patches of the status subresource that hold only what changes.

Conditions, reasons and messages: https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/gitrepositories.md#gitrepository-status
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.kinds import meta
from service.kinds.meta import Condition, format_time
from service.kinds.source import Artifact, GitRepository
from service.reconcile.conditions import condition, merged
from service.sources.snapshot import Snapshot

_GONE_ON_SUCCESS = (meta.RECONCILING, meta.STALLED, meta.FETCH_FAILED, meta.ARTIFACT_OUTDATED, meta.STORAGE_FAILED)
_FAILURES = (meta.FETCH_FAILED, meta.STORAGE_FAILED)
SUBJECT_LENGTH = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a run ended early: `condition` is FetchFailed, StorageOperationFailed or "" (the object itself is wrong)."""

    condition: str
    reason: str
    message: str
    stalls: bool = False
    revision: str = ""


def stored_patch(found: GitRepository, raw: Mapping[str, Any], artifact: Artifact) -> dict[str, Any]:
    """The status after a success, without what the object already says; {} if that is all."""
    generation, message = found.metadata.generation, stored_message(artifact.revision)
    now = [
        condition(meta.READY, "True", meta.SUCCEEDED, message, generation),
        condition(meta.ARTIFACT_IN_STORAGE, "True", meta.SUCCEEDED, message, generation),
        *_absent(_GONE_ON_SUCCESS, generation),
    ]
    wanted = {
        "conditions": [each.to_json() for each in merged(found.status.conditions, now)],
        "observedGeneration": generation,
        "artifact": _artifact_json(artifact),
        "observedIgnore": found.spec.ignore,
        **_handled(found),
    }
    return _changes(raw, wanted)


def failed_patch(found: GitRepository, raw: Mapping[str, Any], failure: Failure) -> dict[str, Any]:
    """The status after a failure; the last artifact stays."""
    generation = found.metadata.generation
    now = [condition(meta.READY, "False", failure.reason, failure.message, generation)]
    now += _absent((*_FAILURES, meta.ARTIFACT_OUTDATED, meta.STALLED, meta.RECONCILING), generation)
    if failure.condition:
        now.append(condition(failure.condition, "True", failure.reason, failure.message, generation))
    if failure.stalls:
        now.append(condition(meta.STALLED, "True", failure.reason, failure.message, generation))
    else:
        now.append(condition(meta.RECONCILING, "True", meta.PROGRESSING_WITH_RETRY, _progress(found, failure), generation))
    if failure.revision and found.status.artifact is not None:
        now.append(condition(meta.ARTIFACT_OUTDATED, "True", meta.NEW_REVISION, f"new upstream revision '{failure.revision}'", generation))
    latest = {each.type: each for each in now}  # the later entry of a type wins, so that one that stays True keeps its time
    wanted = {"conditions": [each.to_json() for each in merged(found.status.conditions, latest.values())], **_handled(found)}
    if failure.stalls:
        wanted["observedGeneration"] = generation
    return _changes(raw, wanted)


def handled_patch(found: GitRepository, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Only that a requested reconcile was seen: for a suspended object."""
    return _changes(raw, _handled(found))


def stored_message(revision: str) -> str:
    """What Ready says after a success."""
    return f"stored artifact for revision '{revision}'"


def new_artifact_message(snapshot: Snapshot) -> str:
    """What the event of a new artifact says."""
    subject = snapshot.subject
    return f"stored artifact for commit '{subject if len(subject) <= SUBJECT_LENGTH else subject[:SUBJECT_LENGTH] + '...'}'"


def is_failing(conditions: Sequence[Condition]) -> bool:
    """Whether the last run failed."""
    return any(each.type in _FAILURES and each.status == "True" for each in conditions)


def _progress(found: GitRepository, failure: Failure) -> str:
    if failure.revision:
        return f"building artifact: new upstream revision '{failure.revision}'"
    if found.status.artifact is None:
        return "building artifact"
    if found.metadata.generation != found.status.observed_generation:
        return f"processing object: new generation {found.status.observed_generation} -> {found.metadata.generation}"
    return "reconciliation in progress"


def _absent(types: Sequence[str], generation: int) -> list[Condition]:
    return [condition(each, "False", meta.SUCCEEDED, "", generation) for each in types]


def _handled(found: GitRepository) -> dict[str, Any]:
    return {"lastHandledReconcileAt": found.metadata.requested_at} if found.metadata.requested_at else {}


def _artifact_json(artifact: Artifact) -> dict[str, Any]:
    found = {
        "path": artifact.path,
        "url": artifact.url,
        "revision": artifact.revision,
        "digest": artifact.digest,
        "lastUpdateTime": format_time(artifact.last_update_time) if artifact.last_update_time else None,
        "size": artifact.size,
    }
    return {name: value for name, value in found.items() if value is not None}


def _changes(raw: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What of `wanted` the status does not say yet; None deletes."""
    status = raw.get("status") or {}
    return {name: value for name, value in wanted.items() if not _same(name, status.get(name), value)}


def _same(name: str, before: Any, after: Any) -> bool:
    if name == "conditions" and isinstance(before, list):
        return {each.get("type"): each for each in before} == {each["type"]: each for each in after}
    return bool(before == after)
