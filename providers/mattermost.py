"""mattermost: one attachment in a channel of Mattermost. Not one of Flux's types.

Credentials: choose Integrations, Incoming Webhooks, Add, and put the URL into the Secret's key `address`; `spec.channel` and
`spec.username` override what the webhook has set where the server allows it. Or make a bot account: its token goes into the key `token`,
the server's URL into `spec.address`, the channel's id into `spec.channel`. Sent is an attachment with the object, the message and the
metadata. The formats: https://developers.mattermost.com/integrate/webhooks/incoming/ and
https://developers.mattermost.com/api-documentation/#/operations/CreatePost
"""

from providers.answers import address_of, json_request, needs, settle_as
from providers.card import backslashes, escaped, facts, heading, is_error, line, plain, unmentioned
from providers.contract import Event, Request, Target

TEXT, FACTS, FACT = 3_500, 12, 200  # older servers take 8000 characters of attachments
settle = settle_as("Mattermost", {404: "the webhook or the channel is not there: check the address and spec.channel"})
_backslash = backslashes("\\`*_{}[]()#+-!|~<>:")


def escape(text: str) -> str:
    """Mattermost's Markdown, in which nobody is mentioned."""
    return unmentioned(_backslash(text))


def render(event: Event, target: Target) -> Request:
    """Return the request that posts the attachment. Raises Misconfigured without an address, or with a token and no channel."""
    address = address_of(target)
    attachment = {
        "fallback": unmentioned(line(f"{heading(event)}: {event.message or event.reason}", 300)),
        "color": "#E01E5A" if is_error(event) else "#2EB67D",
        "title": unmentioned(heading(event)),
        "text": escaped(event.message or event.reason, TEXT, escape),
        "fields": [
            {"title": escaped(name, 100, escape), "value": escaped(value, FACT, escape), "short": len(value) < 40}
            for name, value in facts(event, most=FACTS, longest=FACT)
        ],
    }
    if target.token:
        channel = needs(target.channel, "a bot token needs a channel: set spec.channel to the channel's id")
        body: dict[str, object] = {"channel_id": channel, "message": "", "props": {"attachments": [attachment]}}
        url = address.rstrip("/").removesuffix("/api/v4/posts") + "/api/v4/posts"
        return json_request(url, body, headers={"Authorization": f"Bearer {target.token.reveal()}"})
    body = {"attachments": [attachment]}
    body |= {name: plain(text, 200) for name, text in (("channel", target.channel), ("username", target.username)) if text}
    return json_request(address, body)
