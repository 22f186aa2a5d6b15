"""For each type: a complete target, and what must not be in the texts that it shows."""

import html
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from providers.contract import Request, Secret, Target
from tests.providers.conftest import PEM

HOOK, TOKEN = Secret("https://hooks.example.com/hook"), Secret("hush-token")
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
CONNECTION = "Endpoint=sb://a.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=hush;EntityPath=hub"
ACCESS_KEY = {"accessKeyID": Secret("AKIDEXAMPLE"), "secretAccessKey": Secret("hush-key")}
ACCOUNT = json.dumps(
    {"client_email": "a@b.iam.gserviceaccount.com", "private_key": PEM, "token_uri": "https://oauth2.googleapis.com/token"}
)
REPOSITORY = Secret("https://git.example.com/org/fleet")
TARGETS = {
    "slack": Target(address=Secret("https://hooks.slack.com/services/T/B/x")),
    "generic": Target(address=HOOK, headers={"Authorization": "Bearer hush"}),
    "generic-hmac": Target(address=HOOK, token=TOKEN),
    "discord": Target(address=Secret("https://discord.com/api/webhooks/1/abc/slack")),
    "msteams": Target(address=HOOK),
    "googlechat": Target(address=HOOK),
    "rocket": Target(address=HOOK, channel="#deploys"),
    "mattermost": Target(address=HOOK, channel="deploys"),
    "webex": Target(token=TOKEN, channel="room"),
    "telegram": Target(token=Secret("123456:ABC"), channel="@deploys:7"),
    "lark": Target(address=HOOK, token=TOKEN),
    "matrix": Target(address=Secret("https://matrix.example.com"), token=TOKEN, channel="!room:example.com"),
    "zulip": Target(address=Secret("https://zulip.example.com"), username="bot@example.com", password=TOKEN, channel="deploys/flux"),
    "zoom": Target(address=HOOK, token=TOKEN),
    "pagerduty": Target(channel="routing-key"),
    "opsgenie": Target(token=TOKEN, uid="p1"),
    "alertmanager": Target(address=Secret("https://alerts.example.com/api/v2/alerts/"), username="me", password=TOKEN),
    "incident.io": Target(address=HOOK, token=TOKEN),
    "grafana": Target(address=Secret("https://grafana.example.com/api/annotations"), token=TOKEN),
    "sentry": Target(address=Secret("https://abc123@sentry.example.com/42"), channel="production"),
    "datadog": Target(address=Secret("https://api.datadoghq.eu"), token=TOKEN),
    "githubdispatch": Target(address=REPOSITORY, token=TOKEN),
    "github": Target(address=REPOSITORY, token=TOKEN, uid="p-1"),
    "gitlab": Target(address=REPOSITORY, token=TOKEN, uid="p-1"),
    "gitea": Target(address=REPOSITORY, token=TOKEN, uid="p-1"),
    "bitbucket": Target(address=REPOSITORY, token=Secret("me:hush-token"), uid="p-1"),
    "bitbucketserver": Target(address=Secret("https://git.example.com/scm/org/fleet.git"), token=TOKEN, uid="p-1"),
    "azuredevops": Target(address=Secret("https://dev.azure.com/org/project/_git/fleet"), token=TOKEN, uid="p-1"),
    "githubpullrequestcomment": Target(address=REPOSITORY, token=TOKEN, uid="p-1"),
    "gitlabmergerequestcomment": Target(address=REPOSITORY, token=TOKEN, uid="p-1"),
    "giteapullrequestcomment": Target(address=REPOSITORY, token=TOKEN, uid="p-1"),
    "googlepubsub": Target(address=Secret("my-project"), channel="flux", keys={"token": Secret(ACCOUNT)}, headers={"env": "a"}),
    "azureeventhub": Target(address=Secret(CONNECTION), now=NOW),
    "awssns": Target(channel="arn:aws:sns:eu-west-1:123456789012:flux", keys=ACCESS_KEY, now=NOW),
    "otel": Target(address=Secret("https://otel.example.com:4318"), token=TOKEN),
}
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
MACHINES = ("generic", "generic-hmac", "githubdispatch", "googlepubsub", "azureeventhub")  # they get the event as it is


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in strings(each)]
    if isinstance(value, list):
        return [text for each in value for text in strings(each)]
    return [value] if isinstance(value, str) else []


