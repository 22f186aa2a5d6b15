"""lark: one card in a group of Lark or Feishu.

Credentials: in the group's settings choose Bots, Add Bot, Custom Bot, and put its webhook URL into the Secret's key `address`; with its
signature verification switched on, put the signing key into the key `token`. Sent is an interactive card with the object, the message and
the metadata. The format: https://open.larksuite.com/document/client-docs/bot-v3/add-custom-bot
"""

import hashlib
import hmac
import json
from base64 import b64encode

from providers.answers import address_of, check, json_request
from providers.card import facts, heading, is_error, plain
from providers.contract import Busy, Event, Rejected, Request, Response, Target, retry_after

TEXT, FACTS, FACT = 3_000, 12, 200  # together below the 20 KB that a request may have, at three bytes a character
TO_DO = {
    19001: "the webhook was removed: make a new bot and put its URL into the Secret",
    19021: "put the bot's signing key into the Secret's key token",
    19022: "the bot allows other senders only: add the address of this cluster to its list",
    19024: "the bot wants a keyword in each message: remove that from its settings",
}
LIMITED = frozenset((9499, 11232))


def render(event: Event, target: Target) -> Request:
    """Return the request that posts the card. Raises Misconfigured where there is no address."""
    pairs = [f"{name}: {value}" for name, value in facts(event, most=FACTS, longest=FACT)]
    texts = [plain(event.message or event.reason, TEXT), "\n".join(pairs)]
    card = {
        "config": {"wide_screen_mode": True},
        "header": {
            "title": {"tag": "plain_text", "content": f"{'🚨' if is_error(event) else '💫'} {heading(event)}"},
            "template": "red" if is_error(event) else "turquoise",
        },
        "elements": [{"tag": "div", "text": {"tag": "plain_text", "content": text}} for text in texts if text],
    }
    body: dict[str, object] = {"msg_type": "interactive", "card": card}
    if target.token:
        seconds = str(int(target.now.timestamp()))
        sign = hmac.new(f"{seconds}\n{target.token.reveal()}".encode(), b"", hashlib.sha256).digest()
        body |= {"timestamp": seconds, "sign": b64encode(sign).decode()}
    return json_request(address_of(target), body)


def settle(response: Response) -> None:
    """Return if Lark has the card; it says so with `code` 0. Raises Busy, Rejected."""
    try:
        answer = json.loads(response.body)
    except (ValueError, RecursionError):
        answer = None
    code = answer.get("code", answer.get("StatusCode", 0)) if isinstance(answer, dict) else 0
    if code in LIMITED:
        raise Busy("Lark takes no more messages for the moment", retry_after(response))
    check("Lark", response)
    if code != 0:
        number = code if isinstance(code, int) and abs(code) < 10**9 else 0
        raise Rejected(f"Lark answered code {number}: {TO_DO.get(number, 'check the Provider and its Secret')}")
