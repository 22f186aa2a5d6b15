"""The flags about messages themselves, turned into the room that watches them."""

from collections.abc import Callable

from service.alerts.dispatch import Needs
from service.alerts.oversight import Heartbeat, Oversight, Watched, provider_key
from service.kinds.meta import ObjectKey
from service.settings import Settings
from service.state.letters import Letters


def oversight_of(settings: Settings, needs: Needs, letters: Letters, on_change: Callable[[ObjectKey], None]) -> Oversight:
    """The room, over what the dispatcher is given; in shadow mode it tells nobody."""
    fallback, beat = settings.messages.fallback, settings.messages.heartbeat
    return Oversight(
        Watched(
            letters=letters,
            outbox=needs.outbox,
            alerts=needs.alerts,
            providers=needs.providers,
            is_ready=lambda: needs.is_ready() and not settings.shadow,
            on_change=on_change,
            metrics=needs.metrics,
            fallback=provider_key(*fallback) if fallback else None,
            heartbeat=Heartbeat(provider=provider_key(*beat), interval=settings.messages.heartbeat_interval) if beat else None,
            no_cross_namespace=settings.no_cross_namespace_refs,
        )
    )
