"""Parsed files by content id, within a bound in bytes. Values are never mutated; no answer of a build depends on what is in here."""

from collections import OrderedDict
from typing import Any


class ParseCache:
    """A least-recently-used map from (dialect, content id) to parsed documents. Not for several threads at once."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._entries: OrderedDict[tuple[str, str], tuple[Any, int]] = OrderedDict()
        self.used_bytes = 0

    def get(self, key: tuple[str, str]) -> Any | None:
        """Return what was put under the key, None if it is not (or no longer) here."""
        found = self._entries.get(key)
        if found is None:
            return None
        self._entries.move_to_end(key)
        return found[0]

    def put(self, key: tuple[str, str], value: Any, size_bytes: int) -> None:
        """Keep a value that costs about `size_bytes`; the oldest go when the bound is passed, a value above the bound is not kept."""
        if size_bytes > self._limit or key in self._entries:
            return
        self._entries[key] = (value, size_bytes)
        self.used_bytes += size_bytes
        while self.used_bytes > self._limit:
            _, (_, size) = self._entries.popitem(last=False)
            self.used_bytes -= size
