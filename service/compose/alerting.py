"""What sends alerts, wired into the house: the dispatcher and what watches over it."""

from functools import partial
from typing import TYPE_CHECKING

from service.alerts import dispatch
from service.alerts.courtesy import Courtesy
from service.alerts.matching import Rules
from service.compose.access import labels_of
from service.compose.alarms import oversight_of
from service.compose.leadership import LEASES
from service.reconcile.queue import Trigger
from service.state.letters import Letters
from service.state.notes import Notes

if TYPE_CHECKING:
    from service.compose.house import House

*_, NOTIFICATION = LEASES


class Alerting:
    """Both of them."""

    def __init__(self, house: "House") -> None:
        self._house = house
        ground, settings = house.ground, house.ground.settings
        needs = dispatch.Needs(
            outbox=house.outbox,
            notes=Notes(ground.store),
            alerts=house.watches.by_kind["Alert"].objects,
            providers=house.watches.by_kind["Provider"].objects,
            is_ready=self._may_send,
            read_secret=house.secrets.read,
            read_labels=partial(labels_of, ground.cluster, house.discovery),
            read_config=house.secrets.config,
            held=house.held_back,
            post_event=house.recorder.post,
            workers=ground.workers,
            metrics=ground.metrics,
            outbound=house.outbound,
            evaluator=house.evaluator,
            table=house.table,
            courtesy=Courtesy((house.sources.queue.idle, house.kustomizations.queue.idle)),
            grants=house.grants,
        )
        self.dispatcher = dispatch.Dispatcher(
            needs,
            shadow=settings.shadow,
            no_cross_namespace=settings.no_cross_namespace_refs,
            ttl=settings.messages.ttl,
            rules=Rules(any_namespace=settings.alerts_any_namespace, cluster=settings.cluster_name),
        )
        again = Trigger(reason="messages")
        self.oversight = oversight_of(settings, needs, Letters(ground.store), lambda key: house.receivers.queue.add(key, trigger=again))

    def _may_send(self) -> bool:
        """Messages are another's business while another holds the Lease."""
        house = self._house
        known = all(house.watches.by_kind[kind].synced.is_set() for kind in ("Alert", "Provider"))
        return known and house.gates[NOTIFICATION].is_open and "Alert" in house.ground.settings.kinds
