"""googlechat: one card in a space of Google Chat.

Credentials: in the space choose Apps & integrations, Webhooks, Add webhook, and put its URL into the Secret's key `address`. Sent is a card
with the object, the message and the metadata. The format: https://developers.google.com/workspace/chat/api/reference/rest/v1/cards
"""

import html

from providers.answers import address_of, json_request, settle_as
from providers.card import escaped, facts, heading, is_error, line
from providers.contract import Event, Request, Target

TEXT, FACT = 4_000, 300
settle = settle_as("Google Chat", {404: "the webhook was removed: make a new one and put its URL into the Secret"})


def render(event: Event, target: Target) -> Request:
    """Return the request that posts the card. Raises Misconfigured where there is no address."""
    message = escaped(event.message or event.reason, TEXT, html.escape)
    if is_error(event):
        message = f'<font color="#ff0000">{message}</font>'
    widgets = [
        {"decoratedText": {"topLabel": escaped(name, 100, html.escape), "text": escaped(value, FACT, html.escape), "wrapText": True}}
        for name, value in facts(event, longest=FACT)
    ]
    sections: list[dict[str, object]] = [{"widgets": [{"textParagraph": {"text": message}}]}]
    if widgets:
        sections.append({"widgets": widgets})
    header = {"title": heading(event), "subtitle": line(event.controller, 100)}
    return json_request(address_of(target), {"cardsV2": [{"cardId": "event", "card": {"header": header, "sections": sections}}]})
