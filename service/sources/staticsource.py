"""A HelmRepository of the type oci is static: nothing is fetched for it, it has no status, and nothing holds it back when it is deleted.

In: runs of any HelmRepository; those of the type default go on to their reconciler. What the type left behind before is taken away.
https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/helmrepositories.md#helm-oci-repository
"""

from collections.abc import Callable

from service.cluster.client import ApiAway, ApiError
from service.cluster.discovery import NoSuchKind
from service.kinds.meta import FINALIZER, ObjectKey
from service.reconcile.outcome import Outcome
from service.reconcile.queue import Trigger
from service.reconcile.worker import Reconciler
from service.sources.objects import Objects, Raw
from service.sources.reconciler import AWAY_RETRY, Needs


class StaticOr:
    """See service.reconcile.worker.Reconciler. `on_run` is told of each run of a static object: its charts may have something new."""

    def __init__(
        self,
        needs: Needs,
        others: Reconciler,
        *,
        on_run: Callable[[ObjectKey, tuple[Trigger, ...]], None] = lambda _key, _triggers: None,
        shadow: bool = False,
    ) -> None:
        self._objects = Objects(needs.cluster, needs.discovery, needs.read)
        self._needs = needs
        self._others = others
        self._shadow = shadow
        self._on_run = on_run
        self.kind = others.kind

    async def reconcile(self, key: ObjectKey, triggers: tuple[Trigger, ...]) -> Outcome:
        """Run one object."""
        try:
            raw = await self._objects.get(key)
            if raw is None or (raw.get("spec") or {}).get("type") != "oci":
                self._objects.forget(key)
                return await self._others.reconcile(key, triggers)
            outcome = await self._static(key, raw)
        except ApiAway as error:
            return Outcome(result="failed", requeue_after=AWAY_RETRY, message=str(error))
        except (ApiError, NoSuchKind) as error:
            return Outcome(result="failed", backoff=True, message=str(error))
        self._on_run(key, triggers)
        return outcome

    async def _static(self, key: ObjectKey, raw: Raw) -> Outcome:
        metadata, status = raw["metadata"], raw.get("status") or {}
        leaving = metadata.get("deletionTimestamp") is not None
        if (raw["spec"].get("suspend") is True and not leaving) or self._shadow:
            return Outcome(result="suspended" if not self._shadow else "unchanged")
        left = {name: None for name in status if name != "observedGeneration"}
        held = FINALIZER in (metadata.get("finalizers") or [])
        if left and not leaving:
            await self._objects.patch_status(key, raw, {**left, "observedGeneration": -1})
            raw = await self._objects.get(key) or raw
        if left or held:
            await self._needs.artifacts.remove(key)
        if held:
            await self._objects.remove_finalizer(key, raw)
        return Outcome(result="succeeded" if left or held else "unchanged")
