"""Slack: one Block Kit message for an event, to an incoming webhook or, with a bot token, through `chat.postMessage`.

Credentials: create an app at https://api.slack.com/apps. Either switch on Incoming Webhooks and put the webhook's URL into the Secret's
key `address`, or give the bot the scope `chat:write`, invite it to the channel, put the bot token (`xoxb-...`) into the key `token` and
the channel into `spec.channel`. The formats: https://docs.slack.dev/reference/block-kit/blocks and
https://docs.slack.dev/reference/methods/chat.postMessage

The blocks are slack-sdk's models, which check Slack's limits as they are turned into JSON. Its clients are not used: they would bring
a session, retries and error texts of their own, where all providers share one session and one outbox.
"""

import json
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from slack_sdk.models.attachments import BlockAttachment
from slack_sdk.models.blocks import Block, ContextBlock, HeaderBlock, MarkdownTextObject, PlainTextObject, SectionBlock

from providers.contract import Busy, Event, Misconfigured, Rejected, Request, Response, Secret, Target, retry_after
from providers.mrkdwn import clean, escape, fit, fit_lines

POST_MESSAGE = "https://slack.com/api/chat.postMessage"
GREEN, RED = "#2eb67d", "#e01e5a"
SECTION, FIELD, HEADER, FALLBACK = 2_900, 300, 150, 1_000  # below Slack's 3000, 2000, 150, 40000: the whole must stay below 13,000 or so
SHOWN_APART = frozenset(("revision", "originRevision", "commit_subject", "commit_author", "commit_url", "took", "cluster", "summary"))
UNSHOWN = frozenset(("commit_status", "commit", "change_request"))
_CHANGE = re.compile(r"^\S+/\S+ (created|configured|deleted|unchanged|skipped|drift\w*|patched|pruned)$")
_COMMIT = re.compile(r"(?:^|[:/@])([0-9a-f]{40}|[0-9a-f]{64})$")
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")

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
    """Return the request that posts the event. Raises Misconfigured without a token and an address, or without a channel."""
    url, headers = _destination(target)
    title = _title(event)
    body: dict[str, object] = {
        "text": fit(f"{title}\n{_summary(event)}", FALLBACK),
        "blocks": [HeaderBlock(text=PlainTextObject(text=fit(title, HEADER), emoji=False)).to_dict()],
        "attachments": [BlockAttachment(color=RED if event.severity == "error" else GREEN, blocks=_blocks(event)).to_dict()],
        "unfurl_links": False,
        "unfurl_media": False,
    }
    body |= {name: clean(text) for name, text in (("channel", target.channel), ("username", target.username)) if text}
    return Request(method="POST", url=url, headers=headers, body=json.dumps(body).encode())


def settle(response: Response) -> None:
    """Return if Slack has the message. Raises Busy where it may take it later, Rejected with what to do where it never will."""
    error = _error(response)
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


def _destination(target: Target) -> tuple[Secret, dict[str, str]]:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    url = target.address or Secret(POST_MESSAGE if target.token else "")
    if not url:
        raise Misconfigured("no address and no token: put a webhook's URL into the Secret's key address, or a bot token into its key token")
    if target.token:
        headers["Authorization"] = f"Bearer {target.token.reveal()}"
    if urlsplit(url.reveal()).path.rstrip("/").endswith("/chat.postMessage"):
        if not target.token:
            raise Misconfigured("chat.postMessage needs a bot token: put it into the Secret's key token")
        if not target.channel:
            raise Misconfigured("a bot token needs a channel: set spec.channel")
    return url, headers


def _error(response: Response) -> str:
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


def _title(event: Event) -> str:
    outcome = _WORDS.sub(" ", event.reason).capitalize() or "Event"
    if event.severity == "info" and event.reason == "ReconciliationSucceeded" and _changes(event)[0]:
        outcome = "Applied"
    return f"{'❌' if event.severity == 'error' else '✅'} {outcome}: {_object(event)}"


def _object(event: Event) -> str:
    return f"{event.kind}/{event.namespace}/{event.name}" if event.namespace else f"{event.kind}/{event.name}"


def _summary(event: Event) -> str:
    changes, rest = _changes(event)
    if not changes or (event.severity == "error" and rest):
        return rest
    return ", ".join(changes[:5]) + (f" and {len(changes) - 5} more" if len(changes) > 5 else "")


def _changes(event: Event) -> tuple[list[str], str]:
    """What changed, one line each, and what else the message says."""
    lines = clean(event.message).splitlines()
    changes = [line for line in lines if _CHANGE.match(line)]
    return changes, "\n".join(line for line in lines if not _CHANGE.match(line)).strip()


def _blocks(event: Event) -> list[Block]:
    blocks: list[Block] = [SectionBlock(fields=[_text(field) for field in _fields(event)])]
    changes, rest = _changes(event)
    if event.severity == "error" and rest:
        blocks.append(SectionBlock(text=_text(fit(rest, SECTION))))
    if changes:
        blocks.append(SectionBlock(text=_text(f"*Changed ({len(changes)})*\n{fit_lines(changes, SECTION - 40)}")))
    notes = [event.metadata.get("summary", ""), rest if event.severity == "info" else "", *_others(event)]
    shown = [_text(fit(note, FIELD * 2)) for note in notes if clean(note).strip()][:10]
    if shown:
        blocks.append(ContextBlock(elements=shown))
    return blocks


def _fields(event: Event) -> Iterable[str]:
    """At most ten fields: what, where, by whom, how long."""
    data = event.metadata
    commit = " by ".join(fit(data[name], FIELD // 2) for name in ("commit_subject", "commit_author") if clean(data.get(name, "")).strip())
    found = {
        "Object": fit(_object(event), FIELD),
        "Revision": _revision(event),
        "Commit": commit,
        "Reason": fit(event.reason, FIELD),
        "Took": fit(data.get("took", ""), FIELD),
        "Cluster": fit(data.get("cluster", ""), FIELD),
    }
    return [f"*{name}*\n{text}" for name, text in found.items() if text]


def _revision(event: Event) -> str:
    """`main@5394cb7`, linked where the commit's page is known."""
    text = clean(event.metadata.get("revision", "")).strip()
    found = _COMMIT.search(text)
    if found is None:
        return fit(text, FIELD)
    pointer = text[: found.start()].removesuffix("sha1").removesuffix("sha256").rstrip("@:/")
    short = fit(f"{pointer}@{found[1][:8]}" if pointer else found[1][:8], FIELD)
    link = _link(event.metadata.get("commit_url", ""))
    return f"<{link}|{short.replace('|', '¦')}>" if link else short


def _link(address: str) -> str:
    """An http(s) address that holds nothing which could end the link, else ""."""
    if len(address) > 1_000 or not re.fullmatch(r"https?://[\w.:\[\]-]+(?:/[\w./%~+:=@-]*)?", address, re.ASCII):
        return ""
    return escape(address)


def _others(event: Event) -> list[str]:
    names = sorted(name for name in event.metadata if name not in SHOWN_APART and name not in UNSHOWN)
    return [f"{name}: {event.metadata[name]}" for name in names]


def _text(text: str) -> MarkdownTextObject:
    return MarkdownTextObject(text=text or "-", verbatim=True)
