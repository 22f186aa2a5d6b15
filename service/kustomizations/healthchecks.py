"""What a Kustomization waits for after it has applied, and what is said when that does not come.

In: the object, what was built, what the API server left alone. Out: ids to wait for; None or the error, with the words of what blocks.
Which objects count: kustomize-controller 1.9, internal/controller/kustomization_controller.go, checkHealth.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from service.cluster.blockers import MOST_LINES, explained
from service.cluster.built import Built
from service.cluster.client import ApiError, Cluster, ClusterError
from service.cluster.discovery import Discovery, NoSuchKind, object_path
from service.cluster.health import HealthError, Status, wait_healthy
from service.cluster.inventory import ObjectId
from service.kinds.kustomize import Kustomization, ObjectRef

READ_TIMEOUT = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """`may_vanish`: Jobs that the cluster removes when they are done."""

    ids: tuple[ObjectId, ...] = ()
    may_vanish: frozenset[ObjectId] = frozenset()


def checks_of(found: Kustomization, built: Sequence[Built], *, skipped: Collection[ObjectId] = ()) -> Checks:
    """With `spec.wait` all that was applied, but for what was left alone, else `spec.healthChecks`; never the object itself."""
    ttl = frozenset(each.object for each in built if each.kind == "Job" and b'"ttlSecondsAfterFinished"' in each.body)
    itself = (found.key.group, found.key.kind, found.key.namespace, found.key.name)
    referred = [_referred(check, found.metadata.namespace) for check in found.spec.health_checks]
    if found.spec.wait:
        referred = [each.object for each in built if each.object not in skipped]
    ids = tuple(dict.fromkeys(each for each in referred if (each.group, each.kind, each.namespace, each.name) != itself))
    return Checks(ids=ids, may_vanish=ttl)


async def healthy(cluster: Cluster, discovery: Discovery, checks: Checks, *, timeout: timedelta) -> ClusterError | None:
    """None once all are healthy, else what keeps them from it, with the Pods' own words. May be cancelled at any time."""
    try:
        await wait_healthy(cluster, discovery, checks.ids, timeout=timeout, may_vanish=checks.may_vanish)
    except HealthError as error:
        return type(error)(f"{error.message}\n{await _words(cluster, discovery, error)}".rstrip(), error.statuses)
    except ClusterError as error:
        return error
    return None


async def _words(cluster: Cluster, discovery: Discovery, error: HealthError) -> str:
    """The failed ones first: they are why there is nothing to wait for."""
    unhealthy = [id for id, health in error.statuses.items() if health.status is not Status.CURRENT]
    unhealthy.sort(key=lambda id: error.statuses[id].status is not Status.FAILED)
    live: dict[ObjectId, dict[str, Any] | None] = dict.fromkeys(unhealthy)
    for id in unhealthy[:MOST_LINES]:
        live[id] = await _read(cluster, discovery, id)
    return await explained(cluster, live)


async def _read(cluster: Cluster, discovery: Discovery, id: ObjectId) -> dict[str, Any] | None:
    try:
        resource = await discovery.resource(id.api_version, id.kind)
        return (await cluster.request("GET", object_path(resource, id.namespace, id.name), timeout=READ_TIMEOUT)).body
    except (NoSuchKind, ApiError):
        return None
    except ClusterError:
        return None  # away: the statuses say what was seen last


def _referred(check: ObjectRef, namespace: str) -> ObjectId:
    group, _, version = check.api_version.rpartition("/")
    return ObjectId(check.namespace or namespace, check.name, group, check.kind, version)
