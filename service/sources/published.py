"""What consumers may build from: the newest snapshot of each source of every kind, and the news when one has moved."""

from collections.abc import Callable, Iterator, Mapping

from service.kinds.meta import ObjectKey
from service.reconcile.queue import Trigger
from service.sources.snapshot import Snapshot


class Published(Mapping[ObjectKey, Snapshot]):
    """`on_revision` is called as soon as a snapshot is new, also once after a restart; it must not block."""

    def __init__(self, on_revision: Callable[[Snapshot, tuple[Trigger, ...]], None]) -> None:
        self._on_revision = on_revision
        self._newest: dict[ObjectKey, Snapshot] = {}

    def __getitem__(self, key: ObjectKey) -> Snapshot:
        return self._newest[key]

    def __iter__(self) -> Iterator[ObjectKey]:
        return iter(self._newest)

    def __len__(self) -> int:
        return len(self._newest)

    def publish(self, snapshot: Snapshot, triggers: tuple[Trigger, ...]) -> bool:
        """Tell the consumers if anything differs for them; returns whether it does."""
        if self._newest.get(snapshot.key) == snapshot:
            return False
        self._newest[snapshot.key] = snapshot
        self._on_revision(snapshot, triggers)
        return True

    def announce(self, key: ObjectKey, triggers: tuple[Trigger, ...]) -> bool:
        """Tell the consumers once more, who may have looked before the object was there; returns whether anything is published."""
        snapshot = self._newest.get(key)
        if snapshot is not None:
            self._on_revision(snapshot, triggers)
        return snapshot is not None

    def forget(self, key: ObjectKey) -> None:
        """The source is gone."""
        self._newest.pop(key, None)
