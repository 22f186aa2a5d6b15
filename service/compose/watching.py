"""The watches of our kinds, and what follows from each change: indexes first, then the queue of the kind's controller."""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from service.cluster.client import Cluster
from service.cluster.discovery import Resource
from service.cluster.watch import Change, Watch
from service.kinds.meta import WATCH_LABEL, ObjectKey
from service.kinds.table import KINDS, Kind
from service.reconcile.changes import asks_for_run
from service.reconcile.queue import CHANGE, Queue, Trigger

CONFIG_MAP = Resource(group="", version="v1", plural="configmaps", namespaced=True, kind="ConfigMap")
SECRET = Resource(group="", version="v1", plural="secrets", namespaced=True, kind="Secret")
Seen = Callable[[ObjectKey, Mapping[str, object] | None], None]


def resource_of(kind: Kind) -> Resource:
    """The newest version of one of our kinds."""
    return Resource(group=kind.group, version=kind.versions[0], plural=kind.plural, namespaced=True, kind=kind.kind)


def key_of(kind: Kind, object_: Mapping[str, object]) -> ObjectKey:
    """The key of an object of that kind."""
    metadata = object_["metadata"]
    assert isinstance(metadata, dict)
    return ObjectKey(group=kind.group, kind=kind.kind, namespace=metadata.get("namespace", ""), name=metadata["name"])


class Watches:
    """One watch for each kind, made before the rooms that read their caches; `connect` says what happens on a change."""

    def __init__(self, cluster: Cluster, *, label_selector: str) -> None:
        self.on_synced: Callable[[], None] = lambda: None
        self.by_kind: dict[str, Watch] = {
            kind.kind: Watch(cluster, resource=resource_of(kind), label_selector=label_selector or None) for kind in KINDS
        }
        self.config_maps = Watch(cluster, resource=CONFIG_MAP, label_selector=f"{WATCH_LABEL}=Enabled")
        self.secrets = Watch(cluster, resource=SECRET, label_selector=f"{WATCH_LABEL}=Enabled")

    async def tell_when_synced(self) -> None:
        """Call `on_synced` once every cache is complete; returns never."""
        for watch in self.by_kind.values():
            await watch.synced.wait()
        self.on_synced()
        await asyncio.Event().wait()

    @property
    def synced(self) -> bool:
        """Whether every cache is complete."""
        return all(watch.synced.is_set() for watch in self.by_kind.values())

    @property
    def away(self) -> str:
        """Since when the API server does not answer as it should and what was wrong last, "" while it does."""
        lost = [(watch.away_since, watch.problem) for watch in self.by_kind.values() if watch.away_since is not None]
        return f"since {min(lost)[0].isoformat(timespec='seconds')}: {min(lost)[1]}" if lost else ""

    def connect(
        self, kind: Kind, *, seen: Iterable[Seen] = (), changed: Iterable[Callable[[Change], None]] = (), queue: Queue | None
    ) -> None:
        """Tell `seen` and `changed` of every change of a kind; put what asks for a run into `queue` (None: not run here)."""
        seen, changed = tuple(seen), tuple(changed)

        def on_change(change: Change) -> None:
            key = key_of(kind, change.object)
            gone = change.type == "DELETED"
            for index in seen:
                index(key, None if gone else change.object)
            for listener in changed:
                listener(change)
            if queue is not None and (gone or asks_for_run(change.object, change.old)):
                queue.add(key, trigger=Trigger(reason=change.type.lower()), priority=CHANGE)

        self.by_kind[kind.kind].on_change = on_change
