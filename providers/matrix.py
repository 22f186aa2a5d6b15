"""matrix: one message in a room of a Matrix server.

Credentials: register a user for sluice, log in as it (`POST /_matrix/client/v3/login`), put the access token into the Secret's key
`token`, invite the user to the room and join, put the room's id (`!...:server`) into `spec.channel` and the homeserver's URL into
`spec.address`. Sent is plain text with the object, the message and the metadata, under a transaction id made of the event: a repetition
is not shown twice. The format: https://spec.matrix.org/v1.11/client-server-api/#sending-events-to-a-room
"""

import hashlib
from urllib.parse import quote

from providers.answers import address_of, json_request, needs, settle_as
from providers.card import facts, heading, is_error, plain
from providers.contract import Event, Request, Target
from providers.flux_event import flux_bytes

TEXT = 8_000  # a message may have 65,536 bytes in all
settle = settle_as("Matrix", {403: "invite the user of the token to the room and join it", 404: "check spec.address and spec.channel"})


def render(event: Event, target: Target) -> Request:
    """Return the request that puts the message there. Raises Misconfigured where address, token or room is missing."""
    address = address_of(target).rstrip("/")
    token = needs(target.token, "no token: put the user's access token into the Secret's key token")
    room = needs(target.channel, "no room: set spec.channel to the room's id")
    transaction = hashlib.sha1(flux_bytes(event), usedforsecurity=False).hexdigest()
    lines = [f"{'🚨' if is_error(event) else '💫'} {heading(event)}", plain(event.message or event.reason, TEXT)]
    lines += [f"- {name}: {value}" for name, value in facts(event)]
    url = f"{address}/_matrix/client/v3/rooms/{quote(room, safe='')}/send/m.room.message/{transaction}"
    body = {"msgtype": "m.text", "body": "\n".join(lines), "m.mentions": {}}  # without it, `@room` in a text would ring everywhere
    return json_request(url, body, headers={"Authorization": f"Bearer {token}"}, method="PUT")
