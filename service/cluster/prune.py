"""Inventory entries in, deleted objects out: what a Kustomization applied before and has no more.

Only what still carries its owner's labels is deleted, in the reverse order of application, in the background.
https://fluxcd.io/flux/components/kustomize/kustomizations/#prune
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from service import crash
from service.cluster.annotations import NEVER_PRUNED, OWNER_NAME, OWNER_NAMESPACE, matches
from service.cluster.changes import Action, Change, ChangeSet, Owner
from service.cluster.client import ApiAway, ApiError, Cluster, ClusterError
from service.cluster.discovery import Discovery, NoSuchKind, Resource, object_path
from service.cluster.inventory import ObjectId
from service.cluster.stages import staged

__all__ = ["Pruned", "Pruner"]

log = logging.getLogger(__name__)

CONCURRENCY = 8
LOOKED_AT_ONCE = 64
PRUNE_WITHIN = timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was done (`changes`), what could not be (`failed`, a message each), and what belongs back into the inventory (`left`)."""

    changes: ChangeSet
    failed: tuple[str, ...] = ()
    left: tuple[ObjectId, ...] = ()
    away: bool = False


class Pruner:
    """Deletes what is no longer wanted."""

    def __init__(self, cluster: Cluster, discovery: Discovery, *, concurrency: int = CONCURRENCY) -> None:
        self._cluster = cluster
        self._discovery = discovery
        self._slots = asyncio.Semaphore(concurrency)

    async def prune(self, entries: Iterable[ObjectId], *, owner: Owner, timeout: timedelta = PRUNE_WITHIN, dry_run: bool = False) -> Pruned:
        """Delete the objects that still belong to `owner` and may be deleted; what is gone already counts as deleted.

        Objects marked `reconcile: disabled`, `prune: disabled` or `ssa: Ignore`, and those with other owner labels, are `skipped`.
        One that fails does not keep the others; after the server went away, or `timeout`, nothing more is tried.
        """
        wanted = tuple(entries)
        done: dict[ObjectId, Action] = {}
        errors: dict[ObjectId, ClusterError] = {}
        late: tuple[str, ...] = ()
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                for run in reversed([run for stage in staged(wanted) for run in stage]):
                    if not _away(errors):
                        await self._run(run, owner, dry_run, (done, errors))
        except TimeoutError:
            late = (f"prune did not end within {timeout.total_seconds():g} s",)
        return Pruned(
            changes=ChangeSet(tuple(Change(object=id, action=action) for id, action in done.items())),
            failed=(*late, *(f"{id} delete failed: {error}" for id, error in errors.items())),
            left=tuple(id for id in wanted if id not in done),
            away=_away(errors),
        )

    async def _run(
        self, run: Iterable[ObjectId], owner: Owner, dry_run: bool, noted: tuple[dict[ObjectId, Action], dict[ObjectId, ClusterError]]
    ) -> None:
        """Delete objects of one kind side by side."""
        done, errors = noted

        async def one(id: ObjectId) -> None:
            async with self._slots:
                try:
                    done[id] = await self._delete(id, owner, dry_run)
                except ClusterError as error:
                    errors[id] = error

        async with asyncio.TaskGroup() as tasks:
            for id in reversed(tuple(run)):
                tasks.create_task(one(id), name=f"prune {id}")

    async def doomed(self, entries: Iterable[ObjectId], *, owner: Owner) -> dict[ObjectId, dict[str, Any]]:
        """The live objects that `prune` would delete now: they are there, still `owner`'s and not marked. Raises ApiError, ApiAway."""
        found: dict[ObjectId, dict[str, Any]] = {}

        async def one(id: ObjectId) -> None:
            async with self._slots:
                seen = await self._look(id, owner)
            if not isinstance(seen, str):
                found[id] = seen[1]

        wanted = tuple(entries)
        for start in range(0, len(wanted), LOOKED_AT_ONCE):
            await asyncio.gather(*(one(id) for id in wanted[start : start + LOOKED_AT_ONCE]))
        return {id: found[id] for id in wanted if id in found}

    async def _look(self, id: ObjectId, owner: Owner) -> tuple[str, dict[str, Any]] | Action:
        """The path and the live object, or what is to be said of one that is not to be deleted."""
        resource = await self._resource(id)
        if resource is None:
            return "deleted"  # its kind is gone, and all objects of it
        path = object_path(resource, id.namespace, id.name)
        try:
            live = (await self._cluster.request("GET", path)).body
        except ApiError as error:
            if error.not_found:
                return "deleted"
            raise
        metadata = live["metadata"]
        labels = metadata.get("labels") or {}
        if (labels.get(OWNER_NAME), labels.get(OWNER_NAMESPACE)) != (owner.name, owner.namespace) or matches(metadata, *NEVER_PRUNED):
            return "skipped"
        return path, live

    async def _delete(self, id: ObjectId, owner: Owner, dry_run: bool) -> Action:
        seen = await self._look(id, owner)
        if isinstance(seen, str):
            if seen == "skipped":
                log.info("not pruned: it is marked or belongs to another", extra={"object": str(id)})
            return seen
        path, metadata = seen[0], seen[1]["metadata"]
        body: dict[str, Any] = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": "Background",
            "preconditions": {"uid": metadata["uid"]},
        }
        if dry_run:
            body["dryRun"] = ["All"]  # in the body: beside one, the server does not look at the query
        try:
            await self._cluster.request("DELETE", path, body=body)
        except ApiError as error:
            if not error.not_found:
                raise
        if not dry_run:
            crash.point("prune.first")
        return "deleted"

    async def _resource(self, id: ObjectId) -> Resource | None:
        """The resource of an entry, in another version if its own is no longer served."""
        try:
            return await self._discovery.resource(id.api_version, id.kind)
        except NoSuchKind:
            pass
        try:
            return await self._discovery.preferred(id.group, id.kind)
        except NoSuchKind:
            return None


def _away(errors: Mapping[ObjectId, ClusterError]) -> bool:
    return any(isinstance(error, ApiAway) for error in errors.values())
