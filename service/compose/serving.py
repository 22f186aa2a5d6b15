"""The life of the service: open the state, find the cluster, run the rooms in the order of the flow, put everything down cleanly."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

from service.apiserver.server import ApiServer
from service.cluster.access import BadKubeconfig
from service.cluster.client import Cluster
from service.cluster.lease import Lease
from service.compose.access import git_policy
from service.compose.deliverydesk import Tidying, desk_of
from service.compose.house import Ground, House
from service.compose.install import install_kinds
from service.compose.leadership import Leadership, leases_for
from service.compose.replicas import ADDRESS_END, LEASE, shared_identity
from service.compose.running import CannotStart, Room, Until, measure_lag, run_rooms, stop_on_signals
from service.compose.why.memory import why_of
from service.kinds.table import KINDS, SOURCES
from service.metrics import Metrics
from service.outbound import Outbound
from service.settings import HookSettings, Settings
from service.sources.smart import Smart
from service.state.errors import StateError
from service.state.letters import Letters
from service.state.store import Store
from service.web import admin, hooks, inside, letters, probes
from service.web.artifacts import Artifacts
from service.web.port import Port
from service.web.tls import BadCertificate, Certificate
from service.workers import Workers

log = logging.getLogger(__name__)
NAMES_AT_ONCE = 32  # threads that wait for name servers and the like: names that nobody answers must not hold back others
TOKEN_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


async def serve(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; the exit code. Raises CannotStart."""
    stop = asyncio.Event()
    stop_on_signals(stop)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(NAMES_AT_ONCE, thread_name_prefix="blocking"))
    try:
        store = await asyncio.to_thread(Store.open, settings.state, settings.state_url)
    except StateError as error:
        raise CannotStart(str(error)) from error
    workers, smart = Workers(settings.processes), Smart(outbound=Outbound(git_policy(settings)))
    try:
        await workers.start()
        async with _cluster(settings) as cluster:
            ground = Ground(settings=settings, store=store, cluster=cluster, smart=smart, workers=workers, metrics=Metrics())
            house = House(ground)
            try:
                return await _serve(house, stop)
            finally:
                await house.evaluator.close()
    finally:
        await smart.close()
        await workers.close()
        await store.close()


async def _serve(house: House, stop: asyncio.Event) -> int:
    ports = _ports(house)
    for port in ports:
        try:
            await port.start()
        except OSError as error:
            raise CannotStart(f"{port.name} cannot listen on {port.address}: {error.strerror}; choose another address") from error
    connect(house)
    return await run_rooms(_rooms(house, ports), grace=house.ground.settings.grace, stop=stop)


def _rooms(house: House, ports: list[Port]) -> list[Room]:
    """All rooms in the order of the flow, which is the order of stopping."""
    first, *others = ports
    named: list[tuple[str, object]] = [
        (first.name, first),
        ("deliveries", house.deliveries),
        ("requests", house.requests),
        ("receiver index", house.index),
        ("receivers", house.receivers),
        ("sources", house.sources),
        ("generators", house.generating),
        ("pushes", house.pushes),
        ("kustomizations", house.kustomizations),
        ("health waits", house.waits),
        ("sweep", house.sweep),
        ("drift", house.lookouts),
        ("variables", house.named.variables),
        ("trusted keys", house.named.keys),
        ("telling", house.telling),
        ("oversight of alerts", house.oversight),
        ("alerts", house.dispatcher),
        ("kubernetes events", Until(house.recorder.run)),
        *((f"lease {name}", each) for name, each in _leaderships(house).items()),
        ("what was cut off", Until(house.taking_up.run)),
        *((("other replicas", Until(house.replicas.bell.run)),) if house.replicas.bell is not None else ()),
        *((f"watch {kind}", Until(watch.run)) for kind, watch in house.watches.by_kind.items()),
        ("watch secrets", Until(house.watches.secrets.run)),
        ("watch config maps", Until(house.watches.config_maps.run)),
        ("ready", Until(house.watches.tell_when_synced)),
        ("missed hooks", Until(house.unheard.missed.run)),
        ("hooks at GitHub", Until(house.unheard.github.run)),
        ("retention", Until(Tidying(house.inbox, house.bodies).run)),
        ("loop lag", Until(lambda: measure_lag(house.ground.metrics))),
        *((port.name, port) for port in others),
    ]
    return [Room(name=name, running=running) for name, running in named]  # type: ignore[arg-type]  # each has run and stop


def _leaderships(house: House) -> Mapping[str, Leadership]:
    """The Leases to hold. In shadow nothing is written, so nothing needs to be held and every gate stands open."""
    settings, ground, elected = house.ground.settings, house.ground, house.replicas.elected
    if settings.shadow:
        for gate in (elected, *house.gates.values()):
            gate.open()
        return {}
    lease, ours = partial(Lease, ground.cluster, namespace=settings.runtime_namespace), _identity(settings)
    shared = ours if house.replicas.bell is None else shared_identity(ground.store.digest_key)
    made = {
        name: Leadership(lease(name=name, identity=shared), house.gates[name], ground.metrics, partial(house.held, name), elected=elected)
        for name in leases_for(settings.kinds)
    }
    if house.replicas.bell is not None:  # given back last
        election = lease(name=LEASE, identity=ours)
        house.replicas.leader = lambda: election.holder
        made[LEASE] = Leadership(election, elected, ground.metrics, lambda: None)
    return made


