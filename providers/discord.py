"""discord: one embed in a channel, through a webhook.

Credentials: in the channel's settings choose Integrations, Webhooks, New Webhook, Copy Webhook URL, and put the URL into the Secret's key
`address` (`https://discord.com/api/webhooks/...`, with or without the `/slack` that Flux adds). Sent is an embed with the object, the
message and the metadata; nobody is mentioned. `spec.username` is the name it is posted under; the webhook fixes the channel. The format:
https://discord.com/developers/docs/resources/webhook#execute-webhook
"""

from urllib.parse import urlsplit, urlunsplit

from providers.answers import address_of, json_request, settle_as
from providers.card import backslashes, escaped, facts, heading, is_error, line
from providers.contract import Event, Request, Target
from providers.flux_event import timestamp

TITLE, TEXT, FIELDS, FIELD = 250, 2_600, 12, 150  # together below the 6000 that all texts of a message may have
GREEN, RED = 0x2EB67D, 0xE01E5A
settle = settle_as("Discord", {404: "the webhook was removed: make a new one and put its URL into the Secret"})
escape = backslashes("\\*_~`|>#-[]()<")


def render(event: Event, target: Target) -> Request:
    """Return the request that posts the embed. Raises Misconfigured where there is no address."""
    parts = urlsplit(address_of(target))
    path = parts.path.removesuffix("/").removesuffix("/slack")
    embed = {
        "title": escaped(heading(event), TITLE, escape),
        "description": escaped(event.message or event.reason, TEXT, escape),
        "color": RED if is_error(event) else GREEN,
        "timestamp": timestamp(event),
        "fields": [
            {"name": escaped(name, 100, escape), "value": escaped(value, FIELD, escape), "inline": len(value) < 40}
            for name, value in facts(event, most=FIELDS, longest=FIELD)
        ],
    }
    body: dict[str, object] = {"embeds": [embed], "allowed_mentions": {"parse": []}}
    username = line(target.username or event.controller, 80)
    if username:
        body["username"] = username
    return json_request(urlunsplit((parts.scheme, parts.netloc, path, parts.query, "")), body)
