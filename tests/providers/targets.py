"""For each type: a complete target, and what must not be in the texts that it shows."""

import json
import re
from collections.abc import Callable
from typing import Any

from providers.contract import Secret, Target

TARGETS = {
    "slack": Target(address=Secret("https://hooks.slack.com/services/T/B/x")),
    "generic": Target(address=Secret("https://hooks.example.com/x"), headers={"Authorization": "Bearer hush"}),
    "generic-hmac": Target(address=Secret("https://hooks.example.com/x"), token=Secret("hush-token")),
}
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]")


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in strings(each)]
    if isinstance(value, list):
        return [text for each in value for text in strings(each)]
    return [value] if isinstance(value, str) else []


def check_texts(name: str, body: Any) -> None:
    """No control characters in what people see, and the type's own rules."""
    if name in ("generic", "generic-hmac"):  # machines get the event as it is
        return
    for text in strings(body):
        assert not CONTROL.search(text), repr(text)
    CHECKS.get(name, lambda _: None)(body)


def units(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())


CHECKS: dict[str, Callable[[Any], None]] = {}
