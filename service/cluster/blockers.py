"""What keeps a workload from being healthy, down to the Pod's own words. Live objects in, one line each out; the texts are the cluster's.

Where the words stand: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#PodStatus (container states),
conditions PodScheduled, ReplicaFailure, and the phase of PersistentVolumeClaims.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from service.cluster.client import Cluster, ClusterError
from service.cluster.inventory import ObjectId
from service.cluster.kstatus import Status, status_of

Object = Mapping[str, Any]
READ_TIMEOUT = timedelta(seconds=5)
MOST_PODS, MOST_LINES, MOST_TEXT = 100, 3, 500
_OWNERS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"})


async def blockers(cluster: Cluster, workload: Object) -> tuple[str, ...]:
    """What the Pods (and for a Deployment the ReplicaSets) of an unhealthy workload say, a few lines; () where nothing is known.

    Never raises for the cluster's sake: whoever asks has something more important to tell.
    """
    if workload.get("kind") == "Pod":
        return pod_lines(workload, ())
    if workload.get("kind") == "PersistentVolumeClaim":
        return ()
    labels = _part(workload, "spec", "selector", "matchLabels") or {}
    if workload.get("kind") not in _OWNERS or not isinstance(labels, Mapping) or not labels:
        return ()
    try:
        async with asyncio.timeout(READ_TIMEOUT.total_seconds()):
            return await _of_workload(cluster, workload, ",".join(f"{key}={value}" for key, value in labels.items()))
    except (ClusterError, TimeoutError) as error:
        return (f"its Pods could not be read: {str(error) or 'no answer in time'}",)


async def _of_workload(cluster: Cluster, workload: Object, selector: str) -> tuple[str, ...]:
    namespace = _part(workload, "metadata", "namespace")
    core, apps = f"/api/v1/namespaces/{namespace}", f"/apis/apps/v1/namespaces/{namespace}"
    query = {"labelSelector": selector, "limit": str(MOST_PODS)}
    pods = await _items(cluster, f"{core}/pods", query, "Pod")
    lines = list(creation_lines(workload))
    if workload.get("kind") == "Deployment":
        sets = await _items(cluster, f"{apps}/replicasets", query, "ReplicaSet")
        lines += [line for each in sets for line in creation_lines(each)]
    claims: Sequence[Object] = ()
    if any(_claims(pod) for pod in pods if _part(pod, "status", "phase") == "Pending"):
        claims = await _items(cluster, f"{core}/persistentvolumeclaims", {"limit": "500"}, "PersistentVolumeClaim")
    newest = sorted(pods, key=lambda pod: str(_part(pod, "metadata", "creationTimestamp")), reverse=True)
    lines += [line for pod in newest for line in pod_lines(pod, claims)]
    return tuple(dict.fromkeys(lines))[:MOST_LINES]


async def _items(cluster: Cluster, path: str, query: Mapping[str, str], kind: str) -> list[Object]:
    """What a list has; its items do not say their kind."""
    body = (await cluster.request("GET", path, query=query, timeout=READ_TIMEOUT)).body
    return [{**each, "apiVersion": body.get("apiVersion"), "kind": kind} for each in body.get("items") or ()]


def creation_lines(owner: Object) -> tuple[str, ...]:
    """What a ReplicaSet (or a Deployment that quotes it) says of Pods that it may not make: quota, admission, security."""
    listed = _part(owner, "status", "conditions")
    found = [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
    name = _part(owner, "metadata", "name")
    return tuple(
        f"{owner.get('kind') or 'ReplicaSet'} {name}: {_short(each.get('reason'))}: {_short(each.get('message'))}"
        for each in found
        if each.get("type") == "ReplicaFailure" and each.get("status") == "True"
    )


def pod_lines(pod: Object, claims: Sequence[Object]) -> tuple[str, ...]:
    """What a Pod that is not ready says; () for one that is. `claims`: the PersistentVolumeClaims of its namespace."""
    health = status_of(pod)
    if health.status is Status.CURRENT and _part(pod, "status", "phase") != "Failed":
        return ()
    name = f"Pod {_part(pod, 'metadata', 'name')}"
    said = [*_unbound(pod, claims), *_unscheduled(pod), *_containers(pod), *_ended(pod)]
    if health.status is Status.TERMINATING:
        said = ["is being deleted"]
    return tuple(f"{name}: {line}" for line in said) or (f"{name}: {health.message}",)


def _unscheduled(pod: Object) -> Iterable[str]:
    for each in _part(pod, "status", "conditions") or ():
        if isinstance(each, Mapping) and each.get("type") == "PodScheduled" and each.get("status") == "False":
            yield f"{_short(each.get('reason'))}: {_short(each.get('message'))}"


def _unbound(pod: Object, claims: Sequence[Object]) -> Iterable[str]:
    wanted = _claims(pod)
    phases = {_part(claim, "metadata", "name"): claim for claim in claims}
    for name in wanted:
        claim = phases.get(name)
        if claim is None and claims:
            yield f"PersistentVolumeClaim {name} is not there"
        elif claim is not None and _part(claim, "status", "phase") != "Bound":
            storage = _part(claim, "spec", "storageClassName")
            yield f"PersistentVolumeClaim {name} is {_part(claim, 'status', 'phase') or 'Pending'}, storage class {storage or 'default'}"


def _containers(pod: Object) -> Iterable[str]:
    for field in ("initContainerStatuses", "containerStatuses"):
        for each in _part(pod, "status", field) or ():
            if not isinstance(each, Mapping):
                continue
            yield from _container(each, init=field.startswith("init"))


def _container(status: Object, *, init: bool) -> Iterable[str]:
    name = f"{'init container' if init else 'container'} {status.get('name')}"
    waiting, ended, last = _map(status, "state", "waiting"), _map(status, "state", "terminated"), _map(status, "lastState", "terminated")
    if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
        words = [
            str(waiting["reason"]),
            _short(waiting.get("message")),
            _exit(last),
            f"restarts: {status.get('restartCount')}" if last else "",
        ]
        yield f"{name}: {'; '.join(word for word in words if word)}"
    elif ended and ended.get("exitCode") not in (0, None):
        yield f"{name}: {_exit(ended)}"
    elif _part(status, "state", "running") is not None and status.get("ready") is False and not init:
        yield f"{name}: runs, but is not ready" + (f"; {_exit(last)}" if last else "")


def _exit(ended: Object) -> str:
    """`message` is the end of the container's log where it asks for that (terminationMessagePolicy)."""
    if not ended:
        return ""
    said = _short(ended.get("message"))
    return f"last ended with {ended.get('reason') or 'exit'} {ended.get('exitCode')}" + (f": {said}" if said else "")


