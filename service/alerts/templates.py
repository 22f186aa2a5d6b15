"""Templates of users for titles, texts and fields: rendered in a process of their own, with bounds on time, memory and length.

In: Jinja2 templates and the values they may use. Out: the texts, or why there are none. The sandbox keeps templates from reaching anything
but their values; the process keeps one that loops or grows from holding up the service. https://jinja.palletsprojects.com/en/stable/sandbox/
"""

import asyncio
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from service.workers import Workers, bound_memory

LONGEST_TEMPLATE, LONGEST_TEXT = 16_000, 20_000
CPU_SECONDS, DATA_BYTES = 1.0, 128 * 1024 * 1024
WAIT = timedelta(seconds=5)
BANNED_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """The texts by the names of their templates, or `problem`."""

    texts: Mapping[str, str]
    problem: str = ""


class Renderer:
    """One template after the other, so that what is stopped for its costs is the one to blame."""

    def __init__(self) -> None:
        self._workers = Workers(1)
        self._turn = asyncio.Lock()
        self._banned: dict[str, float] = {}

    async def render(self, templates: Mapping[str, str], values: Mapping[str, Any]) -> Rendered:
        """Return a text for each template. Never raises for what a template does."""
        for name, source in templates.items():
            if len(source) > LONGEST_TEMPLATE:
                return Rendered(texts={}, problem=f"the {name} template is longer than {LONGEST_TEMPLATE} characters")
        blamed, now = "\0".join(templates.values()), asyncio.get_running_loop().time()
        if self._banned.get(blamed, 0) > now:
            return Rendered(texts={}, problem="it took too long or too much memory a moment ago")
        try:
            async with asyncio.timeout(2 * WAIT.total_seconds()), self._turn:
                return await self._workers.run(_render, dict(templates), dict(values), timeout=WAIT)
        except (TimeoutError, ChildProcessError):
            self._banned = {source: until for source, until in self._banned.items() if until > now} | {blamed: now + BANNED_SECONDS}
            return Rendered(texts={}, problem=f"it took more than {CPU_SECONDS:g} s or {DATA_BYTES // 2**20} MiB: make it simpler")

    async def close(self) -> None:
        """End the process."""
        await self._workers.close()


def _render(templates: dict[str, str], values: dict[str, Any]) -> Rendered:
    """In the process."""
    bound_memory(DATA_BYTES)
    from jinja2 import TemplateError
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    texts: dict[str, str] = {}
    name = ""
    try:
        environment = ImmutableSandboxedEnvironment(autoescape=False)
        for name, source in templates.items():
            kept, room = [], LONGEST_TEXT
            for piece in environment.from_string(source).generate(values):
                kept.append(piece[:room])
                room -= len(piece)
                if room <= 0:
                    kept.append(" …")
                    break
            texts[name] = "".join(kept).strip()
    except SecurityError as error:
        return Rendered(texts={}, problem=f"the {name} template does what is not allowed: {str(error)[:200]}")
    except (TemplateError, ArithmeticError, TypeError, ValueError, LookupError, AttributeError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        where = f" line {line}" if line else ""
        return Rendered(texts={}, problem=f"the {name} template{where}: {type(error).__name__}: {str(error)[:200]}")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return Rendered(texts=texts)
