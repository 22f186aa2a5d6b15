"""msteams: one Adaptive Card in a channel of Microsoft Teams.

Credentials: in Teams choose Workflows for the channel, take the template "Send webhook alerts to a channel", and put its URL into the
Secret's key `address`. Sent is an Adaptive Card 1.4 with the object, the message and the metadata; the old connectors
(`*.webhook.office.com`) get a MessageCard. The formats:
https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using and
https://adaptivecards.io/explorer/TextBlock.html
"""

from urllib.parse import urlsplit

from providers.answers import address_of, json_request, settle_as
from providers.card import backslashes, escaped, facts, heading, is_error, plain
from providers.contract import Event, Request, Target

TEXT, FACTS, FACT = 4_500, 12, 200  # together below the 28 KB that a card may have, at three bytes a character
settle = settle_as("Teams", {404: "the workflow was removed: make a new one and put its URL into the Secret"})
_backslash = backslashes("\\`*_{}[]()#+-!|~<>")


def escape(text: str) -> str:
    """Markdown as Adaptive Cards have it; one line feed would be no new line there."""
    return _backslash(text).replace("\n", "\n\n")


def render(event: Event, target: Target) -> Request:
    """Return the request that posts the card. Raises Misconfigured where there is no address."""
    address = address_of(target)
    host = urlsplit(address).hostname or ""
    return json_request(address, _message_card(event) if host.endswith(".webhook.office.com") else _adaptive_card(event))


def _adaptive_card(event: Event) -> dict[str, object]:
    message = {"type": "TextBlock", "text": escaped(event.message or event.reason, TEXT, escape), "wrap": True}
    if is_error(event):
        message["color"] = "attention"
    pairs = [
        {"title": escaped(name, 100, escape), "value": escaped(value, FACT, escape)}
        for name, value in facts(event, most=FACTS, longest=FACT)
    ]
    title = {"type": "TextBlock", "text": escaped(heading(event), 300, escape), "size": "large", "weight": "bolder", "wrap": True}
    content = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{"type": "Container", "items": [title, message, {"type": "FactSet", "facts": pairs}]}],
        "msteams": {"width": "Full"},
    }
    return {"type": "message", "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": content}]}


def _message_card(event: Event) -> dict[str, object]:
    name = heading(event)
    section = {
        "activityTitle": plain(event.message or event.reason, TEXT),
        "activitySubtitle": name,
        "facts": [{"name": title, "value": value} for title, value in facts(event, most=FACTS, longest=FACT)],
        "markdown": False,
    }
    return {
        "@type": "MessageCard",
        "@context": "http://schema.org/extensions",
        "themeColor": "FF0000" if is_error(event) else "0076D7",
        "summary": name,
        "sections": [section],
    }
