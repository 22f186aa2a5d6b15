"""grafana: one annotation in Grafana, with the message as its text. Flux sends the object's name only.

Credentials: choose Administration, Service accounts, add one with the role Editor, and put a token of it into the Secret's key `token`;
or `username` and `password` of a user. The address is `https://<grafana>/api/annotations`; one that ends in `/graphite` gets Graphite's
form. Sent is the text with the time of the event and Flux's tags. The format:
https://grafana.com/docs/grafana/latest/developers/http_api/annotations/
"""

import html
from urllib.parse import urlsplit

from providers.answers import address_of, basic, has_pair, json_request, settle_as
from providers.card import escaped, facts, heading, line, object_name
from providers.contract import Event, Misconfigured, Request, Target
from providers.reason import words

TEXT = 8_000
settle = settle_as("Grafana", {404: "set spec.address to https://<grafana>/api/annotations"})


def render(event: Event, target: Target) -> Request:
    """Return the request that makes the annotation. Raises Misconfigured where address or credentials are missing."""
    address = address_of(target)
    if target.token:
        authorization = f"Bearer {target.token.reveal()}"
    elif has_pair(target):
        authorization = basic(target.username, target.password)
    else:
        raise Misconfigured("no credentials: put the key token, or username and password, into the Secret")
    title = escaped(heading(event, f"{object_name(event)}: {words(event.reason)}"), 500, html.escape)
    text = escaped(event.message, TEXT, html.escape)
    seconds = event.timestamp.timestamp()
    if urlsplit(address).path.rstrip("/").endswith("/graphite"):
        body: dict[str, object] = {"what": title, "when": int(seconds), "data": text}
    else:
        body = {"time": int(seconds * 1000), "text": f"{title}\n{text}".strip()}
    return json_request(address, body | {"tags": tags(event)}, headers={"Authorization": authorization})


def tags(event: Event) -> list[str]:
    """Flux's tags, which people's queries name."""
    pairs = [(name.replace(":", "|"), value.replace(":", "|")) for name, value in facts(event, longest=200)]
    own = [("kind", event.kind), ("name", event.name), ("namespace", event.namespace)]
    named = [f"{name}: {line(value, 300)}" for name, value in (*pairs, *own) if line(value, 300)]
    return ["flux", *([line(event.controller, 100)] if event.controller else []), *named]
