"""As whom a run works: a Kustomization in, the rooms out that read, apply, watch and delete as its service account.

Everything of a run that touches the tenant's objects goes with `Impersonate-User`, discovery too; the Kustomization's own status, events,
finalizer and the sources of variables stay with sluice's rights, as with Flux (fluxcd/pkg/runtime client/impersonator.go).
https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation
"""

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

from service.cluster.apply import Applier
from service.cluster.client import ApiError, Cluster
from service.cluster.discovery import Discovery
from service.cluster.prune import Pruner
from service.kinds.kustomize import Kustomization
from service.kinds.meta import VALIDATION_FAILED
from service.kustomizations.guard import PruneGuard
from service.reconcile.outcome import Stalled

if TYPE_CHECKING:
    from service.kustomizations.run import Rooms

READ_TIMEOUT = timedelta(seconds=10)
KEPT = 1000
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What works on the cluster as one identity."""

    cluster: Cluster
    discovery: Discovery
    applier: Applier
    pruner: Pruner
    guard: PruneGuard


class Tenancy:
    """One reach for each service account in use; `default` is the account of those that name none, "" means sluice itself."""

    def __init__(self, cluster: Cluster, reach: Callable[[Cluster], Reach], *, default: str = "") -> None:
        self._cluster = cluster
        self._reach = reach
        self._default = default
        self._known: OrderedDict[str, Reach] = OrderedDict()

    def account(self, found: Kustomization) -> str:
        """The name of the service account, "" for none."""
        return found.spec.service_account_name or self._default

    def rooms(self, rooms: "Rooms", found: Kustomization) -> "Rooms":
        """The rooms for a run of this object. Raises Stalled for a name that no service account can have."""
        name = self.account(found)
        if not name:
            return rooms
        if not _NAME.fullmatch(name):
            raise Stalled(VALIDATION_FAILED, f"spec.serviceAccountName: '{name}' is no name of a ServiceAccount; nothing was applied")
        user = f"system:serviceaccount:{found.metadata.namespace}:{name}"
        reach = self._known.get(user)
        if reach is None:
            reach = self._known[user] = self._reach(self._cluster.impersonating(user))
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        self._known.move_to_end(user)
        return replace(
            rooms, cluster=reach.cluster, discovery=reach.discovery, applier=reach.applier, pruner=reach.pruner, guard=reach.guard
        )

    async def is_gone(self, found: Kustomization) -> bool:
        """Whether the account to act as does not exist, or cannot by its name. Raises ApiError, ApiAway."""
        name = self.account(found)
        if not name:
            return False
        if not _NAME.fullmatch(name):
            return True
        path = f"/api/v1/namespaces/{quote(found.metadata.namespace, safe='')}/serviceaccounts/{quote(name, safe='')}"
        try:
            await self._cluster.metadata(path, timeout=READ_TIMEOUT)
        except ApiError as error:
            if error.not_found:
                return True
            raise
        return False
