"""Recorded cases, and a target that any provider can be tried with."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from providers.contract import Event, Provider, Request, Response, Secret, Target

FOLDER = Path(__file__).parent
PEM = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
_SIGNED = re.compile("assertion=[^&]+")  # by a key that each run makes


def event_of(body: Mapping[str, Any]) -> Event:
    return Event(**{**body, "timestamp": datetime.fromisoformat(body["timestamp"])})


def target_of(body: Mapping[str, Any]) -> Target:
    values = {name: Secret(value) if name in ("address", "token", "password") else value for name, value in body.items()}
    values["keys"] = {name: Secret(value.replace("@KEY", json.dumps(PEM)[1:-1])) for name, value in body.get("keys", {}).items()}
    if "now" in body:
        values["now"] = datetime.fromisoformat(body["now"])
    return Target(**values)


def requests_of(provider: Provider, event: Event, target: Target, answers: Sequence[Response] = ()) -> Iterator[Request]:
    """The requests of a dialogue; answers that are not given are an empty success."""
    dialogue, given = provider.dialogue(event, target), iter(answers)
    request = next(dialogue, None)
    while request is not None:
        yield request
        try:
            request = dialogue.send(next(given, Response(status=200, headers={}, body=b"{}")))
        except StopIteration:
            return


def seen(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(request.body)
    except ValueError:
        body = _SIGNED.sub("assertion=...", request.body.decode())
    return {"method": request.method, "url": request.url.reveal(), "headers": dict(request.headers), "body": body}


def answer_of(body: Mapping[str, Any]) -> Response:
    content = body.get("body", "")
    return Response(
        status=body.get("status", 200),
        headers=body.get("headers", {}),
        body=(content if isinstance(content, str) else json.dumps(content)).encode(),
    )
