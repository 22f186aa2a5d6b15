"""What an Alert and a Provider would make of an event, with their annotations carried out, without storing or sending anything.

In: both objects, an event, readers of ConfigMaps and of labels. Out: the event as the Provider would get it, and notes.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from providers import contract
from service.alerts import metadata
from service.alerts.catalog import Catalog
from service.alerts.message import event_of, payload_of
from service.alerts.shaping import Means, ReadConfig, Shaper
from service.alerts.table import load
from service.alerts.templates import Renderer
from service.cel import Evaluator
from service.kinds.codec import decode
from service.kinds.event import Event
from service.kinds.meta import ObjectKey
from service.kinds.notification import Alert
from service.state.outbox import OutMessage

ReadLabels = Callable[[ObjectKey, str], Awaitable[Mapping[str, str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """`event` is None where nothing would be sent; `notes` say why, or what is to be corrected."""

    event: contract.Event | None
    notes: tuple[str, ...]


async def rehearse(
    provider: Mapping[str, Any], alert: Mapping[str, Any], event: Event, *, read_config: ReadConfig, read_labels: ReadLabels
) -> Rehearsed:
    """Return what would be told. Raises Invalid, ApiAway."""
    decoded = decode(Alert, alert)
    about = provider["metadata"]
    key = decoded.provider_key
    if key.name != about.get("name"):
        return Rehearsed(event=None, notes=(f"{decoded.key} names another Provider, {key}",))
    alerts, providers = {(decoded.key.namespace, decoded.key.name): alert}, {(key.namespace, key.name): provider}
    merged, _ = metadata.merged(event, decoded.spec)
    message = OutMessage(alert=decoded.key, provider=key, payload=payload_of(event, merged, decoded), object=str(event.involved))
    evaluator, renderer = Evaluator(), Renderer()
    try:
        catalog = Catalog(alerts, providers, lambda _raw, _problem: None, load())
        means = Means(catalog=catalog, read_labels=read_labels, read_config=read_config, evaluator=evaluator, renderer=renderer)
        shaped, complaints = await Shaper(means).shape(event, [message])
    finally:
        await evaluator.close()
        await renderer.close()
    notes = [each.message for each in complaints]
    if not shaped:
        return Rehearsed(event=None, notes=(*notes, "nothing: the trigger `on` does not let such an event pass"))
    [one] = shaped
    notes += [f"held until {one.hold.until:%Y-%m-%d %H:%M:%S} UTC, {one.hold.why}"] if one.hold is not None else []
    notes += ["told once only: `once-per` gives a key"] if one.once else []
    return Rehearsed(event=event_of(one.payload)[0], notes=tuple(notes))
