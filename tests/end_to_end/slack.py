"""A local stand-in for Slack that speaks its wire format and keeps what it gets.

In: messages by incoming webhook (`webhook_url`) or by `chat.postMessage` and `chat.update` with a bot token (`api_url`). Out: what was
said, what stands in the channel now, and whatever answers were ordered: 429 with Retry-After, 500, silence. Refuses what Slack refuses: no
text, too many or malformed blocks, a change of a message that is not there.
https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks ; https://docs.slack.dev/reference/methods/chat.postMessage
"""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BOT_TOKEN = "xoxb-test-token"
MOST_BLOCKS, LONGEST_SECTION, LONGEST_HEADER = 50, 3000, 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """One answer that is given instead of success. `hang` seconds pass first; status 0 closes without a word."""

    status: int
    retry_after: int | None = None
    hang: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One accepted message, or change of one; `ts` is Slack's name of it, `text` every text in it, in order."""

    at: float
    path: str
    body: Mapping[str, object]
    ts: str
    text: str


@dataclass(slots=True)
class _Desk:
    messages: list[Message] = field(default_factory=list)
    attempts: list[float] = field(default_factory=list)
    orders: deque[Ordered] = field(default_factory=deque)
    changed: threading.Condition = field(default_factory=threading.Condition)
    standing: dict[str, list[Message]] = field(default_factory=dict)


class Slack:
    """Runs while the block does: `with Slack() as slack:`."""

    def __init__(self) -> None:
        self._desk = _Desk()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answering", (_Answering,), {"desk": self._desk}))
        self._server.daemon_threads = True
        base = f"http://127.0.0.1:{self._server.server_port}"
        self.webhook_url, self.api_url = f"{base}/services/T000/B000/secret-part", f"{base}/api/chat.postMessage"

    def __enter__(self) -> "Slack":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="slack", daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def order(self, *answers: Ordered) -> None:
        """The next requests get these answers."""
        with self._desk.changed:
            self._desk.orders.extend(answers)

    def calm(self) -> None:
        """Whatever was ordered and has not been given is forgotten."""
        with self._desk.changed:
            self._desk.orders.clear()

    @property
    def attempts(self) -> int:
        """Requests so far, refused ones too."""
        return len(self._desk.attempts)

    def about(self, *parts: str) -> list[Message]:
        """The accepted messages that contain all of these."""
        with self._desk.changed:
            return [message for message in self._desk.messages if all(part in message.text for part in parts)]

    def roots(self) -> list[list[Message]]:
        """What stands in the channel without replies, oldest first: each message as it was posted, and each change of it."""
        with self._desk.changed:
            return [list(versions) for versions in self._desk.standing.values()]

    def wait_about(self, *parts: str, seconds: float = 20) -> Message:
        """The first accepted message with all of these. Raises AssertionError with what came instead."""
        self._wait(lambda: bool(self._having(parts)), seconds, f"no message about {parts}")
        return self._having(parts)[0]

    def wait_attempts(self, count: int, *, seconds: float = 20) -> None:
        """Return when that many requests have come in all."""
        self._wait(lambda: len(self._desk.attempts) >= count, seconds, f"fewer than {count} requests")

    def _having(self, parts: tuple[str, ...]) -> list[Message]:
        return [message for message in self._desk.messages if all(part in message.text for part in parts)]

    def _wait(self, done: Callable[[], bool], seconds: float, what: str) -> None:
        with self._desk.changed:
            if not self._desk.changed.wait_for(done, seconds):
                seen = "\n---\n".join(message.text for message in self._desk.messages[-5:])
                raise AssertionError(f"{what} in {seconds:g} s; {len(self._desk.attempts)} requests, the last messages:\n{seen}")


class _Answering(BaseHTTPRequestHandler):
    desk: _Desk
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.desk.changed:
            self.desk.attempts.append(time.monotonic())
            order = self.desk.orders.popleft() if self.desk.orders else None
            self.desk.changed.notify_all()
        if order is not None:
            self._obey(order)
        elif self.path.startswith("/services/"):
            self._webhook(raw)
        elif self.path in ("/api/chat.postMessage", "/api/chat.update"):
            self._call(raw)
        else:
            self._answer(404, "no_service")

    def _obey(self, order: Ordered) -> None:
        time.sleep(order.hang)
        self.close_connection = True
        if order.status:
            headers = {} if order.retry_after is None else {"Retry-After": str(order.retry_after)}
            self._answer(order.status, "ratelimited" if order.status == 429 else "internal_error", headers)

    def _webhook(self, raw: bytes) -> None:
        body, wrong = _read(raw)
        if wrong:
            self._answer(400, wrong)
            return
        self._keep(body)
        self._answer(200, "ok")

    def _call(self, raw: bytes) -> None:
        body, wrong = _read(raw)
        changed = str(body.get("ts", "")) if self.path == "/api/chat.update" else ""
        if self.headers.get("Authorization") != f"Bearer {BOT_TOKEN}":
            wrong = "invalid_auth"
        elif not wrong and not body.get("channel"):
            wrong = "channel_not_found"
        elif not wrong and self.path == "/api/chat.update" and changed not in self.desk.standing:
            wrong = "message_not_found"
        answer = {"ok": False, "error": wrong} if wrong else {"ok": True, "channel": "C000", "ts": self._keep(body, changed)}
        self._answer(200, json.dumps(answer), {"Content-Type": "application/json; charset=utf-8"})

    def _keep(self, body: Mapping[str, object], changed: str = "") -> str:
        with self.desk.changed:
            ts = changed or f"1700000000.{len(self.desk.messages):06}"
            message = Message(at=time.monotonic(), path=self.path, body=body, ts=ts, text="\n".join(_texts(body)))
            self.desk.messages.append(message)
            if "thread_ts" not in body:
                self.desk.standing.setdefault(ts, []).append(message)
            self.desk.changed.notify_all()
        return ts

    def _answer(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Type": "text/html", **(headers or {}), "Content-Length": str(len(text))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """No output: tests read `messages`."""


def _read(raw: bytes) -> tuple[dict[str, object], str]:
    """The message, and Slack's word for what is wrong with it."""
    try:
        body = json.loads(raw)
    except ValueError:
        return {}, "invalid_payload"
    if not isinstance(body, dict):
        return {}, "invalid_payload"
    blocks = [*body.get("blocks", ()), *(block for part in body.get("attachments", ()) for block in part.get("blocks", ()))]
    if not body.get("text") and not blocks and not body.get("attachments"):
        return body, "no_text"
    return body, "" if len(blocks) <= MOST_BLOCKS and all(_is_sound(block) for block in blocks) else "invalid_blocks"


def _is_sound(block: Mapping[str, object]) -> bool:
    match block.get("type"):
        case "header":
            text = block.get("text")
            return isinstance(text, dict) and text.get("type") == "plain_text" and 0 < len(text.get("text", "")) <= LONGEST_HEADER
        case "section":
            texts = [*([block["text"]] if "text" in block else []), *block.get("fields", [])]
            return bool(texts) and all(0 < len(text.get("text", "")) <= LONGEST_SECTION for text in texts)
        case "context":
            return 0 < len(block.get("elements", ())) <= 10
        case "divider" | "actions" | "rich_text" | "image":
            return True
        case _:
            return False


def _texts(value: object) -> list[str]:
    """Every text of a message, of blocks and of attachments with their fields, in order."""
    if isinstance(value, dict):
        own = [part for key, part in value.items() if key in ("text", "title", "value") and isinstance(part, str)]
        return own + [text for part in value.values() for text in _texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in _texts(part)]
    return []
