"""Finding an Alert's patterns in a message, bounded in time: `re` can need ages where Go's regexp cannot, and a tenant writes the pattern.

In: patterns and a text. Out: for each pattern whether it is found, or why it could not be used. Patterns run in a worker process, whose
time limit ends them; what is plain text needs none.
"""

import re
from collections.abc import Sequence
from datetime import timedelta

from service.alerts.patterns import BadPattern, translate
from service.workers import Workers

TIME_LIMIT = timedelta(milliseconds=500)
REMEMBERED = 1_000
TOO_LONG = "takes too long: write it without nested or repeated .* and the like"
_PLAIN = re.compile(r"[^\\.+*?()|\[\]{}^$]*")


class Search:
    """Remembers the patterns that took too long: they are not tried again before the next start."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._slow: set[str] = set()

    async def find(self, patterns: Sequence[str], text: str) -> list[bool | str]:
        """Return for each pattern whether it is found anywhere in the text, or as text why it is not usable. Raises ChildProcessError."""
        if all(_PLAIN.fullmatch(pattern) for pattern in patterns):
            return [pattern in text for pattern in patterns]
        quick = [pattern for pattern in patterns if pattern not in self._slow]
        try:
            found = await self._workers.run(search, tuple(quick), text, timeout=TIME_LIMIT)
        except TimeoutError:
            found = [await self._alone(pattern, text) for pattern in quick]
        verdicts = dict(zip(quick, found, strict=True))
        return [verdicts.get(pattern, TOO_LONG) for pattern in patterns]

    async def _alone(self, pattern: str, text: str) -> bool | str:
        try:
            return (await self._workers.run(search, (pattern,), text, timeout=TIME_LIMIT))[0]
        except TimeoutError:
            if len(self._slow) >= REMEMBERED:
                self._slow.clear()
            self._slow.add(pattern)
            return TOO_LONG


def search(patterns: Sequence[str], text: str) -> list[bool | str]:
    """The same without a time limit; a module-level function, so that it runs in a worker process."""
    return [_search(pattern, text) for pattern in patterns]


def _search(pattern: str, text: str) -> bool | str:
    try:
        return re.search(translate(pattern), text) is not None
    except (BadPattern, re.error, RecursionError, OverflowError) as error:
        return f"is not a regular expression of Go's: {error}"
