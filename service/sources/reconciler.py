"""One run of a source of any kind: the object in, what its origin stores, then the status, the events and the next time.

What differs by kind is its Origin: GitRepository, OCIRepository, Bucket and so on. Expected failures become the object's status.
https://github.com/fluxcd/source-controller/tree/main/docs/spec/v1
"""

import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, Protocol, TypeVar

from service import crash
from service.cluster.client import ApiAway, ApiError, Cluster
from service.cluster.discovery import Discovery, NoSuchKind
from service.identities.grants import Grants
from service.kinds.codec import Invalid, decode, refused_fields
from service.kinds.event import Event
from service.kinds.meta import ObjectKey
from service.outbound import Outbound
from service.reconcile.outcome import Outcome
from service.reconcile.queue import Trigger
from service.sources.artifact import ArtifactStore
from service.sources.failure import EndedEarly, NotYet, Stored
from service.sources.gitstore import GitStore
from service.sources.objects import Objects
from service.sources.published import Published
from service.sources.reports import Reports
from service.sources.status import Source
from service.workers import Workers

log = logging.getLogger(__name__)

AWAY_RETRY = timedelta(seconds=2)
NOT_YET_RETRY = timedelta(seconds=30)
JITTER = 0.05

Raw = Mapping[str, Any]
S = TypeVar("S", bound=Source)


async def _at_once(_key: ObjectKey) -> None:
    """Nobody is waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What the reconcilers of all kinds work with.

    `read` returns the object from a watch's cache, or None if it is not there; without it each run asks the API. `read_secret` returns the
    decoded data of a Secret, or None, `read_pull_secrets` the names that a ServiceAccount gives, None where it is not there. `grants`: what
    clouds give to ServiceAccounts, None where objects may not act as them.
    `machine_identity`: Buckets of clouds may go with that of this machine. `consumers_done` returns when our own
    consumers have applied a revision of a source, or soon: packing the tarball would take the processor from them.
    """

    cluster: Cluster
    discovery: Discovery
    workers: Workers
    gitstore: GitStore
    artifacts: ArtifactStore
    published: Published
    outbound: Outbound
    read_secret: Callable[[str, str], Awaitable[Mapping[str, bytes] | None]]
    read_pull_secrets: Callable[[str, str], Awaitable[tuple[str, ...] | None]]
    on_event: Callable[[Event], None]
    read: Callable[[ObjectKey], Raw | None] | None = None
    grants: Grants | None = None
    machine_identity: bool = False
    consumers_done: Callable[[ObjectKey], Awaitable[None]] = _at_once


class Origin(Protocol[S]):
    """What one kind of source does. `blank` is a spec that decodes, for objects that cannot be read as they are."""

    @property
    def type(self) -> type[S]: ...
    @property
    def blank(self) -> Raw: ...

    def check(self, spec: Raw) -> None:
        """Raises EndedEarly where a spec that cannot be decoded is wrong in a way that has better words."""

    async def fetch(self, found: S, triggers: tuple[Trigger, ...]) -> "Fetch":
        """Find the newest revision and tell our consumers. Raises EndedEarly."""

    async def restore(self, found: S, triggers: tuple[Trigger, ...]) -> None:
        """There was no fetch: publish what was fetched last, if that is not known yet."""

    async def forget(self, key: ObjectKey, uid: str) -> None:
        """The object is gone, with all that is stored for it outside of the artifacts."""


class Fetch(Protocol):
    """A revision that was found. `moved`: our consumers have been told of it just now."""

    @property
    def revision(self) -> str: ...
    @property
    def moved(self) -> bool: ...

    async def store(self) -> Stored:
        """Make the artifact. Raises EndedEarly."""

    async def tidy(self) -> None:
        """At a quiet moment, when nothing has changed. Raises nothing."""


async def guarded(key: ObjectKey, run: Awaitable[Outcome]) -> Outcome:
    """Await a run; an API server that is away or refuses becomes an Outcome too."""
    try:
        return await run
    except ApiAway as error:
        log.warning("cluster away, tried again soon", extra={"object": str(key), "error": str(error)})
        return Outcome(result="failed", requeue_after=AWAY_RETRY * random.uniform(0.8, 1.2), message=str(error))  # noqa: S311 - jitter
    except NoSuchKind as error:
        return Outcome(result="failed", backoff=True, message=f"{error}; install the CRDs")
    except ApiError as error:
        if error.not_found:
            return Outcome(result="failed", backoff=True, message="the object went while it was reconciled")
        log.warning("cluster refused", extra={"object": str(key), "error": str(error)})
        return Outcome(result="failed", backoff=True, message=str(error))


