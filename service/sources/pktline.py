"""pkt-lines: bytes of Git's wire protocol in, packets out, and back. Pure; whatever the bytes are, the answer is packets or BadPackets.

Each packet begins with four hex digits, its length with them; 0000, 0001 and 0002 are marks. https://git-scm.com/docs/protocol-common
"""

import re
from collections.abc import Iterable, Iterator
from enum import Enum

LONGEST = 65_520
_LENGTH = re.compile(rb"[0-9a-fA-F]{4}")


class BadPackets(ValueError):
    """The bytes are not what the protocol allows."""


class Mark(Enum):
    """Packets without content. END closes an answer over a connection that goes on."""

    FLUSH = 0
    DELIM = 1
    END = 2


Packet = bytes | Mark


def packets(data: bytes) -> Iterator[Packet]:
    """Yield the packets of `data` in order. Raises BadPackets where it is cut or no pkt-line."""
    at = 0
    while at < len(data):
        digits = data[at : at + 4]
        if not _LENGTH.fullmatch(digits):
            raise BadPackets(f"no packet length at byte {at}")
        length = int(digits, 16)
        if length < 3:
            yield Mark(length)
            at += 4
            continue
        if not 4 <= length <= LONGEST or at + length > len(data):
            raise BadPackets(f"a packet of length {length} at byte {at} of {len(data)}")
        yield data[at + 4 : at + length]
        at += length


def line(content: bytes) -> bytes:
    """Return one packet. Raises BadPackets where the content is longer than a packet can be."""
    if len(content) + 4 > LONGEST:
        raise BadPackets(f"{len(content)} bytes do not fit into a packet")
    return b"%04x" % (len(content) + 4) + content


def written(items: Iterable[str | Mark]) -> bytes:
    """Return the bytes of a request: text lines and marks."""
    return b"".join(b"%04x" % item.value if isinstance(item, Mark) else line(item.encode() + b"\n") for item in items)
