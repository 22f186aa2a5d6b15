"""Every room of the service, constructed and wired for one cluster: news goes up by the callbacks set here, and nowhere else."""

import asyncio
import socket
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal

from service.alerts.bundles import composed
from service.alerts.static import StaticReconciler
from service.alerts.table import load
from service.cel import Evaluator
from service.cluster.apply import Applier
from service.cluster.cascade import Cascade
from service.cluster.client import Cluster
from service.cluster.discovery import Discovery
from service.cluster.events import Recorder
from service.cluster.prune import Pruner
from service.compose.access import Secrets, git_policy, outbound_policy
from service.compose.alerting import Alerting
from service.compose.charts import Charts
from service.compose.generators import Generators
from service.compose.leadership import LEASES
from service.compose.measures import ControllerMetrics, ObjectGauges
from service.compose.named import NamedObjects
from service.compose.replicas import Replicas, TakingUp
from service.compose.telling import Telling
from service.compose.unheard import Unheard
from service.compose.watching import Watches
from service.identities.accounts import Accounts
from service.identities.grants import Grants
from service.kinds.meta import ObjectKey
from service.kinds.table import SOURCES
from service.kustomizations.catalog import Catalog
from service.kustomizations.dependencies import ExpressionWaits
from service.kustomizations.drift import Drift
from service.kustomizations.guard import PruneGuard
from service.kustomizations.kustomization import KustomizationReconciler
from service.kustomizations.lookouts import Lookouts
from service.kustomizations.pushes import Pushes
from service.kustomizations.records import Records
from service.kustomizations.reports import Reports
from service.kustomizations.retries import Retries
from service.kustomizations.run import Rooms, SourceState
from service.kustomizations.sweep import Sweep
from service.kustomizations.tenancy import Reach, Tenancy
from service.kustomizations.trail import Trail
from service.kustomizations.variables import Variables
from service.kustomizations.waits import HealthWaits
from service.kustomizations.writes import Writes
from service.metrics import Metrics
from service.outbound import Outbound
from service.reconcile.gate import Gate
from service.reconcile.queue import HOOK, Queue, Trigger
from service.reconcile.worker import Reconciler, Run, Worker, first
from service.settings import Settings
from service.sources.artifact import ArtifactStore
from service.sources.bucket import BucketOrigin
from service.sources.externalartifact import ExternalArtifactReconciler
from service.sources.generator import ArtifactGeneratorReconciler
from service.sources.gitrepository import GitOrigin
from service.sources.gitstore import GitStore
from service.sources.ocirepository import OCIOrigin
from service.sources.published import Published
from service.sources.reconciler import Needs, SourceReconciler
from service.sources.remade import Remade
from service.sources.smart import Smart
from service.sources.snapshot import Snapshot
from service.sources.tarball import MISSED
from service.state.bodies import Bodies
from service.state.cache import Cache
from service.state.held import Held
from service.state.inbox import Inbox, Retention
from service.state.journal import Journal
from service.state.outbox import Outbox
from service.state.store import Store
from service.triggers.choosing import Choosing
from service.triggers.deliveries import Deliveries
from service.triggers.graph import Graph
from service.triggers.index import ReceiverIndex
from service.triggers.intake import Intake
from service.triggers.listing import Listing
from service.triggers.reading import Reading
from service.triggers.receiver import ReceiverReconciler
from service.triggers.requests import Requests
from service.triggers.spool import Spool
from service.workers import Workers

SOURCE, KUSTOMIZE, GENERATOR, NOTIFICATION = LEASES
CONSUMERS_FIRST_SECONDS = 1.0
WAITING_FOR_REMOTES = 16
"""Times `--concurrency`: that many sources may be under way, since all but their fetches, which GitStore bounds, is waiting."""
CACHES = {
    SOURCE: (*SOURCES, "ArtifactGenerator"),
    KUSTOMIZE: (*SOURCES, "Kustomization"),
    GENERATOR: (*SOURCES, "ArtifactGenerator"),
    NOTIFICATION: ("Receiver",),
}
"""What must be listed before a controller decides anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What exists before any room: settings, the open state folder, the connections, worker processes, metrics."""

    settings: Settings
    store: Store
    cluster: Cluster
    smart: Smart
    workers: Workers
    metrics: Metrics


