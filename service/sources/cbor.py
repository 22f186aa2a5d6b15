"""CBOR in, Python's values out: the part that COSE envelopes are made of. https://www.rfc-editor.org/rfc/rfc8949

Definite lengths alone, no floats; an integer, bytes, text, list, dict, True, False, None or Tagged. Keys that come twice are refused.
"""

from dataclasses import dataclass
from typing import Any

MOST_DEPTH = 8
_SIMPLE = {20: False, 21: True, 22: None}


class BadCbor(ValueError):
    """The bytes are not CBOR, or not of this part; a text that is not UTF-8 is another ValueError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """A value with a number that says what it is, such as 1 for a time."""

    tag: int
    value: Any


def decode(body: bytes) -> Any:
    """Return the one value that the bytes hold. Raises BadCbor, ValueError."""
    reader = _Reader(body)
    found = reader.value(MOST_DEPTH)
    if reader.at != len(body):
        raise BadCbor("bytes are left over")
    return found


class _Reader:
    def __init__(self, body: bytes) -> None:
        self._body = body
        self.at = 0

    def value(self, depth: int) -> Any:
        if depth == 0:
            raise BadCbor("nested too deep")
        kind, number = self._head()
        match kind:
            case 0:
                return number
            case 1:
                return -1 - number
            case 2:
                return self._take(number)
            case 3:
                return self._take(number).decode()
            case 4:
                return [self.value(depth - 1) for _ in range(self._count(number))]
            case 5:
                return self._map(self._count(number), depth - 1)
            case 6:
                return Tagged(tag=number, value=self.value(depth - 1))
            case _:
                if number not in _SIMPLE:
                    raise BadCbor("a value of a kind that is not read")
                return _SIMPLE[number]

    def _map(self, count: int, depth: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for _ in range(count):
            key = self.value(depth)
            if not isinstance(key, int | str) or key in found:
                raise BadCbor("a key comes twice, or is none")
            found[key] = self.value(depth)
        return found

    def _head(self) -> tuple[int, int]:
        (first,) = self._take(1)
        kind, short = first >> 5, first & 31
        if short < 24:
            return kind, short
        if short > 27 or kind == 7:
            raise BadCbor("a length that is not read")
        return kind, int.from_bytes(self._take(1 << (short - 24)), "big")

    def _count(self, number: int) -> int:
        if number > len(self._body) - self.at:  # each needs a byte at least
            raise BadCbor("the bytes end too early")
        return number

    def _take(self, size: int) -> bytes:
        found = self._body[self.at : self.at + size]
        if len(found) != size:
            raise BadCbor("the bytes end too early")
        self.at += size
        return found
