"""Whether a run may prune: an empty build is not a deletion order, and a limit may be set on what one revision removes.

In: what a run would prune. Out: None, or the words of `Ready=False, PruneBlocked`. Nothing is remembered: what is blocked stays in the
inventory and is judged anew by each run, so restarts and kills change nothing. A person allows one revision by an annotation
(`sluice prune allow`), which goes when that prune is done. The deletion of a Kustomization itself follows Flux and is not judged here.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from service.cluster.cascade import Cascade, Going, toll
from service.cluster.changes import Owner
from service.cluster.inventory import ObjectId
from service.cluster.prune import Pruner
from service.kinds.kustomize import Kustomization
from service.kinds.meta import KUSTOMIZE_GROUP, PRUNE_ALLOWED, PRUNE_BLOCKED, PRUNE_LIMIT, READY, ObjectKey, find_condition
from service.kustomizations.catalog import Catalog
from service.settings import parse_share

SHOWN = 50
_SAID = re.compile(r": \d+ of (\d+) objects \(")
_HASHED = re.compile(r"(.+)-[2456789bcdfghkmt]{10}")
"""What kustomize appends to the names of generated ConfigMaps and Secrets: api/hasher/hasher.go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """What a run is about to remove: `gone` of `listed` (the whole inventory), while `wanted` is what was built."""

    revision: str
    gone: Sequence[ObjectId]
    listed: Sequence[ObjectId]
    wanted: Sequence[ObjectId]


class PruneGuard:
    """`limit` is the share (0 to 100) of the inventory that one revision may remove unasked; None: all but everything."""

    def __init__(self, pruner: Pruner, cascade: Cascade, catalog: Catalog, *, limit: float | None) -> None:
        self._pruner = pruner
        self._cascade = cascade
        self._catalog = catalog
        self._limit = limit

    async def blocked(self, found: Kustomization, prune: Prune) -> str | None:
        """Why the prune must not be, with a list of what would go; None where it may. Raises ApiError, ApiAway."""
        limit, wrong = self._limit_of(found)
        if is_allowed(found, prune.revision) or (prune.wanted and limit >= 100):
            return None
        owner = Owner(name=found.metadata.name, namespace=found.metadata.namespace)
        removed = prune.gone if not prune.wanted else without_replaced(prune.gone, prune.wanted)
        going = await self._cascade.of(await self._pruner.doomed(removed, owner=owner))
        if not going:
            return None
        goes, total = toll(going), min(self._total(prune, going), _total_before(found))
        share = min(100.0, 100 * goes / total)
        if prune.wanted and share <= limit:
            return None
        why = f"more than the limit of {limit:g}%{wrong}" if prune.wanted else "because the build is empty"
        return message(found, prune.revision, f"{goes} of {total:g} objects ({share:.0f}%) would be deleted, {why}", going)

    def _limit_of(self, found: Kustomization) -> tuple[float, str]:
        """The annotation's limit, else the flag's, and what is wrong with the annotation: then nothing may go unasked."""
        said = found.metadata.annotations.get(PRUNE_LIMIT)
        if said is None:
            return (100.0 if self._limit is None else self._limit), ""
        try:
            return parse_share(said), ""
        except ValueError as error:
            return 0.0, f" (annotation {PRUNE_LIMIT}: {error})"

    def _total(self, prune: Prune, going: Sequence[Going]) -> int:
        """All that the inventory stands for: its entries, what goes with those that go, and the inventories of children that stay."""
        removed = {each.object for each in going}
        staying = [id for id in prune.listed if id not in removed and (id.group, id.kind) == (KUSTOMIZE_GROUP, "Kustomization")]
        ids = {*prune.listed, *(other for each in going for other in each.with_it)}
        unnamed = sum(each.more + len(each.finalizers) for each in going)
        return len(ids) + unnamed + sum(self._inventory_size(id) for id in staying)

    def _inventory_size(self, id: ObjectId) -> int:
        raw: Any = self._catalog.raw(ObjectKey(group=id.group, kind=id.kind, namespace=id.namespace, name=id.name)) or {}
        return len(((raw.get("status") or {}).get("inventory") or {}).get("entries") or ())


def _total_before(found: Kustomization) -> float:
    """What the inventory stood for when a prune was blocked: what is applied since then must not make the share smaller."""
    ready = find_condition(found.status.conditions, READY)
    said = _SAID.search(ready.message) if ready is not None and ready.reason == PRUNE_BLOCKED else None
    return int(said[1]) if said else math.inf


def is_allowed(found: Kustomization, revision: str) -> bool:
    """Whether a person has allowed this very revision to prune."""
    return found.metadata.annotations.get(PRUNE_ALLOWED, "") == revision


def without_replaced(gone: Iterable[ObjectId], wanted: Iterable[ObjectId]) -> tuple[ObjectId, ...]:
    """Without generated ConfigMaps and Secrets that are there under a new hash: their content has changed, nothing is removed."""
    there = {base for id in wanted if (base := _base(id)) is not None}
    return tuple(id for id in gone if _base(id) not in there)


def message(found: Kustomization, revision: str, why: str, going: Sequence[Going]) -> str:
    """The condition's words: a line that says why and what to do, then a line for each object, bounded."""
    place = f"{found.metadata.name} -n {found.metadata.namespace}"
    first = f"prune blocked at {revision}: {why}; to allow it: sluice prune allow Kustomization/{place} --revision {revision}"
    allowed = found.metadata.annotations.get(PRUNE_ALLOWED)
    stale = f" (what is allowed is another revision, {allowed})" if allowed else ""
    shown = [str(each) for each in sorted(going, key=lambda each: -(len(each.with_it) + each.more))[:SHOWN]]
    more = [f"... and {len(going) - SHOWN} more"] if len(going) > SHOWN else []
    return "\n".join([first + stale, *shown, *more])


def _base(id: ObjectId) -> tuple[str, str, str] | None:
    hashed = _HASHED.fullmatch(id.name) if id.kind in ("ConfigMap", "Secret") and not id.group else None
    return (id.kind, id.namespace, hashed[1]) if hashed else None
