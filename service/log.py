"""Logging: constant messages with fields, as JSON lines or as text, and one trace id from the delivery to the alert.

JSON keys follow what `flux logs` reads: `level`, `ts`, `msg`, `error`, `controllerKind`, `name`, `namespace`.
"""

import json
import logging
import re
import secrets
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

trace: ContextVar[str] = ContextVar("trace", default="")

_IN_URL = re.compile(r"(://)[^/\s@\"']+@")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def new_trace() -> str:
    """A fresh trace id: 16 hex digits."""
    return secrets.token_hex(8)


def masked(text: str) -> str:
    """The text without user names and passwords in URLs: the last net, whoever put them into a message."""
    return _IN_URL.sub(r"\1***@", text) if "@" in text else text


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    found = {key: value for key, value in vars(record).items() if key not in _STANDARD}
    if trace.get():
        found.setdefault("trace", trace.get())
    return found


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "level": record.levelname.lower(),
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "logger": record.name,
            "msg": record.getMessage(),
            **_fields(record),
        }
        parts = str(line.get("object", "")).split("/")
        if len(parts) == 3:
            line["controllerKind"], line["namespace"], line["name"] = parts
        if record.exc_info:
            line["stacktrace" if "error" in line else "error"] = self.formatException(record.exc_info)
        return masked(json.dumps(line, default=str))


class Text(logging.Formatter):
    """One line for people: time, level, message, fields."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        fields = " ".join(f"{key}={value}" for key, value in _fields(record).items())
        line = f"{moment} {record.levelname:<7} {record.getMessage()}" + (f"  {fields}" if fields else "")
        return masked(line + ("\n" + self.formatException(record.exc_info) if record.exc_info else ""))


def configure(form: Literal["json", "text"], level: int = logging.INFO) -> None:
    """Send all logs to stderr in the given form."""
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(JsonLines() if form == "json" else Text())
    logging.basicConfig(level=level, handlers=[stream], force=True)
    logging.getLogger("kubernetes_asyncio").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.CRITICAL)  # the hook path is a secret
