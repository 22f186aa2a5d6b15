"""A reason in words, as Flux writes it where people read it.

In: `HealthCheckFailed`. Out: `health check failed`. The split:
github.com/fluxcd/notification-controller/blob/v1.9.3/internal/notifier/util.go
"""

import re

from providers.card import line

_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z]+|[a-z]+|[0-9]+|[^A-Za-z0-9\s]+")


def words(reason: str) -> str:
    """The reason in lower case with spaces, at most 130 characters; `event` where there is none."""
    return line(" ".join(_PARTS.findall(line(reason, 200))).lower(), 130) or "event"
