"""ConfigMaps and Secrets that objects name: their watches, and what runs when one of them changes.

In: the house, whose sources and Kustomizations are made. Out: the rooms `variables` and `keys`, and what the watches of labelled ones call.
"""

from typing import TYPE_CHECKING

from service.cluster.watch import Change
from service.kustomizations.catalog import key_of
from service.kustomizations.variables import SUBSTITUTED, users_of
from service.reconcile.namedwatches import Named, NamedWatches
from service.reconcile.queue import CHANGE, Trigger
from service.sources.trustedkeys import CHANGED, KEYS

if TYPE_CHECKING:
    from service.compose.house import House


class NamedObjects:
    """Both rooms."""

    def __init__(self, house: "House", *, sources: str, kustomizations: str) -> None:
        """Named are the Leases behind whose gates they run."""
        self._house, cluster, tell = house, house.ground.cluster, house.telling.tell
        self.keys = NamedWatches(cluster, KEYS, gate=house.gates[sources], on_change=self._keys_changed, tell=tell)
        gate = house.gates[kustomizations]
        self.variables = NamedWatches(cluster, SUBSTITUTED, gate=gate, on_change=self._variables_changed, tell=tell)

    def secret_changed(self, change: Change) -> None:
        """A labelled Secret: its Receivers read their tokens again, at once."""
        for key in self._house.index.secret_seen(change):
            self._house.receivers.queue.add(key, trigger=Trigger(reason="secret"))
        self._variables_changed("Secret", change)
        self._keys_changed("Secret", change)

    def config_map_changed(self, change: Change) -> None:
        """A labelled ConfigMap: what substitutes from it runs."""
        self._variables_changed("ConfigMap", change)

    def _variables_changed(self, kind: str, change: Change) -> None:
        """What substitutes from this object looks whether it must run."""
        self._house.variables.changed()
        for each in users_of(self._house.watches.by_kind["Kustomization"].objects.values(), change.object, kind):
            self._house.kustomizations.queue.add(key_of(each), trigger=Trigger(reason="variables"), priority=CHANGE)

    def _keys_changed(self, kind: str, change: Change) -> None:
        """What is checked with the keys in this Secret is checked again."""
        metadata, reason = change.object["metadata"], "keys" if change.type == "ADDED" else CHANGED
        for key in self.keys.users(Named(kind, metadata.get("namespace", ""), metadata["name"])):
            self._house.sources.queue.add(key, trigger=Trigger(reason=reason), priority=CHANGE)
