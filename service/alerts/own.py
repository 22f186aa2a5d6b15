"""Messages of our own, which no Alert has to match: about a Provider that does not take messages, and that the alert path is alive.

In: a Provider, a word and a sentence. Out: an event and the message that carries it, to be stored together. Their `alert` is no Alert: its
kind says what the message is, and nothing is ever told about the trouble of such a message itself.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from service.alerts.message import payload_of
from service.kinds.event import Event
from service.kinds.meta import NOTIFICATION_GROUP, Metadata, ObjectKey
from service.kinds.notification import Alert, AlertSpec
from service.state.outbox import EventRow, OutMessage

TROUBLE, HEARTBEAT = "Trouble", "Heartbeat"
CREDENTIALS_REFUSED, PROVIDER_FAILING, DEAD_LETTERS = "CredentialsRefused", "ProviderFailing", "DeadLetters"
DISPATCH_SUCCEEDED, ALIVE = "DispatchSucceeded", "Heartbeat"
CONTROLLER = "notification-controller"
Severity = Literal["info", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnNews:
    """What is told: a word, a sentence, and how bad it is."""

    reason: str
    text: str
    severity: Severity = "info"


def own_message(about: ObjectKey, to: ObjectKey, news: OwnNews, *, kind: str, now: datetime) -> tuple[EventRow, OutMessage]:
    """An event about the Provider `about` and the message that tells it to the Provider `to`; the event's key holds the time."""
    event = Event(
        involved=about,
        involved_api_version=f"{NOTIFICATION_GROUP}/v1beta3",
        severity=news.severity,
        reason=news.reason,
        message=news.text,
        timestamp=now,
        reporting_controller=CONTROLLER,
    )
    spec = AlertSpec(provider_ref=to.name, event_sources=())
    alert = Alert(metadata=Metadata(name=about.name, namespace=about.namespace), spec=spec)
    sender = ObjectKey(group=NOTIFICATION_GROUP, kind=kind, namespace=about.namespace, name=about.name)
    row = EventRow(key=f"{kind}/{about.namespace}/{about.name}/{news.reason}/{now.isoformat()}", json=event.to_json())
    object_ = f"{kind}/{about.namespace}/{about.name}"
    return row, OutMessage(alert=sender, provider=to, payload=payload_of(event, {}, alert), object=object_)
