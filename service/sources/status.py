"""The status of a source of any kind as Flux writes it, as merge patches of the status subresource that hold only what changes.

Conditions, reasons and messages: https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/gitrepositories.md#gitrepository-status
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, Protocol

from service.kinds import meta
from service.kinds.codec import Object
from service.kinds.meta import Condition, Metadata, ObjectKey, format_time
from service.kinds.source import Artifact
from service.reconcile.conditions import condition, merged
from service.sources.failure import Failure, Stored

_FAILURES = (meta.FETCH_FAILED, meta.STORAGE_FAILED, meta.INCLUDE_UNAVAILABLE, meta.BUILD_FAILED)
_GONE_ON_SUCCESS = (meta.RECONCILING, meta.STALLED, *_FAILURES, meta.ARTIFACT_OUTDATED)


class SourceSpec(Protocol):
    """What the specs of all sources share."""

    @property
    def interval(self) -> timedelta: ...
    @property
    def suspend(self) -> bool: ...


class SourceStatus(Protocol):
    """What the statuses of all sources share."""

    @property
    def observed_generation(self) -> int: ...
    @property
    def conditions(self) -> tuple[Condition, ...]: ...
    @property
    def artifact(self) -> Artifact | None: ...


class Source(Object, Protocol):
    """An object of any of the kinds whose content others build from."""

    @property
    def metadata(self) -> Metadata: ...
    @property
    def spec(self) -> SourceSpec: ...
    @property
    def status(self) -> SourceStatus: ...
    @property
    def api_version(self) -> str: ...
    @property
    def key(self) -> ObjectKey: ...


def stored_patch(found: Source, raw: Mapping[str, Any], stored: Stored) -> dict[str, Any]:
    """The status after a success, without what the object already says; {} if that is all."""
    generation = found.metadata.generation
    now = [
        condition(meta.READY, "True", stored.reason, stored.ready, generation),
        condition(meta.ARTIFACT_IN_STORAGE, "True", stored.reason, stored.ready, generation),
        *stored.conditions,
        *_absent(_GONE_ON_SUCCESS, generation),
    ]
    own = {each.type for each in stored.conditions}
    before = [each for each in found.status.conditions if each.type != meta.SOURCE_VERIFIED or each.type in own]
    wanted = {
        "conditions": [each.to_json() for each in merged(before, now)],
        "observedGeneration": generation,
        "artifact": artifact_json(stored.artifact),
        **stored.status,
        **_handled(found),
    }
    changes = _changes(raw, wanted)
    if "artifact" in changes:
        changes["artifact"] = replacing((raw.get("status") or {}).get("artifact"), changes["artifact"])
    return changes


def replacing(before: Any, now: dict[str, Any]) -> dict[str, Any]:
    """`now` as a merge patch that leaves nothing of `before`."""
    if not isinstance(before, dict):
        return now
    inside = {key: replacing(before[key], value) for key, value in now.items() if isinstance(value, dict) and key in before}
    return {**dict.fromkeys(before.keys() - now.keys()), **now, **inside}


def failed_patch(found: Source, raw: Mapping[str, Any], failure: Failure) -> dict[str, Any]:
    """The status after a failure; the last artifact stays."""
    generation = found.metadata.generation
    now = [condition(meta.READY, "False", failure.reason, failure.message, generation)]
    now += _absent((*_FAILURES, meta.ARTIFACT_OUTDATED, meta.STALLED, meta.RECONCILING), generation)
    if failure.condition:
        status: Literal["True", "False"] = "False" if failure.condition == meta.SOURCE_VERIFIED else "True"
        now.append(condition(failure.condition, status, failure.reason, failure.message, generation))
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


def handled_patch(found: Source, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Only that a requested reconcile was seen: for a suspended object."""
    return _changes(raw, _handled(found))


def is_failing(conditions: Sequence[Condition]) -> bool:
    """Whether the last run failed."""
    return any(each.type in _FAILURES and each.status == "True" for each in conditions)


def _progress(found: Source, failure: Failure) -> str:
    if failure.revision:
        return f"building artifact: new upstream revision '{failure.revision}'"
    if found.status.artifact is None:
        return "building artifact"
    if found.metadata.generation != found.status.observed_generation:
        return f"processing object: new generation {found.status.observed_generation} -> {found.metadata.generation}"
    return "reconciliation in progress"


def _absent(types: Sequence[str], generation: int) -> list[Condition]:
    return [condition(each, "False", meta.SUCCEEDED, "", generation) for each in types]


def _handled(found: Source) -> dict[str, Any]:
    return {"lastHandledReconcileAt": found.metadata.requested_at} if found.metadata.requested_at else {}


def artifact_json(artifact: Artifact) -> dict[str, Any]:
    """An artifact as status.artifact says it."""
    found = {
        "path": artifact.path,
        "url": artifact.url,
        "revision": artifact.revision,
        "digest": artifact.digest,
        "lastUpdateTime": format_time(artifact.last_update_time) if artifact.last_update_time else None,
        "size": artifact.size,
        "metadata": dict(artifact.metadata) or None,
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
