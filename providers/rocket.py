"""rocket: one attachment in a channel of Rocket.Chat.

Credentials: in the workspace's administration choose Integrations, New, Incoming, enable it, and put its webhook URL into the Secret's
key `address`. Sent is an attachment with the object, the message and the metadata; `spec.channel` and `spec.username` override what the
integration has set. The format: https://docs.rocket.chat/docs/integrations#incoming-webhooks
"""

from providers.answers import address_of, json_request, settle_as
from providers.card import backslashes, escaped, facts, heading, is_error, plain, unmentioned
from providers.contract import Event, Request, Target

TEXT, FACT = 4_000, 300
settle = settle_as("Rocket.Chat", {404: "the integration was removed: make a new one and put its URL into the Secret"})
_backslash = backslashes("\\*_~`[]()<>#!|")


def escape(text: str) -> str:
    """Rocket.Chat's Markdown, in which nobody is mentioned."""
    return unmentioned(_backslash(text))


def render(event: Event, target: Target) -> Request:
    """Return the request that posts the attachment. Raises Misconfigured where there is no address."""
    attachment = {
        "color": "#FF0000" if is_error(event) else "#0076D7",
        "author_name": unmentioned(heading(event)),
        "text": escaped(event.message or event.reason, TEXT, escape),
        "fields": [
            {"title": escaped(name, 150, escape), "value": escaped(value, FACT, escape), "short": False}
            for name, value in facts(event, most=12, longest=FACT)
        ],
    }
    body: dict[str, object] = {"attachments": [attachment]}
    body |= {name: plain(text, 200) for name, text in (("channel", target.channel), ("username", target.username)) if text}
    return json_request(address_of(target), body)
