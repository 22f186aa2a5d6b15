"""Slack's requests and answers: a message for a webhook or a method of the Web API, and what its error words ask a person to do.

In: an event or a message, and the target. Out: requests; Busy or Rejected. The formats:
https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks and https://docs.slack.dev/reference/methods/chat.postMessage

slack-sdk's clients are not used: they would bring a session, retries and error texts of their own, where all providers share one session
and one outbox.
"""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from providers import slack_blocks
from providers.card import facts, heading, is_error
from providers.contract import Busy, Event, Misconfigured, Rejected, Request, Response, Secret, Target, retry_after
from providers.mrkdwn import clean, escape, fit
from providers.slack_words import told

POST_MESSAGE = "https://slack.com/api/chat.postMessage"
FACTS, FACT = 20, 300

TO_DO = {
    "no_service": "the webhook was removed: make a new one and put its URL into the Secret",
    "no_team": "the workspace is gone: make a webhook in another one",
    "invalid_token": "the webhook's URL is not complete: copy it again into the Secret",
    "no_active_hooks": "the webhook is switched off: switch it on in the app's settings",
    "channel_not_found": "check spec.channel, and invite the bot to it if it is private",
    "channel_is_archived": "unarchive the channel or name another one",
    "is_archived": "unarchive the channel or name another one",
    "not_in_channel": "invite the bot to the channel, or give it the scope chat:write.public",
    "action_prohibited": "an administrator restricts posting there: ask them, or name another channel",
    "posting_to_general_channel_denied": "an administrator restricts posting to #general: name another channel",
    "restricted_action": "an administrator restricts posting there: ask them, or name another channel",
    "invalid_auth": "put a valid bot token into the Secret's key token",
    "not_authed": "put a bot token into the Secret's key token",
    "token_revoked": "put a new bot token into the Secret's key token",
    "token_expired": "put a new bot token into the Secret's key token",
    "account_inactive": "the bot was removed: install the app again and put its token into the Secret",
    "missing_scope": "give the app the scope chat:write and install it again",
}
CORRECTED = frozenset(("invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive", "missing_scope"))
LATER = frozenset(("ratelimited", "rate_limited", "message_limit_exceeded", "internal_error", "fatal_error", "service_unavailable",
                   "request_timeout", "team_added_to_org", "rollup_error"))  # fmt: skip


def render(event: Event, target: Target) -> Request:
    """Return the request that posts the event as a message of its own. Raises Misconfigured as `request` does."""
    options = {**target.options, **event.options}
    return request(target, content(event, options), channel=target.channel)


def content(event: Event, options: Mapping[str, str], *, extra: str = "") -> dict[str, Any]:
    """The text and the blocks of a message that says all by itself; `look: flux` gives Flux's attachment."""
    if options.get("look") == "flux":
        return _as_flux(event)
    said = told(event)
    called, _ = slack_blocks.mentions(options.get("mention", ""), event.severity)
    above = "\n".join(filter(None, (extra, called)))
    return slack_blocks.message(said, details=slack_blocks.shortened(said.details, slack_blocks.SECTION), extra=above)


def request(target: Target, body: Mapping[str, Any], *, channel: str, method: str = "chat.postMessage") -> Request:
    """A request with a message, to the webhook or to a method of the Web API.

    Raises Misconfigured without a token and an address, or without a channel where one is needed.
    """
    url, headers = _destination(target, method, channel)
    named = (("channel", channel), ("username", target.username if method == "chat.postMessage" else ""))
    whole = {**body, "unfurl_links": False, "unfurl_media": False} | {name: clean(text) for name, text in named if text}
    return Request(method="POST", url=url, headers=headers, body=json.dumps(whole).encode())


def has_bot(target: Target) -> bool:
    """Whether messages go through the Web API, where they can be changed later."""
    return bool(target.token) and (not target.address or _is_method(target.address))


def settle(response: Response) -> None:
    """Return if Slack has the message. Raises Busy where it may take it later, Rejected with what to do where it never will."""
    error = error_of(response)
    wait = retry_after(response)
    if response.status == 429 or error in LATER:
        raise Busy(f"Slack says {error or 'rate limited'}", wait)
    if response.status == 408 or (response.status >= 500 and response.status != 501):
        raise Busy(f"Slack answered {response.status}", wait)
    if 200 <= response.status < 300 and not error:
        return
    said = f"Slack answered {response.status}" + (f" {error}" if error else "")
    refused = Misconfigured if error in CORRECTED else Rejected
    raise refused(f"{said}: {TO_DO.get(error, 'check the Provider and its Secret')}")


def _destination(target: Target, method: str, channel: str) -> tuple[Secret, dict[str, str]]:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    url = target.address or Secret(POST_MESSAGE if target.token else "")
    if not url:
        raise Misconfigured("no address and no token: put a webhook's URL into the Secret's key address, or a bot token into its key token")
    if target.token:
        headers["Authorization"] = f"Bearer {target.token.reveal()}"
    if _is_method(url):
        if not target.token:
            raise Misconfigured("chat.postMessage needs a bot token: put it into the Secret's key token")
        if not channel:
            raise Misconfigured("a bot token needs a channel: set spec.channel")
        url = Secret(url.reveal().rstrip("/").removesuffix("chat.postMessage") + method) if method != "chat.postMessage" else url
    return url, headers


def _is_method(url: Secret) -> bool:
    return urlsplit(url.reveal()).path.rstrip("/").endswith("/chat.postMessage")


def error_of(response: Response) -> str:
    """Slack's error word: `error` of a JSON answer with `ok: false`, or the plain text of a webhook's refusal."""
    text = response.body[:4096].decode(errors="replace").strip()
    if text.startswith("{"):
        try:
            answer = json.loads(response.body)
        except ValueError:
            return "" if response.status >= 400 else "unreadable_answer"
        if not isinstance(answer, dict) or answer.get("ok", True) is True:
            return ""
        text = str(answer.get("error", ""))
    elif response.status < 300:
        return ""
    return text if re.fullmatch(r"[a-z][a-z_]{2,60}", text) else "unknown_error" if response.status < 400 else ""


def _as_flux(event: Event) -> dict[str, Any]:
    """Flux's message: one attachment with the metadata as fields.
    https://github.com/fluxcd/notification-controller/blob/v1.9.3/internal/notifier/slack.go"""
    attachment = {
        "color": "danger" if is_error(event) else "good",
        "author_name": escape(heading(event)),
        "text": fit(event.message or event.reason, 8_000),
        "mrkdwn_in": ["text"],
        "fields": [
            {"title": escape(name), "value": escape(value), "short": False} for name, value in facts(event, most=FACTS, longest=FACT)
        ],
    }
    return {"attachments": [attachment | {"fallback": fit(f"{heading(event)}: {event.message}", 300)}]}
