"""A small pack, in memory: its bytes in, its objects by id out, deltas resolved. Pure; a hostile pack raises BadPack within the bounds.

Ids are computed from the content, so an object is what its id says or it is not found. https://git-scm.com/docs/gitformat-pack
"""

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

COMMIT, TREE, BLOB, TAG, OFS_DELTA, REF_DELTA = 1, 2, 3, 4, 6, 7
NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}
_HEAD = 12
_DIGEST = 20


class BadPack(ValueError):
    """The bytes are no pack, or one that does not fit to what is here."""


class TooBig(ValueError):
    """More than is resolved in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much one pack may be: bytes as sent, objects, and bytes of all objects and of what they are changes of.

    Beyond this libgit2 is as fast: it takes 45 ms more for its requests, and less for each object.
    """

    pack_bytes: int = 512 * 1024
    objects: int = 100
    object_bytes: int = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Object:
    """`type` is COMMIT, TREE, BLOB or TAG."""

    type: int
    data: bytes = field(repr=False)

    @property
    def id(self) -> bytes:
        """The binary id."""
        return hashlib.sha1(b"%s %d\0" % (NAMES[self.type], len(self.data)) + self.data, usedforsecurity=False).digest()


Base = Callable[[bytes, int], Object | None]
"""The object of a binary id from the store; raises TooBig where it has more bytes than the second argument."""


@dataclass(frozen=True, slots=True)
class _Delta:
    offset: int
    base: int | bytes  # an offset in this pack, or an id
    data: bytes


def read(pack: bytes, base: Base, bounds: Bounds = Bounds()) -> dict[bytes, Object]:
    """Return all objects of the pack by their binary ids. Raises BadPack, TooBig."""
    if len(pack) > bounds.pack_bytes:
        raise TooBig(f"a pack of {len(pack)} bytes")
    if len(pack) < _HEAD + _DIGEST or pack[:4] != b"PACK" or pack[4:8] not in (b"\0\0\0\2", b"\0\0\0\3"):
        raise BadPack("it does not begin as a pack does")
    if hashlib.sha1(pack[:-_DIGEST], usedforsecurity=False).digest() != pack[-_DIGEST:]:
        raise BadPack("its checksum is wrong")
    count = int.from_bytes(pack[8:12], "big")
    if count > bounds.objects:
        raise TooBig(f"a pack of {count} objects")
    return _Reader(pack, base, bounds.object_bytes).objects(count)


def patched(base: bytes, delta: bytes, most: int) -> bytes:
    """Return what a delta makes of its base. Raises BadPack, TooBig past `most` bytes."""
    size, at = _size(delta, 0)
    target, at = _size(delta, at)
    if size != len(base):
        raise BadPack("a change of an object of another size")
    if target > most:
        raise TooBig(f"an object of {target} bytes")
    parts, made = [], 0
    while at < len(delta):
        code = delta[at]
        at += 1
        if code & 0x80:
            start, length, at = _copy(delta, code, at)
            part = base[start : start + length]
        else:
            length = code
            part = delta[at : at + length]
            at += length
        made += length
        if not code or len(part) != length or made > target:
            raise BadPack("a change that does not fit to its object")
        parts.append(part)
    if made != target:
        raise BadPack("a change that makes less than it says")
    return b"".join(parts)


def _copy(delta: bytes, code: int, at: int) -> tuple[int, int, int]:
    """(start, length, next position) of an instruction to copy: its bits say which of the seven bytes follow."""
    value = 0
    for bit in range(7):
        if code >> bit & 1:
            if at >= len(delta):
                raise BadPack("a change is cut")
            value |= delta[at] << 8 * bit
            at += 1
    return value & 0xFFFFFFFF, value >> 32 or 0x10000, at


def _size(data: bytes, at: int) -> tuple[int, int]:
    size, shift = 0, 0
    while at < len(data) and shift < 42:
        size |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not data[at - 1] & 0x80:
            return size, at
    raise BadPack("an object has no possible size")


class _Reader:
    def __init__(self, pack: bytes, base: Base, left: int) -> None:
        self._pack, self._end = pack, len(pack) - _DIGEST
        self._base, self._left = base, left
        self._by_offset: dict[int, Object] = {}
        self._by_id: dict[bytes, Object] = {}
        self._absent: set[bytes] = set()

    def objects(self, count: int) -> dict[bytes, Object]:
        at, waiting = _HEAD, []
        for _ in range(count):
            begun = at
            kind, size, at = self._head(at)
            base: int | bytes = b""
            match kind:
                case 6:
                    base, at = self._back(begun, at)
                case 7:
                    base, at = self._pack[at : at + _DIGEST], at + _DIGEST
                case _ if kind not in NAMES:
                    raise BadPack(f"an object of the unknown type {kind}")
            data, at = self._inflated(at, size)
            if kind in NAMES:
                self._take(begun, Object(kind, data))
            else:
                waiting.append(_Delta(begun, base, data))
        if at != self._end:
            raise BadPack("there are bytes behind its last object")
        while waiting:
            later = [delta for delta in waiting if not self._resolved(delta)]
            if len(later) == len(waiting):
                raise BadPack(f"{len(later)} objects are changes of objects that are not here")
            waiting = later
        return self._by_id

    def _take(self, offset: int, found: Object) -> None:
        self._by_offset[offset] = found
        self._by_id[found.id] = found

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise TooBig("its objects have too many bytes")

    def _resolved(self, delta: _Delta) -> bool:
        base = self._by_offset.get(delta.base) if isinstance(delta.base, int) else self._by_id.get(delta.base)
        if base is None and isinstance(delta.base, bytes):
            base = self._stored(delta.base)
        if base is None:
            return False
        data = patched(base.data, delta.data, self._left)
        self._spend(len(data))
        self._take(delta.offset, Object(base.type, data))
        return True

    def _stored(self, id_: bytes) -> Object | None:
        if id_ in self._absent:
            return None
        found = self._base(id_, self._left)
        if found is None:
            self._absent.add(id_)
            return None
        self._spend(len(found.data))
        return found

    def _head(self, at: int) -> tuple[int, int, int]:
        """(type, size, next position) of an entry."""
        if at >= self._end:
            raise BadPack("it is cut")
        first = self._pack[at]
        more, at = (0, at + 1) if first < 0x80 else _size(self._pack, at + 1)
        return first >> 4 & 7, first & 15 | more << 4, at

    def _back(self, begun: int, at: int) -> tuple[int, int]:
        """(position of the base, next position) of an entry that names its base by the distance."""
        distance = -1
        for here in range(at, min(at + 6, self._end)):
            distance = (distance + 1) << 7 | self._pack[here] & 0x7F
            if not self._pack[here] & 0x80:
                if not 0 < distance <= begun - _HEAD:
                    raise BadPack("a change of what is not in the pack")
                return begun - distance, here + 1
        raise BadPack("a change of nothing")

    def _inflated(self, at: int, size: int) -> tuple[bytes, int]:
        self._spend(size)
        inflate = zlib.decompressobj()
        sent = self._pack[at : min(self._end, at + size + size // 100 + 128)]  # deflate makes nothing longer than this
        try:
            data = inflate.decompress(sent, size + 1)  # never more than it says: a bomb ends here
        except zlib.error as error:
            raise BadPack("an object cannot be inflated") from error
        if len(data) != size or not inflate.eof:
            raise BadPack("an object is not as long as it says")
        return data, at + len(sent) - len(inflate.unused_data)