def check(name: str, request: Request) -> None:
    """No control characters in what people see, and the type's own rules."""
    if name in MACHINES or not request.headers.get("Content-Type", "").startswith("application/json"):
        return
    body = json.loads(request.body)
    for text in strings(body):
        assert not CONTROL.search(text), repr(text)
    if name in CHECKS:
        CHECKS[name](body, request)


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def bare(text: str, specials: str) -> str:
    """The first of these characters that no backslash escapes, with what is around it; "" if there is none."""
    rest = re.sub(r"\\.", "", text, flags=re.DOTALL)
    found = re.search(f"[{re.escape(specials)}]", rest)
    return rest[max(found.start() - 10, 0) : found.end() + 10] if found else ""


def check_discord(body: Any, _: Request) -> None:
    [embed] = body["embeds"]
    assert body["allowed_mentions"] == {"parse": []}
    assert 1 <= units(embed["title"]) <= 256
    assert units(embed["description"]) <= 4096
    assert len(embed["fields"]) <= 25
    assert all(1 <= units(each["name"]) <= 256 and 1 <= units(each["value"]) <= 1024 for each in embed["fields"])
    texts = [embed["title"], embed["description"], *(each[part] for each in embed["fields"] for part in ("name", "value"))]
    assert sum(map(units, texts)) <= 6000
    assert not any(bare(text, "*_~`|[]<>") for text in texts)
    assert len(body.get("username", "x")) in range(1, 81)


def check_msteams(body: Any, request: Request) -> None:
    assert len(request.body) < 28_000
    [item] = body["attachments"][0]["content"]["body"]
    texts = [each["text"] for each in item["items"] if "text" in each]
    texts += [fact[part] for fact in item["items"][-1]["facts"] for part in ("title", "value")]
    assert not any(bare(text, "*_`[]<>#|~") for text in texts)


def check_googlechat(body: Any, request: Request) -> None:
    assert len(request.body) < 32_000
    [card] = body["cardsV2"]
    [first, *rest] = card["card"]["sections"]
    texts = [first["widgets"][0]["textParagraph"]["text"].removeprefix('<font color="#ff0000">').removesuffix("</font>")]
    texts += [each["decoratedText"][part] for section in rest for each in section["widgets"] for part in ("topLabel", "text")]
    assert not any(set("<>") & set(text) for text in texts)
    assert all(html.escape(html.unescape(text)) == text for text in texts)


def check_attachment(body: Any, _: Request) -> None:
    [attachment] = body["attachments"]
    assert units(json.dumps(attachment, ensure_ascii=False)) < 16_000
    texts = [attachment["text"], *(each[part] for each in attachment["fields"] for part in ("title", "value"))]
    assert not any(bare(text, "*_~`[]<>") for text in texts)
    assert not re.search("@(?!\u200b)", "".join(strings(attachment)))


def check_webex(body: Any, _: Request) -> None:
    assert len(body["markdown"].encode()) <= 7439
    assert not re.search("<|>(?!\\*\\*)", body["markdown"])


def check_telegram(body: Any, _: Request) -> None:
    assert units(body["text"]) <= 4096
    assert not bare(body["text"], "[]()~`>#+=|{}.!-_")
    title, *_rest = body["text"].split("\n")
    assert not bare(title.removeprefix("*").removesuffix("*"), "*")


def check_lark(body: Any, request: Request) -> None:
    assert len(request.body) < 20_000
    assert all(each["text"]["tag"] == "plain_text" for each in body["card"]["elements"])


def check_matrix(body: Any, request: Request) -> None:
    assert len(request.body) < 60_000
    assert body["m.mentions"] == {}


CHECKS: dict[str, Callable[[Any, Request], None]] = {
    "discord": check_discord,
    "msteams": check_msteams,
    "googlechat": check_googlechat,
    "rocket": check_attachment,
    "mattermost": check_attachment,
    "webex": check_webex,
    "telegram": check_telegram,
    "lark": check_lark,
    "matrix": check_matrix,
}
