"""The health of kinds that other projects bring and whose state kstatus' generic rules read wrongly. A live object in, Health out. Pure.

Formats: https://github.com/bitnami-labs/sealed-secrets https://external-secrets.io/latest/api/spec/ https://docs.flagger.app/usage/how-it-works
https://argo-rollouts.readthedocs.io/en/stable/generated/argo-rollouts/types/ (observedGeneration is a string there).
"""

from collections.abc import Callable, Mapping
from typing import Any

from service.cluster.verdict import Health, Status

Object = Mapping[str, Any]
ARGO, FLAGGER, ESO, SEALED = "argoproj.io", "flagger.app", "external-secrets.io", "bitnami.com"
WORKLOAD = "rollout.argoproj.io/workload-generation"


def _part(obj: Object, *path: str) -> Any:
    value: Any = obj
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _listed(obj: Object) -> list[Mapping[str, Any]]:
    found = _part(obj, "status", "conditions")
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _condition(obj: Object, type: str) -> Mapping[str, Any] | None:
    return next((each for each in _listed(obj) if each.get("type") == type), None)


def _health(status: Status, *words: object) -> Health:
    return Health(status=status, message=": ".join(str(word) for word in words if word))


def _words(condition: Mapping[str, Any]) -> tuple[object, object]:
    return condition.get("reason"), condition.get("message")


def _rollout(obj: Object) -> Health:
    generation, observed = _part(obj, "metadata", "generation"), _part(obj, "status", "observedGeneration")
    if observed is not None and generation is not None and str(observed) != str(generation):
        return _health(Status.IN_PROGRESS, f"Rollout generation is {generation}, but latest observed generation is {observed}")
    workload, seen = _part(obj, "metadata", "annotations", WORKLOAD), _part(obj, "status", "workloadObservedGeneration")
    if _part(obj, "spec", "workloadRef") and workload is not None and str(seen) != str(workload):
        return _health(Status.IN_PROGRESS, f"workload generation is {workload}, but latest observed generation is {seen}")
    phase, message = _part(obj, "status", "phase"), _part(obj, "status", "message")
    match phase:
        case "Healthy":
            return _health(Status.CURRENT, "Rollout is healthy")
        case "Degraded":
            return _health(Status.FAILED, "Rollout is degraded", message)
        case "Paused" if _part(obj, "spec", "paused") is True:
            return _health(Status.CURRENT, "Rollout is paused by its spec")
        case None | "":
            return _health(Status.IN_PROGRESS, "Rollout has no phase yet")
    aborted = _part(obj, "status", "abort") is True
    return _health(Status.FAILED if aborted else Status.IN_PROGRESS, "Rollout is aborted" if aborted else f"Rollout is {phase}", message)


def _analysis(obj: Object) -> Health:
    phase, message = _part(obj, "status", "phase"), _part(obj, "status", "message")
    status = {"Successful": Status.CURRENT, "Failed": Status.FAILED, "Error": Status.FAILED, "Inconclusive": Status.UNKNOWN}
    return _health(status.get(str(phase), Status.IN_PROGRESS), f"AnalysisRun is {phase or 'not started'}", message)


def _canary(obj: Object) -> Health:
    phase = _part(obj, "status", "phase")
    promoted = _condition(obj, "Promoted") or {}
    match phase:
        case "Initialized" | "Succeeded":
            return _health(Status.CURRENT, f"Canary is {phase}")
        case "Failed":
            return _health(Status.FAILED, "Canary failed and was rolled back", promoted.get("message"))
        case "Terminating" | "Terminated":
            return _health(Status.TERMINATING, f"Canary is {phase}")
        case _:
            return _health(Status.IN_PROGRESS, f"Canary is {phase or 'not initialized'}", promoted.get("message"))


def _sealed(obj: Object) -> Health:
    synced = _condition(obj, "Synced")
    if synced is None:
        return _health(Status.IN_PROGRESS, "SealedSecret is not looked at yet")
    match synced.get("status"):
        case "True":
            return _health(Status.CURRENT, "SealedSecret is synced")
        case "False":
            return _health(Status.FAILED, "SealedSecret cannot be unsealed", synced.get("message"))
    return _health(Status.IN_PROGRESS, *_words(synced))


def _external(obj: Object) -> Health:
    generation, synced = _part(obj, "metadata", "generation"), _part(obj, "status", "syncedResourceVersion")
    if synced and generation is not None and not str(synced).startswith(f"{generation}-"):
        return _health(Status.IN_PROGRESS, f"generation is {generation}, but what is synced is {synced}")
    return _store(obj)


def _store(obj: Object) -> Health:
    ready = _condition(obj, "Ready")
    if ready is None:
        return _health(Status.IN_PROGRESS, f"{obj.get('kind')} is not looked at yet")
    match ready.get("status"):
        case "True":
            return _health(Status.CURRENT, f"{obj.get('kind')} is ready", ready.get("reason"))
        case "False":
            return _health(Status.FAILED, *_words(ready))
    return _health(Status.IN_PROGRESS, *_words(ready))


def _everywhere(obj: Object) -> Health:
    """Conditions are appended, so the last one counts."""
    last = next((each for each in reversed(_listed(obj)) if each.get("status") == "True"), None)
    match last and last.get("type"):
        case None:
            return _health(Status.IN_PROGRESS, "ClusterExternalSecret is not looked at yet")
        case "Ready":
            return _health(Status.CURRENT, "ClusterExternalSecret is ready")
    failed = _part(obj, "status", "failedNamespaces")
    names = ", ".join(str(_part(each, "namespace")) for each in failed if isinstance(each, Mapping)) if isinstance(failed, list) else ""
    return _health(Status.FAILED, last and last.get("type"), last and last.get("message"), names)


RULES: dict[tuple[str, str], Callable[[Object], Health]] = {
    (ARGO, "Rollout"): _rollout,
    (ARGO, "AnalysisRun"): _analysis,
    (FLAGGER, "Canary"): _canary,
    (SEALED, "SealedSecret"): _sealed,
    (ESO, "ExternalSecret"): _external,
    (ESO, "PushSecret"): _store,
    (ESO, "SecretStore"): _store,
    (ESO, "ClusterSecretStore"): _store,
    (ESO, "ClusterExternalSecret"): _everywhere,
}