def _identity(settings: Settings) -> str:
    """Who holds the Leases: this state folder, which only one process can have open, so that a restart goes on at once. A replica's address
    stands before it, for the others."""
    path, address = settings.state / "identity", settings.replica_address
    if address is not None:
        return f"{address}{ADDRESS_END}{_stored_identity(path)}"
    return _stored_identity(path)


def _stored_identity(path: Path) -> str:
    held = path.read_text(encoding="ascii").strip() if path.exists() else ""
    if held:
        return held
    made = f"{socket.gethostname()}_{uuid4()}"
    fresh = path.with_suffix(".new")  # never half a name: an empty one would hold nothing
    fresh.write_text(f"{made}\n", encoding="ascii")
    fresh.replace(path)
    return made


def connect(house: House) -> None:
    """What follows from a change of each kind."""
    runs = house.ground.settings.kinds
    queues = {
        **dict.fromkeys(SOURCES, house.sources.queue),
        "Kustomization": house.kustomizations.queue,
        "ArtifactGenerator": house.generating.queue,
    }
    more = {"HelmChart": [house.generators.chart_changed], "ExternalArtifact": [house.generators.artifact_changed]}
    for kind in KINDS:
        queue = queues.get(kind.kind, house.receivers.queue) if kind.kind in runs else None
        match kind.kind:
            case source if source in SOURCES:
                seen = [house.graph.seen, house.named.keys.seen] if queue is not None else [house.graph.seen]
                house.watches.connect(kind, seen=seen, changed=more.get(source, ()), queue=queue)
            case "ArtifactGenerator":
                house.watches.connect(kind, seen=[house.generators.seen], queue=queue)
            case "Kustomization":
                seen = [house.graph.seen, house.catalog.seen, house.expression_waits.seen]
                house.watches.connect(kind, seen=[*seen, house.named.variables.seen] if queue is not None else seen, queue=queue)
            case "Receiver":
                house.watches.connect(kind, changed=[house.index.seen], queue=queue)
            case _:
                house.watches.connect(kind, changed=[lambda _change: house.dispatcher.wake()], queue=queue)
    house.watches.secrets.on_change = house.named.secret_changed
    house.watches.config_maps.on_change = house.named.config_map_changed
    house.watches.on_synced = house.synced


def _ports(house: House) -> list[Port]:
    """The four ports, the outward one first."""
    settings, metrics = house.ground.settings, house.ground.metrics
    posted = settings.messages
    sink = inside.EventSink(house.dispatcher.intake, metrics, per_second=posted.event_rate, token=_event_token(posted.event_token_file))
    checks = {
        "caches": lambda: "" if house.watches.synced else "the objects of the cluster are being listed",
        "receivers": lambda: "" if house.index.is_complete else "the tokens of the Receivers are being read",
        "API server": lambda: house.watches.away,
        "database": lambda: house.ground.store.away,
    }
    token = admin.token_file(settings.state)
    outward = hooks.Hooks(house.intake, house.inbox.log, metrics, settings.hooks)
    desk = desk_of(house, outward, house.bodies)
    looked = admin.application(desk, token, why_of(house), lambda: house.reports.shadow_reports)
    letters.add_routes(looked, Letters(house.ground.store), house.outbox, house.held_back)
    artifacts = Artifacts(settings.state / "artifacts", house.remade.make, house.replicas.elsewhere)
    return [
        Port("hooks", hooks.application(outward), settings.listen, certificate=_certificate(settings.hooks)),
        Port("cluster", inside.application(sink, artifacts), settings.cluster),
        Port("admin", looked, settings.admin),
        Port("probes", probes.application(checks, metrics.registry), settings.probes),
    ]


def _certificate(settings: HookSettings) -> Certificate | None:
    """Raises CannotStart."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    try:
        return Certificate(settings.tls_cert, settings.tls_key)
    except BadCertificate as error:
        raise CannotStart(str(error)) from error


def _event_token(file: Path | None) -> str:
    """What those who post events have to show, "" where nothing is asked. Raises CannotStart."""
    if file is None:
        return ""
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise CannotStart(f"--event-token-file {file} cannot be read: {error}") from error
    if not token:
        raise CannotStart(f"--event-token-file {file} is empty: put a token into it, or leave the flag out")
    return token


@asynccontextmanager
async def _cluster(settings: Settings) -> AsyncIterator[Cluster]:
    """The connection to the cluster; with --embedded the server too."""
    server: ApiServer | None = None
    if settings.embedded is not None:
        server = await ApiServer.start(settings.embedded, simulate_workloads=settings.simulate_workloads)
        log.info("embedded API server", extra={"kubeconfig": str(server.kubeconfig), "simulated": settings.simulate_workloads})
    try:
        cluster = await _connection(settings, server)
        try:
            if server is not None:
                await install_kinds(cluster, settings.runtime_namespace)
            yield cluster
        finally:
            await cluster.close()
    finally:
        if server is not None:
            await server.stop()


def in_pod() -> bool:
    """Whether this is a Pod with a service account."""
    return TOKEN_FILE.exists()


async def _connection(settings: Settings, server: ApiServer | None) -> Cluster:
    try:
        if server is not None:
            return await Cluster.from_kubeconfig(server.kubeconfig)
        if settings.kubeconfig is None and in_pod():
            return await Cluster.in_cluster()
        return await Cluster.from_kubeconfig(settings.kubeconfig)
    except BadKubeconfig as error:
        advice = "give --kubeconfig FILE, or --embedded DIR to run without a cluster"
        raise CannotStart(f"{error}; {advice}") from error
