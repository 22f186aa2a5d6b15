"""zoom: one message in a channel of Zoom Team Chat.

Credentials: add the app https://marketplace.zoom.us/apps/incoming-webhook to the channel, send `/inc connect <name>` there, and put the
endpoint that it gives into the Secret's key `address` and the verification token into `token`. Sent is a rich message with the object,
the message and the metadata. The format: https://support.zoom.com/hc/en/article?id=zm_kb&sysparm_article=KB0067640
"""

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from providers.answers import address_of, json_request, needs, settle_as
from providers.card import facts, heading, is_error, line, plain
from providers.contract import Event, Request, Target

TEXT, FACTS, FACT = 3_000, 12, 200
settle = settle_as("Zoom", {401: "put the verification token into the Secret's key token"})


def render(event: Event, target: Target) -> Request:
    """Return the request that posts the message. Raises Misconfigured where the address or the token is missing."""
    parts = urlsplit(address_of(target))
    token = needs(target.token, "no token: put the verification token into the Secret's key token")
    query = urlencode([*((name, value) for name, value in parse_qsl(parts.query) if name != "format"), ("format", "full")])
    items = [{"key": name, "value": value} for name, value in facts(event, most=FACTS, longest=FACT)]
    body: list[dict[str, object]] = [{"type": "message", "text": plain(event.message or event.reason, TEXT)}]
    if items:
        body.append({"type": "fields", "items": items})
    head = {"text": heading(event), "sub_head": {"text": line(event.reason, 100)}}
    style = {"color": "#E01E5A" if is_error(event) else "#2EB67D", "bold": True}
    url = urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))
    return json_request(url, {"content": {"head": head | {"style": style}, "body": body}}, headers={"Authorization": token})
