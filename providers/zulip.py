"""zulip: one message in a topic of Zulip.

Credentials: in the settings choose Bots, Add a new bot, Incoming webhook; its email address goes into the Secret's key `username`, its
API key into `password`, `<channel>/<topic>` into `spec.channel`, the organisation's URL into `spec.address`. Sent is Markdown with the
object, the message and the metadata; foreign text stands in code, which mentions nobody. The format: https://zulip.com/api/send-message
"""

from urllib.parse import urlencode, urlsplit

from providers.answers import address_of, basic, needs, settle_as
from providers.card import code, facts, fenced, heading, is_error
from providers.contract import Event, Misconfigured, Request, Secret, Target

TEXT, FACT = 3_000, 200  # below 10,000 characters with everything
settle = settle_as("Zulip", {400: "check spec.channel, and that the bot may post there"})


def render(event: Event, target: Target) -> Request:
    """Return the request that posts the message. Raises Misconfigured where the address, the bot or the topic is missing."""
    parts = urlsplit(address_of(target))
    username = needs(target.username, "no username: put the bot's email address into the Secret's key username")
    needs(target.password, "no password: put the bot's API key into the Secret's key password")
    channel, _, topic = target.channel.partition("/")
    if not channel or not topic:
        raise Misconfigured("no topic: set spec.channel to <channel>/<topic>")
    form = {"type": "stream", "to": channel, "topic": topic[:60], "content": content(event)}
    return Request(
        method="POST",
        url=Secret(f"{parts.scheme}://{parts.netloc}/api/v1/messages"),
        headers={"Content-Type": "application/x-www-form-urlencoded", "Authorization": basic(username, target.password)},
        body=urlencode(form, errors="replace").encode(),
    )


def content(event: Event) -> str:
    """The message as Markdown."""
    where = code(heading(event, f"{event.kind}/{event.namespace}/{event.name}"), 300)
    lines = [f"{'⚠️' if is_error(event) else 'ℹ️'} {where}", "", fenced(event.message or event.reason, TEXT), ""]
    lines += [f"* {code(name, 60)}: {code(value, FACT)}" for name, value in facts(event, most=12, longest=FACT)]
    return "\n".join(lines)