class SourceReconciler(Generic[S]):
    """See service.reconcile.worker.Reconciler."""

    def __init__(self, needs: Needs, origin: Origin[S], *, shadow: bool = False) -> None:
        self._needs = needs
        self._origin = origin
        self._shadow = shadow
        self._objects = Objects(needs.cluster, needs.discovery, needs.read)
        self._reports = Reports(self._objects, needs.on_event, shadow=shadow)
        self._uids: dict[ObjectKey, str] = {}
        self.kind = origin.type.__name__

    async def reconcile(self, key: ObjectKey, triggers: tuple[Trigger, ...]) -> Outcome:
        """Bring one object up to date. Expected failures become the object's status and the Outcome."""
        return await guarded(key, self._found(key, triggers))

    async def _found(self, key: ObjectKey, triggers: tuple[Trigger, ...]) -> Outcome:
        raw = await self._objects.get(key)
        if raw is None:
            await self._forget(key)
            return Outcome(result="gone")
        return await self._decided(key, raw, triggers)

    async def _decided(self, key: ObjectKey, raw: Raw, triggers: tuple[Trigger, ...]) -> Outcome:
        try:
            found = decode(self._origin.type, raw)
        except Invalid as error:
            return await self._invalid(key, raw, str(error))
        if self._uids.setdefault(key, found.metadata.uid) != found.metadata.uid:
            await self._forget(key)  # deleted and made again while we did not look
            self._uids[key] = found.metadata.uid
        if found.metadata.deletion_timestamp is not None:
            return await self._deleted(key, found, raw)
        if found.spec.suspend:
            await self._origin.restore(found, triggers)
            await self._reports.suspended(found, raw)
            return Outcome(result="suspended")
        if not self._shadow:
            raw = await self._objects.add_finalizer(key, raw)
        try:
            return await self._fetched(found, raw, triggers)
        except NotYet as early:
            return Outcome(result="waiting", requeue_after=NOT_YET_RETRY, message=str(early))
        except EndedEarly as early:
            await self._origin.restore(found, triggers)
            return await self._reports.failed(found, raw, early.failure)

    async def _fetched(self, found: S, raw: Raw, triggers: tuple[Trigger, ...]) -> Outcome:
        self._origin.check(raw.get("spec") or {})
        refused = refused_fields(raw)
        if refused:
            advice = "nothing was fetched. Remove it, or leave this object to Flux"
            raise EndedEarly.invalid(f"{', '.join(refused)}: not carried out by this version of sluice; {advice}")
        fetch = await self._origin.fetch(found, triggers)
        wait = found.spec.interval * random.uniform(1 - JITTER, 1 + JITTER) or None  # noqa: S311 - jitter
        if self._shadow:
            return Outcome(result="succeeded", requeue_after=wait, message=f"would store {fetch.revision}")
        if fetch.moved:
            await self._needs.consumers_done(found.key)
        stored = await fetch.store()
        crash.point("source.stored")
        changed = await self._reports.stored(found, raw, stored)
        await self._needs.artifacts.collect(found.key, stored.artifact.path)
        if not changed:
            await fetch.tidy()
        return Outcome(result="succeeded" if changed else "unchanged", requeue_after=wait, message=fetch.revision)

    async def _invalid(self, key: ObjectKey, raw: Raw, why: str) -> Outcome:
        """An object that cannot be read as it is: only its metadata is used, and its spec for better words."""
        found = decode(self._origin.type, {**raw, "spec": self._origin.blank})
        if found.metadata.deletion_timestamp is not None:
            return await self._deleted(key, found, raw)
        try:
            self._origin.check(raw.get("spec") or {})
        except EndedEarly as early:
            return await self._reports.failed(found, raw, early.failure)
        return await self._reports.failed(found, raw, EndedEarly.invalid(why).failure)

    async def _deleted(self, key: ObjectKey, found: S, raw: Raw) -> Outcome:
        self._uids[key] = found.metadata.uid
        await self._forget(key)
        if not self._shadow:
            await self._objects.remove_finalizer(key, raw)
        return Outcome(result="gone")

    async def _forget(self, key: ObjectKey) -> None:
        self._needs.published.forget(key)
        self._objects.forget(key)
        self._reports.forget(key)
        uid = self._uids.pop(key, None)
        if uid is not None:
            await self._origin.forget(key, uid)
            await self._needs.artifacts.remove(key)
