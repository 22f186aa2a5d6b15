"""telegram: one message in a chat of Telegram.

Credentials: talk to https://t.me/BotFather, send `/newbot`, put the token it gives into the Secret's key `token`, add the bot to the
chat, and set `spec.channel` to `@channelname` or the chat's id, with `:<thread id>` for one topic of a forum. Sent is MarkdownV2 with the
object, the message and the metadata; the address is ignored, as by Flux. The format: https://core.telegram.org/bots/api#sendmessage
"""

import re

from providers.answers import json_request, needs, settle_as
from providers.card import backslashes, escaped, facts, heading, is_error, plain
from providers.contract import Event, Misconfigured, Request, Target

TITLE, TEXT, FACTS, FACT = 300, 2_000, 8, 120  # together below 4096 characters with all escapes
settle = settle_as(
    "Telegram",
    {401: "put a valid bot token into the Secret's key token", 404: "put a valid bot token into the Secret's key token"}
    | {400: "check spec.channel, and that the bot is in the chat", 403: "add the bot to the chat again"},
)
escape = backslashes("\\_*[]()~`>#+-=|{}.!")


def render(event: Event, target: Target) -> Request:
    """Return the request that posts the message. Raises Misconfigured where the token or the chat is missing or cannot be one."""
    token = needs(target.token, "no token: put the bot's token into the Secret's key token")
    if not re.fullmatch(r"[A-Za-z0-9:_-]{3,200}", token):
        raise Misconfigured("the Secret's key token is not a bot token: put in what BotFather gave, 123456:ABC...")
    chat, _, thread = needs(target.channel, "no chat: set spec.channel").partition(":")
    where = f"{event.kind.lower()}/{event.name}/{event.namespace}"
    title = escaped(plain(f"{'🚨' if is_error(event) else '💫'} {heading(event, where)}", TITLE), TITLE, escape)
    lines = [f"*{title}*", escaped(event.message or event.reason, TEXT, escape)]
    lines += [
        f"\\- *{escaped(name, 60, escape)}*: {escaped(value, FACT, escape)}"
        for name, value in facts(event, most=FACTS, longest=FACT, longest_name=60)
    ]
    body: dict[str, object] = {
        "chat_id": chat,
        "text": "\n".join(lines),
        "parse_mode": "MarkdownV2",
        "link_preview_options": {"is_disabled": True},
    }
    if thread:
        if not re.fullmatch(r"[0-9]{1,18}", thread):
            raise Misconfigured("the part of spec.channel after the colon is not the number of a thread: correct it")
        body["message_thread_id"] = int(thread)
    return json_request(f"https://api.telegram.org/bot{token}/sendMessage", body)