class House:
    """All rooms as attributes; `service.compose.serving` runs them."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.discovery = Discovery(ground.cluster)
        self.watches = Watches(ground.cluster, label_selector=ground.settings.watch_label_selector)
        self.evaluator = Evaluator()
        self.secrets = Secrets(ground.cluster)
        self.recorder = Recorder(ground.cluster, instance=socket.gethostname())
        kept = Retention(rows=ground.settings.hooks.keep_deliveries, age=ground.settings.hooks.keep_age)
        self.held_back = Held(ground.store, composed)
        self.journal, self.inbox, self.outbox = Journal(ground.store), Inbox(ground.store, kept), Outbox(ground.store)
        self.bodies = Bodies(ground.store)
        by_kind = self.watches.by_kind
        self.replicas = Replicas(ground.store.bell)
        taken_up = self.replicas.is_taken_up
        self.gates = {name: Gate(name, [taken_up, *(by_kind[kind].synced for kind in kinds)]) for name, kinds in CACHES.items()}
        self.artifacts = ArtifactStore(ground.settings.state / "artifacts", f"http://{ground.settings.artifact_host}", ground.workers)
        self.controllers = ControllerMetrics(ground.metrics)
        self._reconciled: set[ObjectKey] = set()
        self.telling = Telling(self.outbox, self.recorder, shadow=ground.settings.shadow)
        self.outbound = Outbound(outbound_policy(ground.settings))
        self.table = load(identities=ground.settings.workload_identity)
        self.grants = Grants(Accounts(ground.cluster), self.outbound) if ground.settings.workload_identity else None
        self._build_sources()
        self._build_kustomizations()
        self._build_triggers()
        alerting = Alerting(self)
        self.dispatcher, self.oversight = alerting.dispatcher, alerting.oversight
        self.replicas.on_events = self.dispatcher.wake
        self.outbox.listen(self.replicas.events_stored)
        self.taking_up = TakingUp(self.replicas, self.reports.recover, self.kustomizations.queue.add)
        self._measure()

    def _measure(self) -> None:
        """Gauges that are read off where the state is."""
        metrics = self.ground.metrics
        metrics.inbox_pending.set_function(lambda: self.deliveries.pending)
        for kind, worker in (("GitRepository", self.sources), ("Kustomization", self.kustomizations), ("Receiver", self.receivers)):
            metrics.queue_length.labels(kind).set_function(partial(getattr, worker.queue, "due"))
            self.controllers.watch(worker, kind.lower())
        metrics.registry.register(ObjectGauges({kind: watch.objects for kind, watch in self.watches.by_kind.items()}))
        self.ground.cluster.on_answer = self.controllers.answered

    def _worker(self, lease: str, queue: Queue, *reconcilers: Reconciler, times: int = 1) -> Worker:
        concurrency, metrics = self.ground.settings.concurrency * times, self.ground.metrics
        by_kind = {each.kind: each for each in reconcilers}
        worker = Worker(queue, reconcilers=by_kind, gate=self.gates[lease], concurrency=concurrency, metrics=metrics)
        worker.on_run += [self._ran, self.controllers.ran]
        return worker

    def _ran(self, run: Run) -> None:
        self._reconciled.add(run.key)
        if run.outcome.result == "gone":
            self._reconciled.discard(run.key)
            self.trail.forget(run.key)
            self.unheard.missed.gone(run.key)
            self.ground.metrics.forget(kind=run.key.kind, name=run.key.name, namespace=run.key.namespace)
        self.deliveries.outcome(run.key, run.began_at, run.outcome.result, run.outcome.message)

    def _build_sources(self) -> None:
        ground, by_kind = self.ground, self.watches.by_kind
        at_once = ground.settings.concurrency
        self.gitstore = GitStore(
            ground.settings.state / "git",
            fetches=4 * at_once,
            of_a_host=at_once,
            smart=ground.smart,
            policy=git_policy(ground.settings),
        )
        self.published = Published(self._arrived)
        needs = Needs(
            cluster=ground.cluster,
            discovery=self.discovery,
            workers=ground.workers,
            gitstore=self.gitstore,
            artifacts=self.artifacts,
            published=self.published,
            outbound=self.outbound,
            read_secret=self.secrets.read,
            read_pull_secrets=self.secrets.pull_secrets,
            on_event=self.telling.tell,
            read=lambda key: by_kind[key.kind].objects.get((key.namespace, key.name)),
            grants=self.grants,
            machine_identity=ground.settings.machine_identity,
            consumers_done=self._consumers_done,
        )
        self.remade = Remade(self.artifacts, self.published, needs.read or (lambda _key: None))
        shadow = ground.settings.shadow
        queue = Queue()
        self.charts = Charts(
            consumers=lambda source: self.graph.consumers(source),
            add=queue.add,
            repositories=by_kind["HelmRepository"].objects,
            runs="HelmChart" in ground.settings.kinds,
        )
        reconcilers: tuple[Reconciler, ...] = (
            SourceReconciler(needs, GitOrigin(needs), shadow=shadow),
            SourceReconciler(needs, OCIOrigin(needs), shadow=shadow),
            SourceReconciler(needs, BucketOrigin(needs), shadow=shadow),
            ExternalArtifactReconciler(needs, made_here=lambda raw: self.generators.made_here(raw), shadow=shadow),
            *self.charts.reconcilers(needs, shadow=shadow),
        )
        self.sources = self._worker(SOURCE, queue, *reconcilers, times=WAITING_FOR_REMOTES)
        self._build_generators(needs)

    def _build_generators(self, needs: Needs) -> None:
        queue, settings = Queue(), self.ground.settings
        reconciler = ArtifactGeneratorReconciler(
            needs, no_cross_namespace=settings.no_cross_namespace_refs, shard=settings.watch_label_selector, shadow=settings.shadow
        )
        self.generating = self._worker(GENERATOR, queue, reconciler)
        self.generators = Generators(
            objects=self.watches.by_kind["ArtifactGenerator"].objects,
            artifacts=self.watches.by_kind["ExternalArtifact"].objects,
            published=self.published,
            add=queue.add,
            runs="ArtifactGenerator" in settings.kinds,
        )

    async def _consumers_done(self, source: ObjectKey) -> None:
        """Until what a revision concerns is applied, for a moment at most: others wait for the artifact, a next push for its fetch."""

        async def idle() -> None:
            await self.pushes.idle.wait()
            await self.kustomizations.queue.idle.wait()

        with suppress(TimeoutError):
            async with asyncio.timeout(CONSUMERS_FIRST_SECONDS):
                await first(idle(), self.sources.queue.asked_again(source))

    def _build_kustomizations(self) -> None:
        ground, queue = self.ground, Queue()
        shadow, cluster = ground.settings.shadow, ground.cluster
        self.catalog = Catalog(self.watches.by_kind["Kustomization"].objects)
        cache = Cache(ground.store)
        self.records, self.trail = Records(cache), Trail()
        mode = "interval" if shadow else ground.settings.drift
        self.drift = Drift(mode=mode, catalog=self.catalog, queue=queue, cache=cache, tell=self.telling.tell)
        self.lookouts = Lookouts(cluster, self.discovery, self.drift)
        writes = Writes(cluster, self.discovery)
        self.reports = Reports(catalog=self.catalog, journal=self.journal, writes=writes, post_event=self.telling.post, shadow=shadow)
        gate = self.gates[KUSTOMIZE]
        self.sweep = Sweep(records=self.records, write=self.reports.moved, idle=queue.idle, gate=gate)
        self.waits = HealthWaits(gate=gate, again=queue.add)
        self.pushes = Pushes(
            catalog=self.catalog,
            records=self.records,
            workers=ground.workers,
            queue=queue,
            is_open=lambda key: self.waits.waiting(key) or self.reports.is_open(key) or self.drift.is_due(key),
            on_move=self._moved,
        )
        self.pushes.on_compared = self.trail.compared
        self.variables = Variables(cluster, strict=ground.settings.strict_substitutions)
        self.named = NamedObjects(self, sources=SOURCE, kustomizations=KUSTOMIZE)
        own = self._reach(cluster)
        rooms = Rooms(
            catalog=self.catalog,
            records=self.records,
            workers=ground.workers,
            queue=queue,
            sweep=self.sweep,
            waits=self.waits,
            reports=self.reports,
            retries=Retries(),
            trail=self.trail,
            drift=self.drift,
            cluster=own.cluster,
            discovery=own.discovery,
            applier=own.applier,
            pruner=own.pruner,
            guard=own.guard,
            variables=self.variables,
            evaluator=self.evaluator,
            tenancy=Tenancy(cluster, self._reach, default=ground.settings.default_service_account),
            snapshots=self.published,
            source_state=self._source_state,
            on_move=self._moved,
            fetch_again=self._missed,
            digest_key=ground.store.digest_key,
            shadow=shadow,
            no_cross_namespace=ground.settings.no_cross_namespace_refs,
            remote_bases=ground.settings.remote_bases,
        )
        self.expression_waits = ExpressionWaits(self.catalog, queue)
        self.kustomizations = self._worker(KUSTOMIZE, queue, KustomizationReconciler(rooms))
        self.kustomizations.on_run.append(lambda run: self.drift.ended(run.key, gone=run.outcome.result == "gone"))

    def _reach(self, cluster: Cluster) -> Reach:
        """What applies as one identity; discovery is shared with nobody."""
        settings, own = self.ground.settings, cluster is self.ground.cluster
        discovery = self.discovery if own else Discovery(cluster)
        pruner = Pruner(cluster, discovery)
        return Reach(
            cluster=cluster,
            discovery=discovery,
            applier=Applier(cluster, discovery, override_managers=settings.override_managers),
            pruner=pruner,
            guard=PruneGuard(pruner, Cascade(cluster, discovery), self.catalog, limit=settings.prune_limit),
        )

    def _arrived(self, snapshot: Snapshot, triggers: tuple[Trigger, ...]) -> None:
        self.unheard.arrived(snapshot, triggers)
        if "Kustomization" in self.ground.settings.kinds:
            self.pushes.arrived(snapshot, triggers)
        self.charts.moved(snapshot.key, triggers)
        self.generators.moved(snapshot.key, triggers)

    def _missed(self, source: ObjectKey) -> None:
        """Objects of a snapshot are gone: whoever made it does so again."""
        if not self.generators.missed(source):
            self.sources.queue.add(source, trigger=Trigger(reason=MISSED))

    def held(self, lease: str) -> None:
        """A Lease is ours, perhaps again: others may have written meanwhile, so only what stands in the cluster counts."""
        self.dispatcher.wake()
        if lease == KUSTOMIZE:
            self.records.forget_all()
            self.catalog.unsettle()
            self.drift.forget_all()
            self.sweep.clear()
            for key in self.catalog.all():
                self.kustomizations.queue.add(key, trigger=Trigger(reason="lease"))

    def _moved(self, key: ObjectKey, revision: str) -> None:
        self.ground.metrics.moved_total.inc()
        self.sweep.moved(key, revision)

    def _source_state(self, key: ObjectKey) -> SourceState:
        watch = self.watches.by_kind.get(key.kind)
        if watch is None or (key.namespace, key.name) not in watch.objects:
            return "absent"
        return "known" if key in self._reconciled else "pending"

    def _build_triggers(self) -> None:
        ground, settings = self.ground, self.ground.settings
        receivers = self.watches.by_kind["Receiver"].objects
        covers = () if settings.watch_label_selector else (*SOURCES, "Kustomization")  # of a shard the caches do not know all
        self.graph = Graph(covers=covers)
        self.index = ReceiverIndex(ground.cluster, receivers, outbound=self.outbound)
        self.unheard = Unheard(self)
        self.requests = Requests(ground.cluster, self.discovery, gate=self.gates[NOTIFICATION], shadow=settings.shadow)
        self.deliveries = Deliveries(
            inbox=self.inbox,
            choosing=Choosing(
                receivers=receivers,
                listing=Listing(self.graph, ground.cluster, self.discovery),
                evaluator=self.evaluator,
                no_cross_namespace=settings.no_cross_namespace_refs,
            ),
            requests=self.requests,
            enqueue=self._enqueue,
            runs=settings.kinds & {*SOURCES, "Kustomization"},
            elected=self.replicas.elected,
        )
        self.deliveries.tell, self.replicas.on_delivery = self.replicas.tell_of_delivery, self.deliveries.heard
        ready = self.watches.by_kind["Receiver"].synced.is_set
        self.intake = Intake(
            index=self.index,
            inbox=self.inbox,
            reading=Reading(ground.workers, Spool(settings.state / "spool")),
            is_ready=ready,
            carrier=self.deliveries,
            evaluator=self.evaluator,
        )
        reconciler = ReceiverReconciler(ground.cluster, self.discovery, objects=receivers, index=self.index, shadow=settings.shadow)
        self.receivers = self._worker(NOTIFICATION, Queue(), reconciler, self._static("Alert"), self._static("Provider"))

    def _static(self, kind: Literal["Alert", "Provider"]) -> StaticReconciler:
        objects = self.watches.by_kind[kind].objects
        made = StaticReconciler(
            kind, self.ground.cluster, self.discovery, objects=objects, table=self.table, shadow=self.ground.settings.shadow
        )
        made.sender_of = lambda key: self.oversight.senders.get(key)
        return made

    def _enqueue(self, key: ObjectKey, trigger: Trigger) -> None:
        if key.kind in SOURCES:
            self.unheard.missed.hooked(key)
        worker = self.sources if key.kind in SOURCES else self.kustomizations
        worker.queue.add(key, trigger=trigger, priority=HOOK)

    def synced(self) -> None:
        """All caches are complete: what is not in them does not exist."""
        self.deliveries.is_ready.set()
        self.dispatcher.wake()
