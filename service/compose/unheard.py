"""Hooks that were not heard: the two rooms that look for them, wired into the house.

In: the house, whose Receivers, sources and index are made. Out: `missed` and `github`, which is asked when a hook was missed.
"""

from typing import TYPE_CHECKING, Any

from service.reconcile.queue import Trigger
from service.sources.snapshot import Snapshot
from service.triggers.githubhooks import GitHubHooks
from service.triggers.missed import MissedHooks

if TYPE_CHECKING:
    from service.compose.house import House


class Unheard:
    """Both of them."""

    def __init__(self, house: "House") -> None:
        settings, self._by_kind = house.ground.settings, house.watches.by_kind
        self.missed = MissedHooks(
            receivers=self._by_kind["Receiver"].objects,
            graph=house.graph,
            deliveries=house.inbox.log,
            metrics=house.ground.metrics,
            no_cross_namespace=settings.no_cross_namespace_refs,
        )
        self.github = GitHubHooks(house.index, self.missed.repositories, house.outbound, shadow=settings.shadow)
        self.missed.on_missed = self.github.look

    def arrived(self, snapshot: Snapshot, triggers: tuple[Trigger, ...]) -> None:
        """A revision was found."""
        key = snapshot.key
        objects: Any = self._by_kind[key.kind].objects if key.kind in self._by_kind else {}
        self.missed.arrived(key, snapshot.revision, triggers, objects.get((key.namespace, key.name)))
