"""Which index of each HelmRepository is the newest, and the news when one has moved: HelmCharts look for their versions there."""

from collections.abc import Callable

from service.kinds.meta import ObjectKey
from service.kinds.source import Artifact
from service.reconcile.queue import Trigger


class Indexes:
    """`on_index` is called as soon as a newer index can be read; it must not block."""

    def __init__(self, on_index: Callable[[ObjectKey, tuple[Trigger, ...]], None]) -> None:
        self._on_index = on_index
        self._newest: dict[ObjectKey, Artifact] = {}

    def get(self, key: ObjectKey) -> Artifact | None:
        """The newest index of this process's time, None where there was none yet."""
        return self._newest.get(key)

    def publish(self, key: ObjectKey, artifact: Artifact, triggers: tuple[Trigger, ...]) -> None:
        """Tell the charts if the index is another one than before, also once after a restart."""
        before = self._newest.get(key)
        self._newest[key] = artifact
        if before is None or before.revision != artifact.revision:
            self._on_index(key, triggers)

    def forget(self, key: ObjectKey) -> None:
        """The repository is gone, or has no index any more."""
        self._newest.pop(key, None)
