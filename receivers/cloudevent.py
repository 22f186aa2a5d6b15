"""CloudEvents over HTTP, in both bindings: attributes in headers (binary) or everything in one JSON (structured).

In: a delivery. Out: its type, source, subject and data. Batches are refused, since each event would need an answer of its own.
https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/http-protocol-binding.md
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field

from receivers.contract import BadPayload, Delivery
from receivers.payload import Json, parse, text, text_or

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudEvent:
    """One event. `data` is a JSON object, {} where it has none."""

    type: str
    source: str
    subject: str = ""
    data: Json = field(default_factory=dict, repr=False)


def is_cloud_event(headers: Mapping[str, str], payload: Mapping[str, Json]) -> bool:
    """Whether a delivery is one at all, in either binding."""
    return "ce-type" in headers or _is_structured(headers) or "specversion" in payload


def cloud_event(delivery: Delivery) -> CloudEvent:
    """Return the event of a delivery. Raises BadPayload."""
    headers = delivery.headers
    if headers.get("content-type", "").lower().startswith(BATCH):
        raise BadPayload("", "batches of CloudEvents are not read: let the sender send one event a request")
    if "ce-type" in headers and not _is_structured(headers):
        data = parse(delivery.body) if delivery.body.strip() else {}
        return CloudEvent(type=headers["ce-type"], source=headers.get("ce-source", ""), subject=headers.get("ce-subject", ""), data=data)
    whole = parse(delivery.body)
    return CloudEvent(type=text(whole, "type"), source=text_or(whole, "source"), subject=text_or(whole, "subject"), data=_data(whole))


def _data(whole: Mapping[str, Json]) -> Json:
    encoded = text_or(whole, "data_base64")
    if not encoded:
        return {} if whole.get("data") is None else whole["data"]
    try:
        return parse(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError) as error:
        raise BadPayload("data_base64", "not base64") from error


def _is_structured(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").partition(";")[0].strip().lower() == STRUCTURED
