"""Git's protocol v2 as far as a fetch needs it: what a request says, what an answer means. Pure; hostile answers raise BadPackets.

In: the bodies of HTTP answers, already bounded in size. Out: capabilities, refs, a pack. https://git-scm.com/docs/protocol-v2
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from service.sources.pktline import BadPackets, Mark, Packet, packets, written

AGENT = "agent=sluice"
_ID = re.compile(r"[0-9a-f]{40}")
_SERVICE = b"# service="


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a server of protocol v2 can do: each capability with its value, "" where it has none."""

    capabilities: Mapping[str, str]

    @property
    def is_usable(self) -> bool:
        """Whether it lists refs and sends packs of SHA-1 objects."""
        known = self.capabilities
        return "ls-refs" in known and "fetch" in known and known.get("object-format", "sha1") == "sha1"

    @property
    def leaves_history_out(self) -> bool:
        """Whether a fetch may name a depth."""
        return "shallow" in self.capabilities.get("fetch", "").split()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """Where a ref points: `commit` is what an annotated tag leads to, else the same as `id`."""

    id: str
    commit: str


def offer(body: bytes) -> Offer | None:
    """Return what the answer to info/refs offers; None where the server speaks an older version."""
    lines = _texts(_without_service(packets(body)))
    if next(lines, "") != "version 2":
        return None
    return Offer(capabilities={name: value for name, _, value in (line.partition("=") for line in lines)})


def _without_service(found: Iterator[Packet]) -> Iterator[Packet]:
    first = next(found, None)
    if first is None:
        return
    if isinstance(first, bytes) and first.startswith(_SERVICE):
        if next(found, None) is not Mark.FLUSH:
            raise BadPackets("no flush after the name of the service")
    else:
        yield first
    yield from found


def _texts(found: Iterator[Packet]) -> Iterator[str]:
    """The lines up to the first mark."""
    for packet in found:
        if isinstance(packet, Mark):
            return
        if packet.startswith(b"ERR "):
            raise BadPackets("the server answers with an error")  # its words are not repeated: they may hold anything
        try:
            yield packet.decode().removesuffix("\n")
        except UnicodeDecodeError:
            yield packet.decode(errors="replace").removesuffix("\n")


def ls_refs(*prefixes: str) -> bytes:
    """Return the request for all refs that begin with one of the prefixes, tags peeled."""
    asked = (f"ref-prefix {prefix}" for prefix in prefixes)
    return written(("command=ls-refs", AGENT, "object-format=sha1", Mark.DELIM, "peel", *asked, Mark.FLUSH))


def refs(body: bytes) -> dict[str, Ref]:
    """Return the refs of an answer to ls-refs, by full name. Raises BadPackets."""
    found: dict[str, Ref] = {}
    all_packets = list(packets(body))
    if not all_packets or all_packets[-1] is not Mark.FLUSH:
        raise BadPackets("the list of refs is cut")
    for text in _texts(iter(all_packets)):
        id_, _, rest = text.partition(" ")
        name, *attributes = rest.split(" ")
        if not _ID.fullmatch(id_) or not name:
            raise BadPackets("a line of the list of refs names no object")
        peeled = next((each.removeprefix("peeled:") for each in attributes if each.startswith("peeled:")), id_)
        if not _ID.fullmatch(peeled):
            raise BadPackets("a tag of the list of refs leads to no object")
        found[name] = Ref(id=id_, commit=peeled)
    return found


def fetch(want: str, *, have: Sequence[str], shallow: Sequence[str], newest_only: bool) -> bytes:
    """Return the request for one object with what it leads to, without what `have` leads to; `shallow` ones have no parents here."""
    said = [f"shallow {each}" for each in shallow] + (["deepen 1"] if newest_only else [])
    asked = ["thin-pack", "ofs-delta", "no-progress", *said, f"want {want}", *(f"have {each}" for each in have), "done"]
    return written(("command=fetch", AGENT, "object-format=sha1", Mark.DELIM, *asked, Mark.FLUSH))


def pack(body: bytes) -> bytes:
    """Return the pack of an answer to fetch. Raises BadPackets where there is none, or not all of it."""
    found = packets(body)
    for packet in found:
        if packet == b"packfile\n" or packet == b"packfile":
            return b"".join(_first_band(found))
        if isinstance(packet, bytes) and packet.startswith(b"ERR "):
            raise BadPackets("the server refuses the fetch")
    raise BadPackets("the answer holds no pack")


def _first_band(found: Iterator[Packet]) -> Iterator[bytes]:
    for packet in found:
        if packet is Mark.FLUSH:
            return
        if isinstance(packet, Mark) or not packet:
            raise BadPackets("a mark inside of the pack")
        match packet[0]:
            case 1:
                yield packet[1:]
            case 2:
                continue  # what the server tells of its progress
            case _:
                raise BadPackets("the server breaks off the pack")
    raise BadPackets("the pack is cut")
