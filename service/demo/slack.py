"""A stand-in for Slack's incoming webhooks on loopback: keeps what it gets. https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks"""

import asyncio
import json
import time
from typing import Any

from aiohttp import web


class SlackStandIn:
    """Records each message with the time of its arrival."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[tuple[float, dict[str, Any]]] = asyncio.Queue()
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen on a free port; `url` is then what a Provider's address would be."""
        app = web.Application()
        app.router.add_post("/services/{rest:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/services/T000/B000/demo"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        arrived = time.time()
        self.messages.put_nowait((arrived, json.loads(await request.read())))
        return web.Response(text="ok")


def text_of(message: Any) -> list[str]:
    """All text of a Block Kit message, in reading order, for showing it in a terminal."""
    if isinstance(message, dict):
        own = [message["text"]] if isinstance(message.get("text"), str) and message.get("type") in ("mrkdwn", "plain_text") else []
        return own + [line for value in message.values() if isinstance(value, (dict, list)) for line in text_of(value)]
    if isinstance(message, list):
        return [line for part in message for line in text_of(part)]
    return []
