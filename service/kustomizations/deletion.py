"""The end of a Kustomization: its objects are deleted or left, as `spec.prune` and `spec.deletionPolicy` say, then the finalizer goes."""

from typing import TYPE_CHECKING

from service.cluster.client import ApiAway
from service.kinds.meta import FINALIZER, PRUNE_FAILED, VALIDATION_FAILED
from service.reconcile.outcome import Failed, Outcome, Stalled

if TYPE_CHECKING:
    from service.kustomizations.run import Run


async def finalize(run: "Run") -> Outcome:
    """Prune what the inventory names, unless the object is suspended: that leaves its objects alone.

    Raises Failed when objects could not be deleted (tried again), Stalled when a field that is not carried out, such as another cluster,
    says where or as whom to delete: in both cases the finalizer stays and nothing is forgotten.
    """
    found, rooms = run.found, run.rooms
    if rooms.shadow or FINALIZER not in found.metadata.finalizers:
        return Outcome(result="gone")
    if found.spec.on_deletion == "delete" and not found.spec.suspend and run.old_inventory:
        if run.refused:
            advice = "so nothing was deleted; remove the field, or set spec.deletionPolicy: Orphan"
            raise Stalled(VALIDATION_FAILED, f"{', '.join(run.refused)}: not carried out by this version of sluice, {advice}")
        result = await rooms.pruner.prune(run.old_inventory, owner=run.owner, timeout=found.spec.effective_timeout)
        if result.away:
            raise ApiAway("; ".join(result.failed))
        if result.failed:
            raise Failed(PRUNE_FAILED, "\n".join(result.failed))
    await rooms.reports.abandon(run.key)
    await rooms.reports.remove_finalizer(run.raw)
    await rooms.records.drop(run.key)
    return Outcome(result="gone")
