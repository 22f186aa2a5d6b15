"""A stand-in for Slack's Web API: channels by name and id, messages, threads, edits, a limit on requests, and Slack's own error words.

https://docs.slack.dev/reference/methods/chat.postMessage, https://docs.slack.dev/reference/methods/chat.update and
https://docs.slack.dev/apis/web-api/rate-limits
"""

import itertools
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

TOKEN = "xoxb-1"
CHANNELS = {"deploys": "C000000001", "team-red": "C000000002"}


@dataclass
class Message:
    """What stands in a channel."""

    channel: str
    ts: str
    body: dict[str, Any]
    edits: int = 0
    replies: list[dict[str, Any]] = field(default_factory=list)

    @property
    def shown(self) -> str:
        """All its text."""
        return "\n".join(_texts([self.body.get("blocks"), self.body.get("attachments")]))


class SlackApi:
    """`calls` are all requests; `limit` answers 429 to each request that is not the n-th; `refuse` is the next answers' error words."""

    def __init__(self) -> None:
        self.messages: dict[tuple[str, str], Message] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.limited = 0
        self.every = 1
        self.refuse: list[str] = []
        self._ts = itertools.count(1)
        self._asked = itertools.count(1)
        app = web.Application()
        app.router.add_post("/api/{method}", self._take)
        self.server = TestServer(app)

    @property
    def address(self) -> str:
        return str(self.server.make_url("/api/chat.postMessage"))

    @property
    def roots(self) -> list[Message]:
        """The messages of all channels, oldest first."""
        return sorted(self.messages.values(), key=lambda each: each.ts)

    async def _take(self, request: web.Request) -> web.Response:
        body, method = json.loads(await request.read()), request.match_info["method"]
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _refused("invalid_auth")
        if next(self._asked) % self.every:
            self.limited += 1
            return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers={"Retry-After": "0"})
        if self.refuse:
            return _refused(self.refuse.pop(0))
        self.calls.append((method, body))
        return self._post(body) if method == "chat.postMessage" else self._update(body)

    def _post(self, body: dict[str, Any]) -> web.Response:
        name = body["channel"].removeprefix("#")
        channel = CHANNELS.get(name, name)
        if channel not in CHANNELS.values():
            return _refused("channel_not_found")
        ts = f"1700000000.{next(self._ts):06}"
        if "thread_ts" in body:
            if (channel, body["thread_ts"]) not in self.messages:
                return _refused("thread_not_found")
            self.messages[channel, body["thread_ts"]].replies.append(body)
        else:
            self.messages[channel, ts] = Message(channel=channel, ts=ts, body=body)
        return web.json_response({"ok": True, "channel": channel, "ts": ts, "message": {"text": body.get("text", "")}})

    def _update(self, body: dict[str, Any]) -> web.Response:
        found = self.messages.get((body["channel"], body["ts"]))  # an id: names are not taken here
        if found is None:
            return _refused("channel_not_found" if body["channel"] not in CHANNELS.values() else "message_not_found")
        found.body, found.edits = body, found.edits + 1
        return web.json_response({"ok": True, "channel": found.channel, "ts": found.ts, "text": body.get("text", "")})


def _refused(error: str) -> web.Response:
    return web.json_response({"ok": False, "error": error})


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["text"]] if isinstance(value.get("text"), str) else []
        return own + [text for each in value.values() if isinstance(each, (dict, list)) for text in _texts(each)]
    return [text for each in value or () for text in _texts(each)] if isinstance(value, list) else []
