"""webex: one message in a space of Webex.

Credentials: at https://developer.webex.com/my-apps/new/bot make a bot, put its access token into the Secret's key `token`, add the bot to
the space by its email address, and put the space's room id into `spec.channel`
(https://developer.webex.com/docs/api/v1/rooms/list-rooms). The address is `https://webexapis.com/v1/messages`. Sent is Markdown with the
object, the message and the metadata. The format: https://developer.webex.com/docs/api/v1/messages/create-a-message
"""

import html

from providers.answers import json_request, needs, settle_as
from providers.card import backslashes, escaped, facts, heading, is_error
from providers.contract import Event, Request, Target

ADDRESS = "https://webexapis.com/v1/messages"
TITLE, TEXT, FACTS, FACT = 120, 1_200, 6, 100  # together below the 7439 bytes that a message may have
settle = settle_as("Webex", {404: "add the bot to the space, and check spec.channel"})
_backslash = backslashes("\\`*_{}[]()#+-!|~")


def escape(text: str) -> str:
    """Webex' Markdown, which takes HTML and mentions by tags."""
    return html.escape(_backslash(text), quote=False)


def render(event: Event, target: Target) -> Request:
    """Return the request that posts the message. Raises Misconfigured where the token or the room is missing."""
    token = needs(target.token, "no token: put the bot's access token into the Secret's key token")
    room = needs(target.channel, "no room: set spec.channel to the room id")
    lines = [
        f"{'💣' if is_error(event) else '✅'} **{escaped(heading(event), TITLE, escape)}**",
        escaped(event.message or event.reason, TEXT, escape),
    ]
    lines += [
        f">**{escaped(name, 60, escape)}**: {escaped(value, FACT, escape)}"
        for name, value in facts(event, most=FACTS, longest=FACT, longest_name=60)
    ]
    body = {"roomId": room, "markdown": "\n".join(lines)}
    return json_request(target.address.reveal() or ADDRESS, body, headers={"Authorization": f"Bearer {token}"})
