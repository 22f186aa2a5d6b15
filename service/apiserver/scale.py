"""The scale subresource of builtin workloads: a workload in, an autoscaling/v1 Scale out, and the replicas that a request asks for."""

from typing import Any

from service.apiserver.patches import json_patch, merge_patch
from service.apiserver.refusal import bad_request

Object = dict[str, Any]


def read(live: Object) -> Object:
    """Return the Scale of a workload."""
    meta = {key: live["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")}
    labels = live["spec"].get("selector", {})
    pairs = labels.get("matchLabels", labels if live["kind"] == "ReplicationController" else {})
    status = {"replicas": live.get("status", {}).get("replicas", 0), "selector": ",".join(f"{key}={pairs[key]}" for key in sorted(pairs))}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": meta,
        "spec": {"replicas": live["spec"].get("replicas", 0)},
        "status": status,
    }


def wanted(live: Object, body: Any, media: str) -> int:
    """Return the replicas of a Scale or of a patch of one. Raises Refused 400."""
    if media == "application/json-patch+json":
        body = json_patch(read(live), body)
    elif isinstance(body, dict):
        body = merge_patch(read(live), body)
    replicas = body.get("spec", {}).get("replicas", 0) if isinstance(body, dict) else None
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        raise bad_request("spec.replicas must be a whole number, 0 or more")
    return replicas
