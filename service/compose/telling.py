"""Events of reconcilers that have no journal row: stored for the alerts, and shown as Kubernetes Events."""

import asyncio
import hashlib
import logging

from service.cluster.events import News, Recorder
from service.kinds.event import Event
from service.state.errors import StateError
from service.state.outbox import EventRow, Outbox

log = logging.getLogger(__name__)
RETRY_SECONDS = 2.0


def news_of(event: Event) -> News:
    """The Kubernetes Event of an event, as Flux's controllers post it beside the notification."""
    return News(
        api_version=event.involved_api_version,
        kind=event.involved.kind,
        namespace=event.involved.namespace,
        name=event.involved.name,
        uid=event.involved_uid,
        resource_version=event.involved_resource_version,
        type="Warning" if event.severity == "error" else "Normal",
        reason=event.reason,
        message=event.message,
        annotations=event.metadata,
        component=event.reporting_controller,
    )


class Telling:
    """A room that stores events in their order, again and again while the state folder cannot be written."""

    def __init__(self, outbox: Outbox, recorder: Recorder, *, shadow: bool) -> None:
        self._outbox = outbox
        self._recorder = recorder
        self._shadow = shadow
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()

    def post(self, event: Event) -> None:
        """The Kubernetes Event alone."""
        if not self._shadow:
            self._recorder.post(news_of(event))

    def tell(self, event: Event) -> None:
        """The Kubernetes Event, and the stored one for the alerts."""
        self.post(event)
        if not self._shadow:
            self._events.put_nowait(event)

    def stop(self) -> None:
        self._events.put_nowait(None)

    async def run(self) -> None:
        """Until stopped and everything is stored."""
        while (event := await self._events.get()) is not None:
            row = EventRow(key=_key(event), json=event.to_json())
            while True:
                try:
                    await self._outbox.add(row)
                    break
                except StateError as error:
                    log.warning("event not stored yet", extra={"object": str(event.involved), "error": str(error)})
                    await asyncio.sleep(RETRY_SECONDS)


def _key(event: Event) -> str:
    parts = (
        event.involved_uid,
        event.reason,
        event.message,
        event.timestamp.isoformat(),
        *(f"{k}={v}" for k, v in sorted(event.metadata.items())),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
