"""`--simulate-workloads`: gives workloads the status that real controllers would give them; every one says 'simulated'.

Committed events in, status writes out. The fields are those that kstatus and `kubectl wait` / `rollout status` read:
https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from service.apiserver.intake import Options, Target, now_text
from service.apiserver.objects import Objects
from service.apiserver.refusal import Refused
from service.apiserver.store import Event, Stored

Object = dict[str, Any]
SIMULATED = "simulated by the embedded API server: no container runs"
_log = logging.getLogger(__name__)


def _condition(kind: str, reason: str, now: str, *, status: str = "True") -> Object:
    return {"type": kind, "status": status, "reason": reason, "message": SIMULATED, "lastTransitionTime": now}


def _deployment(obj: Object, now: str) -> Object:
    count = obj["spec"].get("replicas", 1)
    conditions = [_condition("Available", "MinimumReplicasAvailable", now), _condition("Progressing", "NewReplicaSetAvailable", now)]
    for condition in conditions:
        condition["lastUpdateTime"] = now
    return _counted(obj, ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), count, conditions)


def _statefulset(obj: Object, now: str) -> Object:
    count = obj["spec"].get("replicas", 1)
    status = _counted(
        obj,
        ("replicas", "currentReplicas", "updatedReplicas", "readyReplicas", "availableReplicas"),
        count,
        [_condition("Simulated", "Simulated", now)],
    )
    revision = f"{obj['metadata']['name']}-simulated-{obj['metadata'].get('generation', 1)}"
    return {**status, "currentRevision": revision, "updateRevision": revision, "collisionCount": 0}


def _replicaset(obj: Object, now: str) -> Object:
    count = obj["spec"].get("replicas", 1)
    return _counted(
        obj, ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas"), count, [_condition("Simulated", "Simulated", now)]
    )


def _daemonset(obj: Object, now: str) -> Object:
    names = ("currentNumberScheduled", "desiredNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable")
    status = _counted(obj, names, 1, [_condition("Simulated", "Simulated", now)])
    return {**status, "numberMisscheduled": 0}


def _counted(obj: Object, names: tuple[str, ...], count: int, conditions: list[Object]) -> Object:
    return {"observedGeneration": obj["metadata"].get("generation", 1), **dict.fromkeys(names, count), "conditions": conditions}


def _job(obj: Object, now: str) -> Object:
    if obj["spec"].get("suspend"):
        return {"conditions": [_condition("Suspended", "JobSuspended", now)]}
    conditions = [_condition(kind, "CompletionsReached", now) for kind in ("SuccessCriteriaMet", "Complete")]
    for condition in conditions:
        condition["lastProbeTime"] = now
    done = obj["spec"].get("completions") or 1
    return {
        "conditions": conditions,
        "startTime": now,
        "completionTime": now,
        "succeeded": done,
        "ready": 0,
        "terminating": 0,
        "uncountedTerminatedPods": {},
    }


def _pod(obj: Object, now: str) -> Object:
    kinds = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    conditions = [{**_condition(kind, "Simulated", now), "observedGeneration": obj["metadata"].get("generation", 1)} for kind in kinds]
    containers = [
        {
            "name": one["name"],
            "image": one.get("image", ""),
            "imageID": "",
            "ready": True,
            "started": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": now}},
            "lastState": {},
        }
        for one in obj["spec"].get("containers", ())
    ]
    return {"phase": "Running", "conditions": conditions, "containerStatuses": containers, "startTime": now, "message": SIMULATED}


def _claim(obj: Object, now: str) -> Object:
    capacity = obj["spec"].get("resources", {}).get("requests", {})
    return {
        "phase": "Bound",
        "accessModes": obj["spec"].get("accessModes", []),
        "capacity": capacity,
        "conditions": [_condition("Simulated", "Simulated", now)],
    }


STATUSES: Mapping[str, Callable[[Object, str], Object]] = {
    "apps/deployments": _deployment,
    "apps/statefulsets": _statefulset,
    "apps/replicasets": _replicaset,
    "apps/daemonsets": _daemonset,
    "batch/jobs": _job,
    "/pods": _pod,
    "/persistentvolumeclaims": _claim,
}


class Simulation:
    """Writes the status of each workload that is new or has a new generation."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._todo: deque[Stored] = deque(row for key in STATUSES for row in objects.store.select(key))
        self._news = asyncio.Event()

    def see(self, event: Event) -> None:
        """Take note of an event of a workload."""
        if event.type != "DELETED" and event.new.resource in STATUSES:
            self._todo.append(event.new)
            self._news.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            while self._todo:
                row = self._todo.popleft()
                try:
                    await self._simulate(row)
                except Refused as refused:
                    if refused.code not in (404, 409):
                        _log.warning(
                            "a status could not be simulated", extra={"object": f"{row.namespace}/{row.name}", "reason": refused.message}
                        )
            self._news.clear()
            await self._news.wait()

    async def _simulate(self, row: Stored) -> None:
        live = self._objects.store.get(row.resource, row.namespace, row.name)
        resource = self._objects.registry.stored(row.resource)
        if live is None or live.version != row.version or resource is None:
            return
        obj = live.load()
        wanted = STATUSES[row.resource](obj, now_text())
        if obj["metadata"].get("deletionTimestamp") or _timeless(obj.get("status")) == _timeless(wanted) or _finished(row.resource, obj):
            return
        options = Options(manager="simulated-controllers", subresource="status")
        await self._objects.update(Target(resource=resource, namespace=row.namespace, name=row.name), {**obj, "status": wanted}, options)


def _finished(resource: str, obj: Object) -> bool:
    """A finished Job stays as it is."""
    return resource == "batch/jobs" and "completionTime" in obj.get("status", {})


def _timeless(status: Any) -> Any:
    if isinstance(status, dict):
        return {key: _timeless(value) for key, value in status.items() if not key.endswith(("Time", "startedAt"))}
    if isinstance(status, list):
        return [_timeless(item) for item in status]
    return status
