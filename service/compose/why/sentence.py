"""The answer in one sentence: the first cause that a person would name, the deepest one that is known."""

from collections.abc import Mapping, Sequence
from typing import Any

WAITS_FOR_OTHERS = frozenset({"", "DependencyNotReady", "Progressing"})
WAITS_FOR_SOURCE = frozenset({"", "ArtifactFailed"})


def sentence(answer: Mapping[str, Any]) -> str:
    """Return one sentence for an answer of `explain`."""
    state = answer["state"]
    asked = answer.get("asked")
    if asked and asked.get("status", "Current") != "Current":
        return f"{asked['object']} is {asked['status']}: {_words(asked)}; it belongs to {asked['owner']}, which {_of(answer, state)}"
    return f"{answer['object']} {_of(answer, state)}"


def _of(answer: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    if state.get("deleting"):
        return f"is being deleted: {state.get('message', '')}"
    if state.get("suspended"):
        return "is suspended: nothing runs until spec.suspend is false"
    if state.get("ready") == "True":
        return _ready(answer, state)
    reason = state.get("reason", "")
    blocker = _deepest(answer.get("dependencies") or ()) if reason in WAITS_FOR_OTHERS else None
    if blocker:
        why = "is not there" if blocker.get("missing") else f"is not ready: {_first(blocker.get('message'))}"
        return f"waits for {blocker['object']}, which {why}"
    source = answer.get("source") or {}
    if source.get("missing"):
        return f"has no source: {source.get('object')} is not there"
    if "object" in source and source.get("ready") not in (None, "True") and reason in WAITS_FOR_SOURCE:
        return f"waits for {source['object']}: {_first(source.get('message'))}"
    return _not_ready(answer, state)


def _ready(answer: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    at = f" at {state['applied']}" if state.get("applied") else ""
    if unhealthy := answer.get("health"):
        return f"is ready{at}, yet {unhealthy[0]['object']} is {unhealthy[0]['status']} now: {_words(unhealthy[0])}"
    push = answer.get("push") or {}
    if push and push.get("revision") == state.get("applied"):
        return f"is ready{at}: {push['said']}"
    attempt = answer.get("next") or {}
    return f"is ready{at}" + ("; it runs now" if attempt.get("running") else "")


def _not_ready(answer: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    unhealthy = answer.get("health") or ()
    words = _first(state.get("message"))
    if state.get("reason") in ("HealthCheckFailed", "Progressing") and unhealthy:
        said = f"{unhealthy[0]['object']} is {unhealthy[0]['status']}: {_words(unhealthy[0])}"
        return f"waits for health: {said}" if state["reason"] == "Progressing" else f"is not healthy: {said}"
    if state.get("reason") == "Progressing":
        return f"is under way: {state.get('progress') or words}"
    if not state.get("reason"):
        return f"is {words}"
    stalled = "has stalled, and only a change of it helps" if state.get("stalled") else f"failed with {state['reason']}"
    return f"{stalled}: {words}"


def _deepest(dependencies: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Down the chain to the one that waits for nobody else."""
    for each in dependencies:
        if each.get("missing") or each.get("ready") != "True":
            return _deepest(each.get("dependencies") or ()) or each
    return None


def _words(entry: Mapping[str, Any]) -> str:
    pods = entry.get("pods") or ()
    return str(pods[0] if pods else entry.get("message", ""))


def _first(text: object) -> str:
    return next(iter(str(text or "").splitlines()), "")
