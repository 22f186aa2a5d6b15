"""A run's prune: judged by the guard, then done, noted, and its approval used up."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from service.cluster.client import ApiAway, ApiError
from service.cluster.inventory import ObjectId
from service.kinds.meta import PRUNE_BLOCKED, PRUNE_FAILED
from service.kustomizations.guard import Prune, is_allowed
from service.kustomizations.trail import timed
from service.reconcile.outcome import Failed

if TYPE_CHECKING:
    from service.kustomizations.run import Run

log = logging.getLogger(__name__)


@timed("prune")
async def prune_stale(run: "Run", gone: Sequence[ObjectId]) -> None:
    """Delete what the build has no more, or raise Failed (PruneBlocked, PruneFailed), ApiAway. The inventory keeps what is not deleted."""
    assert run.snapshot is not None
    rooms, found, revision = run.rooms, run.found, run.snapshot.revision
    before = {entry.id for entry in found.status.inventory or ()}  # without what this run itself has planned
    listed = dict.fromkeys([*(each for each in run.old_inventory if each.id in before), *gone])
    prune = Prune(revision=revision, gone=gone, listed=tuple(listed), wanted=tuple(run.applied.values()))
    blocked = await rooms.guard.blocked(found, prune)
    if blocked is not None:
        if not rooms.shadow:
            raise Failed(PRUNE_BLOCKED, blocked, max(found.spec.interval, found.spec.effective_retry_interval))
        run.changes.append(blocked.partition("; to allow it")[0])
        return
    if not rooms.shadow:
        await run.opened(gone)
    result = await rooms.pruner.prune(gone, owner=run.owner, timeout=found.spec.effective_timeout, dry_run=rooms.shadow)
    run.note(result.changes)
    run.pruned |= {change.id for change in result.changes.entries}
    if result.away:
        raise ApiAway("; ".join(result.failed))
    if result.failed:
        raise Failed(PRUNE_FAILED, "\n".join(result.failed))
    if is_allowed(found, revision) and not rooms.shadow:
        await _used(run)


def differences(run: "Run") -> list[str]:
    """In shadow: what would change, and what the inventory would have more or less without an object being touched."""
    told, before = list(run.changes), {entry.id for entry in run.found.status.inventory or ()}
    created = {change.removesuffix(" created") for change in told if change.endswith(" created")}
    told += [f"{each} taken into the inventory" for id, each in run.applied.items() if id not in before and str(each) not in created]
    if not run.found.spec.prune:
        told += [f"{each} left out of the inventory" for each in run.old_inventory if each.id in before and each.id not in run.applied]
    return told


async def _used(run: "Run") -> None:
    """An approval is for one prune: the same revision may stand at the head again one day."""
    log.info("pruned with approval", extra={"object": str(run.key), "revision": run.snapshot.revision if run.snapshot else ""})
    try:
        await run.rooms.reports.forget_approval(run.raw)
    except ApiError as error:
        log.warning("approval not removed", extra={"object": str(run.key), "error": str(error)})
