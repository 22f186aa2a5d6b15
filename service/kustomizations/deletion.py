"""The end of a Kustomization: its objects are deleted or left, as `spec.prune` and `spec.deletionPolicy` say, then the finalizer goes."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from service.cluster.client import ApiAway
from service.kinds.meta import FINALIZER, PRUNE_FAILED, VALIDATION_FAILED
from service.reconcile.outcome import Failed, Outcome, Stalled

if TYPE_CHECKING:
    from service.kustomizations.run import Run

POLICIES = ("MirrorPrune", "Delete", "WaitForTermination", "Orphan")
TERMINATION_CHECK = timedelta(seconds=2)
log = logging.getLogger(__name__)


async def finalize(run: "Run") -> Outcome:
    """Prune what the inventory names, unless the object is suspended: that leaves its objects alone.

    Raises Failed when objects could not be deleted (tried again), Stalled when a field that is not carried out, such as another cluster,
    says where or as whom to delete: in both cases the finalizer stays and nothing is forgotten.
    """
    found, rooms = run.found, run.rooms
    if FINALIZER not in found.metadata.finalizers:
        return Outcome(result="gone")
    changes: tuple[str, ...] = ()
    prunes = found.spec.on_deletion == "delete" and not found.spec.suspend and bool(run.old_inventory)
    if prunes and not run.refused and await rooms.tenancy.is_gone(found):
        prunes = False
        await _left(run)
    if prunes:
        run.rooms = rooms = rooms.tenancy.rooms(rooms, found)
        if run.refused:
            advice = "so nothing was deleted; remove the field, or set spec.deletionPolicy: Orphan"
            raise Stalled(VALIDATION_FAILED, f"{', '.join(run.refused)}: not carried out by this version of sluice, {advice}")
        limit = found.spec.effective_timeout
        result = await rooms.pruner.prune(run.old_inventory, owner=run.owner, timeout=limit, dry_run=rooms.shadow)
        if result.away:
            raise ApiAway("; ".join(result.failed))
        if result.failed:
            raise Failed(PRUNE_FAILED, "\n".join(result.failed))
        changes = tuple(map(str, result.changes.changed))
    if prunes and not rooms.shadow and await _terminating(run):
        return Outcome(result="waiting", requeue_after=TERMINATION_CHECK)
    if rooms.shadow:
        rooms.reports.shadowed(run.key, found.status.last_applied_revision, changes)
        return Outcome(result="gone")
    if changes:
        await rooms.reports.deleted(found, run.raw, changes)
    await rooms.reports.abandon(run.key)
    await rooms.reports.remove_finalizer(run.raw)
    await rooms.records.drop(run.key, found.metadata.uid)
    return Outcome(result="gone")


async def _terminating(run: "Run") -> bool:
    """Whether to wait for what is being deleted. When the time is over the finalizer goes all the same, as with Flux."""
    found = run.found
    since = found.metadata.deletion_timestamp
    if found.spec.deletion_policy != "WaitForTermination" or since is None or datetime.now(UTC) - since > found.spec.effective_timeout:
        return False
    return bool(await run.rooms.pruner.doomed(run.old_inventory, owner=run.owner))


async def _left(run: "Run") -> None:
    """The service account to delete as is gone: no rights are left to delete with, so the objects stay and are named, as with Flux."""
    names = "\n".join(str(entry) for entry in run.old_inventory)
    account = run.rooms.tenancy.account(run.found)
    log.error("not pruned, the service account is gone", extra={"object": str(run.key), "account": account})
    if not run.rooms.shadow:
        message = f"unable to prune objects: the ServiceAccount '{run.key.namespace}/{account}' is gone:\n{names}"
        await run.rooms.reports.orphaned(run.found, run.raw, message)


def bare(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A Kustomization that cannot be read, with only what its deletion needs: what is not said clearly leaves the objects alone."""
    spec = raw.get("spec")
    said = spec if isinstance(spec, dict) else {}
    policy = said.get("deletionPolicy")
    kept = {
        "interval": "10m",
        "prune": said.get("prune") is True,
        "suspend": said.get("suspend") is True,
        "sourceRef": {"kind": "GitRepository", "name": "unknown"},
        "deletionPolicy": policy if policy in POLICIES else ("Orphan" if policy else "MirrorPrune"),
    }
    foreign = bool(said.get("kubeConfig"))
    account = said.get("serviceAccountName")
    if isinstance(account, str):
        kept["serviceAccountName"] = account
    elif account:
        foreign = True
    return {**raw, "spec": kept | ({"deletionPolicy": "Orphan"} if foreign else {})}
