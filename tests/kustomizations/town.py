"""The rooms from source to status in this process, on an API server and with a Git server: what the tests of this room and compose hold.

In: a kubeconfig, a folder, a namespace. Out: `Town`, with what a user does (commit, push, apply, look). Nothing is simulated but the hook:
`push` asks for the source's reconcile as the trigger room does.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from service.cluster.access import Access
from service.cluster.client import APPLY_PATCH, MERGE_PATCH, Answer, ApiAway, ApiError, Cluster
from service.compose.house import Ground, House
from service.compose.install import install_kinds
from service.compose.running import Room, Until, run_rooms
from service.compose.serving import connect
from service.gitserver import GitServer
from service.kinds.meta import KUSTOMIZE_GROUP, NOTIFICATION_GROUP, SOURCE_GROUP, ObjectKey
from service.metrics import Metrics
from service.reconcile.queue import HOOK, Trigger
from service.settings import KINDS, Address, Settings
from service.sources.smart import Smart
from service.state.store import Store
from service.workers import Workers
from tests.kustomizations.repository import Repository

SHARD = "sharding.fluxcd.io/key"
PATHS = {
    "GitRepository": f"/apis/{SOURCE_GROUP}/v1/namespaces/{{}}/gitrepositories/{{}}",
    "Kustomization": f"/apis/{KUSTOMIZE_GROUP}/v1/namespaces/{{}}/kustomizations/{{}}",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps/{}",
    "Secret": "/api/v1/namespaces/{}/secrets/{}",
    "Service": "/api/v1/namespaces/{}/services/{}",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments/{}",
    "Receiver": f"/apis/{NOTIFICATION_GROUP}/v1/namespaces/{{}}/receivers/{{}}",
    "Namespace": "/api/v1/namespaces/{1}",
    "Lease": "/apis/coordination.k8s.io/v1/namespaces/{}/leases/{}",
}
Object = dict[str, Any]
SETTINGS = Settings(
    state=Path(),
    kubeconfig=None,
    embedded=None,
    simulate_workloads=False,
    listen=Address(host="127.0.0.1", port=0),
    probes=Address(host="127.0.0.1", port=0),
    cluster=Address(host="127.0.0.1", port=0),
    admin=Address(host="127.0.0.1", port=0),
    artifact_host="127.0.0.1:9",
    kinds=frozenset(KINDS),
    watch_label_selector="",
    runtime_namespace="",
    shadow=False,
    no_cross_namespace_refs=False,
    remote_bases=False,
    default_service_account="",
    alerts_any_namespace=False,
    cluster_name="",
    strict_substitutions=False,
    drift="interval",
    prune_limit=None,
    override_managers=(),
    no_private_addresses=False,
    allow_loopback=False,
    workload_identity=False,
    machine_identity=False,
    log_format="text",
    log_level="info",
    concurrency=8,
    processes=2,
    grace=timedelta(seconds=5),
)


class Noting(Cluster):
    """A connection that keeps a list of what was asked, so that a test can say what was not."""

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self.asked: list[tuple[str, str]] = []

    async def request(self, method: str, path: str, **arguments: Any) -> Answer:
        body = arguments.get("body")
        dry = "?dryRun" if "dryRun" in (arguments.get("query") or {}) or (isinstance(body, dict) and "dryRun" in body) else ""
        self.asked.append((method, path + dry))
        return await super().request(method, path, **arguments)

    async def page_of_metadata(self, path: str, *, query: Mapping[str, str], timeout: timedelta) -> Answer:
        self.asked.append(("GET", f"{path}?metadata&{query.get('fieldSelector', '')}"))
        return await super().page_of_metadata(path, query=query, timeout=timeout)

    def writes(self, part: str = "") -> list[tuple[str, str]]:
        """The writes (no dry runs) to paths that contain `part`."""
        return [(method, path) for method, path in self.asked if method != "GET" and part in path and not path.endswith("?dryRun")]


def config_map(name: str, value: str, **metadata: Any) -> str:
    """A manifest as YAML (JSON is YAML)."""
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": {"value": value}})


def ready(seen: Object) -> Mapping[str, str]:
    """The Ready condition, {} without one."""
    return next((each for each in (seen.get("status") or {}).get("conditions") or () if each["type"] == "Ready"), {})


def inventory(seen: Object) -> set[str]:
    """The ids in the inventory."""
    return {entry["id"] for entry in ((seen.get("status") or {}).get("inventory") or {}).get("entries") or ()}


class Town:
    """One service at a time, on one state folder; `start` and `stop` as often as wanted."""

    def __init__(self, folder: Path, kubeconfig: Path, namespace: str, url: str, *, repository: Repository, api: Cluster) -> None:
        self.folder, self.kubeconfig, self.namespace, self.url = folder, kubeconfig, namespace, url
        self.repository, self.api = repository, api
        self.settings: dict[str, Any] = {}
        self.house: House
        self.cluster: Noting
        self._task: asyncio.Task[int] | None = None
        self._stop = asyncio.Event()

    def beside(self) -> "Town":
        """The same place for another service; whoever starts it kills it."""
        return Town(self.folder, self.kubeconfig, self.namespace, self.url, repository=self.repository, api=self.api)

    # --- the service

    async def start(self, *, state: str = "state", through: Path | None = None, leases: bool = False) -> House:
        """Start the rooms; without `leases` all gates stand open. `through` is another kubeconfig for the service alone."""
        settings = replace(SETTINGS, **self._given(state))
        store, workers = Store.open(settings.state), Workers(2)
        self.cluster = await Noting.from_kubeconfig(through or self.kubeconfig)  # type: ignore[assignment]  # cls is what it makes
        house = self.house = House(
            Ground(settings=settings, store=store, cluster=self.cluster, smart=Smart(), workers=workers, metrics=Metrics())
        )
        connect(house)
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(run_rooms(_rooms(house), grace=settings.grace, stop=self._stop), name="service")
        if not leases:
            for name, gate in house.gates.items():
                gate.open()
                house.held(name)
        return house

    def _given(self, state: str) -> dict[str, Any]:
        shard = f"{SHARD}={self.namespace}"
        return {"state": self.folder / state, "watch_label_selector": shard, "runtime_namespace": self.namespace, **self.settings}

    async def stop(self) -> int:
        """Drain; the exit code."""
        assert self._task is not None
        self._stop.set()
        code = await self._task
        await self._closed()
        return code

    async def kill(self) -> None:
        """Stop in the middle of whatever is under way."""
        if self._task is None:
            return
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._closed()

    async def _closed(self) -> None:
        self._task = None
        ground = self.house.ground
        await self.house.evaluator.close()
        await ground.workers.close()
        await ground.smart.close()
        await self.cluster.close()
        await ground.store.close()
        await asyncio.sleep(0.02)  # closed connections end in the loop's next rounds

    @property
    def alive(self) -> bool:
        return self._task is not None and not self._task.done()

    # --- the user

    def push(self, changes: Mapping[str, str | None]) -> str:
        """Commit and tell the service; returns the revision."""
        self.repository.commit(changes)
        return self.tell()

    def tell(self) -> str:
        """Tell the service that something was pushed, as a hook does."""
        key = ObjectKey(group=SOURCE_GROUP, kind="GitRepository", namespace=self.namespace, name="fleet")
        self.house.sources.queue.add(key, trigger=Trigger(reason="hook", trace="pushed"), priority=HOOK)
        return self.revision

    @property
    def revision(self) -> str:
        return f"main@sha1:{self.repository.head}"

    def source(self, **spec: Any) -> Object:
        return self._made("GitRepository", "fleet", {"url": self.url, "interval": "10m", "ref": {"branch": "main"}, **spec})

    def kustomization(self, name: str, path: str = "", **spec: Any) -> Object:
        given = {"interval": "10m", "retryInterval": "1s", "timeout": "30s", "prune": True, "path": path or f"./{name}"}
        given |= {"targetNamespace": self.namespace, "sourceRef": {"kind": "GitRepository", "name": "fleet"}}
        return self._made("Kustomization", name, given | spec)

    def _made(self, kind: str, name: str, spec: Mapping[str, Any]) -> Object:
        group = SOURCE_GROUP if kind == "GitRepository" else KUSTOMIZE_GROUP
        metadata = {"name": name, "namespace": self.namespace, "labels": {SHARD: self.namespace}}
        return {"apiVersion": f"{group}/v1", "kind": kind, "metadata": metadata, "spec": dict(spec)}

    async def apply(self, *objects: Object) -> None:
        for each in objects:
            metadata = each["metadata"]
            path = PATHS[each["kind"]].format(metadata.get("namespace", ""), metadata["name"])
            query = {"fieldManager": "tester", "force": "true"}
            await self.api.request("PATCH", path, query=query, body=each, content_type=APPLY_PATCH)

    async def patch(self, kind: str, name: str, body: Object, *, sub: str = "") -> None:
        path = PATHS[kind].format(self.namespace, name) + sub
        await self.api.request("PATCH", path, body=body, content_type=MERGE_PATCH)

    async def ask(self, name: str, token: str) -> None:
        """`flux reconcile kustomization`."""
        await self.patch("Kustomization", name, {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": token}}})

    async def delete(self, kind: str, name: str) -> None:
        await self.api.request("DELETE", PATHS[kind].format(self.namespace, name))

    async def get(self, kind: str, name: str) -> Object | None:
        try:
            return (await self.api.request("GET", PATHS[kind].format(self.namespace, name))).body
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def wait(self, kind: str, name: str, test: Callable[[Object], bool], *, seconds: float = 10) -> Object:
        """The object as soon as `test` is true of it; not if the service ends before."""

        def checked(seen: Object) -> bool:
            assert self.alive, "the service ended"
            return test(seen)

        return await self.wait_outside(kind, name, checked, seconds=seconds)

    async def wait_outside(self, kind: str, name: str, test: Callable[[Object], bool], *, seconds: float) -> Object:
        """The object as soon as `test` is true of it, whoever brings it about."""
        seen: Object | None = None
        try:
            async with asyncio.timeout(seconds):
                while True:
                    with suppress(ApiAway):
                        seen = await self.get(kind, name)
                    if seen is not None and test(seen):
                        return seen
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"{kind} {name} is not as expected: {json.dumps((seen or {}).get('status') or seen, indent=1)}") from None

    async def wait_gone(self, kind: str, name: str, *, seconds: float = 10) -> None:
        async with asyncio.timeout(seconds):
            while await self.get(kind, name) is not None:  # noqa: ASYNC110 - a server's doing
                await asyncio.sleep(0.01)

    async def at(self, revision: str, *names: str) -> list[Object]:
        """These Kustomizations, as soon as they are Ready at the revision."""
        return [await self.wait("Kustomization", name, lambda seen: is_at(seen, revision), seconds=10 + len(names) / 5) for name in names]

    async def not_ready(self, name: str, reason: str) -> Object:
        """The Kustomization, as soon as it is Ready=False with the reason."""
        return await self.wait(
            "Kustomization", name, lambda seen: (ready(seen).get("status"), ready(seen).get("reason")) == ("False", reason)
        )

    async def value(self, name: str) -> str | None:
        """What stands in a ConfigMap, None where there is none."""
        seen = await self.get("ConfigMap", name)
        return None if seen is None else seen["data"]["value"]

    async def values(self) -> dict[str, str]:
        """All ConfigMaps that a Kustomization owns, by name."""
        path = PATHS["ConfigMap"].format(self.namespace, "").rstrip("/")
        items = (await self.api.request("GET", path)).body["items"]
        label = "kustomize.toolkit.fluxcd.io/name"
        owned = [
            each for each in items if label in (each["metadata"].get("labels") or {}) and not each["metadata"].get("deletionTimestamp")
        ]
        return {each["metadata"]["name"]: each["data"]["value"] for each in owned}

    # --- what was told

    async def events(self, name: str, *, severity: str = "") -> list[Object]:
        """The stored events about a Kustomization, oldest first; what only says that a wait has begun is left out."""
        return [each for each in await self.all_events(name, severity=severity) if each["reason"] != "Progressing"]

    async def all_events(self, name: str, *, severity: str = "") -> list[Object]:
        """The same with those."""
        found = [json.loads(event.json) for event in await self.house.outbox.unmatched()]
        about = [each for each in found if (each["involvedObject"]["kind"], each["involvedObject"]["name"]) == ("Kustomization", name)]
        return [each for each in about if severity in ("", each["severity"])]

    async def quiet(self) -> None:
        """Return when nothing is under way."""
        async with asyncio.timeout(30):
            for _ in range(3):
                for queue in (self.house.sources.queue, self.house.kustomizations.queue):
                    await queue.idle.wait()
                await asyncio.sleep(0.02)


def is_at(seen: Object, revision: str) -> bool:
    condition = ready(seen)
    observed = condition.get("observedGeneration") == seen["metadata"]["generation"]
    return condition.get("status") == "True" and observed and seen["status"].get("lastAppliedRevision") == revision


def _rooms(house: House) -> Sequence[Room]:
    """The rooms behind the hook, without ports, Leases and messages."""
    named: dict[str, Any] = {
        "sources": house.sources,
        "pushes": house.pushes,
        "kustomizations": house.kustomizations,
        "waits": house.waits,
        "sweep": house.sweep,
        "drift": house.lookouts,
        "variables": house.named.variables,
        "trusted keys": house.named.keys,
        "telling": house.telling,
        "kubernetes events": Until(house.recorder.run),
        "what was cut off": Until(house.taking_up.run),
    }
    named |= {f"watch {kind}": Until(watch.run) for kind, watch in house.watches.by_kind.items()}
    named |= {f"watch {watch}": Until(getattr(house.watches, watch).run) for watch in ("secrets", "config_maps")}
    return [Room(name=name, running=room) for name, room in named.items()]


@asynccontextmanager
async def town(folder: Path, kubeconfig: Path, namespace: str) -> AsyncIterator[Town]:
    """A town with its namespace, the kinds installed, a Git server, and no service yet."""
    (folder / "git").mkdir(parents=True)
    api = await Cluster.from_kubeconfig(kubeconfig)
    try:
        await install_kinds(api, namespace)
        async with GitServer(root=folder / "git").serving() as url:
            repository = Repository(folder / "git" / "fleet.git")
            made = Town(folder, kubeconfig, namespace, f"{url}/fleet.git", repository=repository, api=api)
            try:
                yield made
            finally:
                await made.kill()
    finally:
        await api.close()
        await asyncio.sleep(0.02)  # closed connections end in the loop's next rounds
