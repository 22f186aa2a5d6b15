"""apprise: a message to any of the 130 services that the library Apprise knows, email among them. Not one of Flux's types.

Credentials: look up the service at https://appriseit.com/services/ and put its one URL, credentials and all, into the Secret's key
`address`, such as `mailtos://user:password@smtp.example.com?from=sluice@example.com&to=ops@example.com` or `ntfys://<topic>`. Sent is a
title, the message and the metadata as plain text. The library blocks and makes its own connections: so it runs apart, and is loaded there,
when it is used first. What it logs is the reason of a refusal. https://github.com/caronc/apprise
"""

import logging
import re
from urllib.parse import unquote, urlsplit

from providers.answers import address_of
from providers.card import facts, heading, is_error, line, object_name, plain, unmentioned
from providers.contract import Busy, Event, Means, Misconfigured, Rejected, Target
from providers.reason import words

TEXT, TITLE, REASON = 3_000, 200, 300
LOCAL = frozenset(("syslog", "dbus", "gnome", "glib", "kde", "qt", "macosx", "windows", "growl"))
_URL = re.compile(r"([a-z][a-z0-9]*)://\S+", re.IGNORECASE | re.ASCII)
_HTTP = re.compile(r"\berror[=:\s]+([1-5][0-9]{2})\b")
_LATER = frozenset((408, 425, 429))


async def publish(event: Event, target: Target, means: Means) -> None:
    """Have the library send the message. Raises Misconfigured, Rejected, Busy."""
    url = _checked(target)
    title, body = message(event, url)
    await means.apart(deliver, url, title, body, is_error(event))


def preview(event: Event, target: Target) -> str:
    """The message, and of the URL what is no secret."""
    url = _checked(target)
    title, body = message(event, url)
    parts = urlsplit(url)
    return f"notify {parts.scheme}://{parts.netloc.rpartition('@')[2]}/***\n\n{title}\n\n{body}"


def message(event: Event, url: str) -> tuple[str, str]:
    """Title and text. In a chat nobody is mentioned; in a mail nobody can be, and addresses stay as they are."""
    title = line(heading(event, f"{object_name(event)}: {words(event.reason)}"), TITLE)
    lines = [plain(event.message or event.reason, TEXT), "", *(f"{name}: {value}" for name, value in facts(event, most=12, longest=200))]
    body = "\n".join(lines).strip()
    if url.partition(":")[0].lower() in ("mailto", "mailtos"):
        return title, body
    return unmentioned(title), unmentioned(body).replace("<!", "<\u200b!")


def deliver(url: str, title: str, body: str, failed: bool) -> None:
    """Send, in the process of `Means.apart`. Raises Misconfigured, Rejected, Busy."""
    import apprise
    import requests

    vars(requests.sessions)["DEFAULT_REDIRECT_LIMIT"] = 0  # credentials go to no other host
    heard = _Heard()
    log = logging.getLogger("apprise")
    log.handlers, log.propagate = [heard], False
    log.setLevel(logging.DEBUG)
    asset = apprise.AppriseAsset(app_id="sluice", app_desc="sluice", storage_mode=apprise.PersistentStoreMode.MEMORY, image_url_mask=None)
    plugin = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if plugin is None:
        raise Misconfigured(f"the address is not one that Apprise can use: {heard.reason(url) or 'compare it with the service page'}")
    if "overflow=" not in url:
        plugin.overflow_mode = apprise.OverflowMode.TRUNCATE
    sender = apprise.Apprise(asset=asset)
    sender.add(plugin)
    kind = apprise.NotifyType.FAILURE if failed else apprise.NotifyType.SUCCESS
    if not sender.notify(body=body, title=title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT):
        raise refusal(heard.reason(url))


def refusal(reason: str) -> Rejected | Busy:
    """Whether a later try can help, by the status that the library has logged."""
    status = max(map(int, _HTTP.findall(reason)), default=0)
    if status == 501 or (400 <= status < 500 and status not in _LATER) or re.search(r"\(5[0-9]{2}, ", reason):
        return Rejected(f"the service refuses it: {reason}: correct the URL in the Secret's key address")
    return Busy(f"the service did not take it: {reason or 'it gives no reason'}")


def masked(text: str, url: str) -> str:
    """The text without any part of a URL that may be secret: everything but its scheme and host."""
    try:
        parts = urlsplit(url)
        user = parts.netloc.rpartition("@")[0]
    except ValueError:
        return "***"
    pieces = [*re.split(r"[:@/]", user), *re.split(r"[/?&=;,#]", f"{parts.path}?{parts.query}#{parts.fragment}"), user, url]
    known = {each for piece in pieces for each in (piece, unquote(piece)) if len(each) > 3}
    for piece in sorted(known, key=len, reverse=True):
        text = text.replace(piece, "***")
    return text


class _Heard(logging.Handler):
    """Keeps warnings, and what the library tells of exceptions; its other words repeat what was sent."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.WARNING or "Exception:" in text:
            self._lines.append(line(text, REASON))

    def reason(self, url: str) -> str:
        return line(masked("; ".join(dict.fromkeys(self._lines)), url), REASON)


def _checked(target: Target) -> str:
    url = address_of(target)
    found = _URL.fullmatch(url)
    if found is None:
        raise Misconfigured("the address is not one of Apprise's URLs, or more than one: put one into the Secret's key address")
    if found[1].lower() in LOCAL:
        raise Misconfigured(f"{found[1].lower()}:// notifies the machine that sluice runs on: use another service")
    return url
