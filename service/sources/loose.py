"""A large file out of a store as a stream: libgit2 reads objects whole, 150 MiB for a file of 50 MiB.

In: a store and the id of an object. Out: its content as it is unpacked, of an object that lies in a file of its own; what lies in a pack is
left to libgit2. https://git-scm.com/book/en/v2/Git-Internals-Git-Objects#_object_storage
"""

import hashlib
import io
import zlib
from pathlib import Path
from typing import BinaryIO

LARGE = 2**20
CHUNK = 2**16


def opened(store: Path, object_id: str) -> tuple[int, BinaryIO] | None:
    """The size and content of a large file, None where it is small or in a pack. Raises OSError where it is damaged, also in reading."""
    path = store / "objects" / object_id[:2] / object_id[2:]
    try:
        if path.stat().st_size < LARGE:
            return None
        file = path.open("rb")
    except OSError:
        return None
    try:
        blob = _Blob(file, object_id)
    except BaseException:
        file.close()
        raise
    return blob.size, io.BufferedReader(blob, CHUNK)


class _Blob(io.RawIOBase):
    """Unpacks as it is read, and checks at the last byte that all of it was what the id says."""

    def __init__(self, file: BinaryIO, object_id: str) -> None:
        self._file = file
        self._id = object_id
        self._unpacking = zlib.decompressobj()
        self._hash = hashlib.sha1(usedforsecurity=False)
        head, _, self._rest = self._more().partition(b"\0")
        kind, _, size = head.partition(b" ")
        if kind != b"blob" or not size.isdigit():
            raise self._damaged()
        self.size = self._left = int(size)
        self._hash.update(head + b"\0" + self._rest)

    def readable(self) -> bool:
        return True

    def readinto(self, into: "bytearray | memoryview") -> int:  # type: ignore[override]  # the stubs' buffer type is not public
        if not self._left:
            return 0
        if not self._rest:
            self._rest = self._more()
            self._hash.update(self._rest)
        found = self._rest[: len(into)]
        self._rest = self._rest[len(found) :]
        self._left -= len(found)
        if not found or self._left < 0 or (not self._left and self._hash.hexdigest() != self._id):
            raise self._damaged()
        into[: len(found)] = found
        return len(found)

    def close(self) -> None:
        self._file.close()
        super().close()

    def _more(self) -> bytes:
        try:
            while not self._unpacking.eof:
                data = self._unpacking.unconsumed_tail or self._file.read(CHUNK)
                found = self._unpacking.decompress(data, CHUNK)
                if found or not data:
                    return found
        except zlib.error as error:
            raise self._damaged() from error
        return b""

    def _damaged(self) -> OSError:
        return OSError(f"the object {self._id} of the store is damaged")