def _ended(pod: Object) -> Iterable[str]:
    if _part(pod, "status", "phase") == "Failed" and (reason := _part(pod, "status", "reason")):
        yield f"{_short(reason)}: {_short(_part(pod, 'status', 'message'))}"


def _claims(pod: Object) -> tuple[str, ...]:
    volumes = _part(pod, "spec", "volumes") or ()
    return tuple(str(name) for each in volumes if (name := _part(each, "persistentVolumeClaim", "claimName")))


def _short(text: object) -> str:
    line = " ".join(str(text or "").split())
    return line if len(line) <= MOST_TEXT else f"{line[:MOST_TEXT]}..."


def _part(obj: Any, *path: str) -> Any:
    value = obj
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _map(obj: Any, *path: str) -> Object:
    found = _part(obj, *path)
    return found if isinstance(found, Mapping) else {}


async def explained(cluster: Cluster, unhealthy: Mapping[ObjectId, Object | None]) -> str:
    """Lines to follow a message about objects that are not healthy: each with its own words, its Pods' below. A few objects at most."""
    lines = []
    for id, live in list(unhealthy.items())[:MOST_LINES]:
        lines.append(f"{id}: {_short(status_of(live).message)}")
        if live is not None:
            lines += [f"  {line}" for line in await blockers(cluster, live)]
    if len(unhealthy) > MOST_LINES:
        lines.append(f"and {len(unhealthy) - MOST_LINES} more")
    return "\n".join(lines)
